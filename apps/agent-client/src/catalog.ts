// What this host can be told of executables and frames: from the local cache, else from the symbol server, else, while
// that is away, from the files that its own processes have mapped.
//
//     lookup ─► absences ─► records ─► server ─► inventory (only where the server gave no record)
//     frames ─► lookup (for the generation) ─► absences ─► frames ─► server
//
// Records and frames are facts: they leave when the cache is full or when the store says something newer. A frame
// belongs to a generation of its executable; the record says which one holds, and a frame of another is a miss.
// `unavailable` is never kept; what is not known is, for a minute or more, until an event ends it.
import { Absences, type Clock, type Loaded, StoreUnavailable, TieredCache } from '@symkeep/cache';
import {
  type Address,
  type ExecutableId,
  type ExecutableRecord,
  FRAME_STATUS,
  type FrameStatus,
  type FramesAt,
  htlhashId,
  idKeyBytes,
  idKeyOf,
  readFrameColumns,
  type SymkeepEvent,
} from '@symkeep/protocol';
import type { Inventory, LiveExecutable } from './inventory.ts';
import { absenceMaxMs, absenceMs } from './lifetimes.ts';
import { Outage } from './outage.ts';
import type { FramesRequest, ServerClient } from './server-client.ts';

export type { FramesRequest };

/** Unknown IDs and addresses remembered; beyond, the ones found longest ago are asked again. */
const absencesMax = 16_384;
/** IDs in one request to the server: a quarter of a megabyte of answer. */
const idsPerRequestMax = 500;
/** Key of an ID and a generation. */
const generationKeyBytes = idKeyBytes + 8;
/** Addresses in one request to the server. */
const addressesPerRequestMax = 16_384;
/** A pass over the processes costs the most that a reader can make the agent do. */
const rescanMs = 10_000;

export type LookupOutcome = ExecutableRecord | 'not_found' | 'erased' | 'unavailable';

export interface FramesOutcome {
  /** ID under which the store keeps the executable; "" if it is not known. */
  readonly canonical: string;
  readonly generation: number;
  /** In the order of the addresses. */
  readonly at: readonly FramesAt[];
}

export interface CatalogDeps {
  readonly client: ServerClient;
  readonly inventory: Inventory;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly executablesMax: number;
  readonly framesMax: number;
  readonly idleMs?: number | undefined;
  /** Looks at the host again: an ID may be of a process that started a moment ago. */
  readonly rescan: () => Promise<void>;
  /** Told of a live executable of this host that the store does not know. */
  readonly onMissing: (live: LiveExecutable) => void;
}

/** What the store said under one ID: the record, where the record is, or that it was erased. */
type Known = ExecutableRecord | ExecutableId | 'erased';

interface FrameKey {
  readonly id: ExecutableId;
  readonly address: Address;
  readonly generation: number;
}

interface KnownFrames extends FramesAt {
  readonly generation: number;
}

export class Catalog {
  readonly #deps: CatalogDeps;
  readonly #outage: Outage;
  readonly #records: TieredCache<ExecutableId, Known>;
  readonly #frames: TieredCache<FrameKey, KnownFrames>;
  readonly #unknown: Absences;
  readonly #noFrames: Absences;
  /** Grows with all that says that what was read before may be old. */
  #news = 0;
  readonly #counts = { answeredLive: 0, rescans: 0 };
  #rescannedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: CatalogDeps) {
    this.#deps = deps;
    const { clock, random, executablesMax, framesMax, idleMs } = deps;
    const idle = idleMs === undefined ? {} : { idleMs };
    const absences = {
      clock,
      random,
      entriesMax: absencesMax,
      lifetimeMs: absenceMs,
      lifetimeMaxMs: absenceMaxMs,
    };
    this.#outage = new Outage(clock, random);
    this.#unknown = new Absences({ ...absences, keyBytes: idKeyBytes });
    this.#noFrames = new Absences({ ...absences, keyBytes: generationKeyBytes, addressed: true });
    this.#records = new TieredCache({
      ...{
        clock,
        keyBytes: idKeyBytes,
        keyOf: (id: ExecutableId) => idKeyOf(id),
        entriesMax: executablesMax,
        ...idle,
      },
      absences: this.#unknown,
      load: (ids: readonly ExecutableId[]) => this.#loadRecords(ids),
    });
    this.#frames = new TieredCache({
      ...{
        clock,
        keyBytes: idKeyBytes,
        keyOf: ({ id }: FrameKey) => idKeyOf(id),
        entriesMax: framesMax,
        ...idle,
      },
      addressOf: ({ address }: FrameKey) => address,
      isCurrent: (frames: KnownFrames, { generation }: FrameKey) => frames.generation === generation,
      load: (keys: readonly FrameKey[]) => this.#loadFrames(keys),
    });
  }

  /** What is known of each ID, in order. A live executable of this host is known even if the server is away. */
  async lookup(ids: readonly ExecutableId[]): Promise<LookupOutcome[]> {
    const outcomes = await this.#ask(ids);
    const isUnanswered = (outcome: LookupOutcome, at: number) =>
      outcome === 'unavailable' && this.#deps.inventory.find(ids[at]!).length === 0;
    if (outcomes.some(isUnanswered)) await this.#rescan();
    return outcomes.map((outcome, at) => this.#orLive(ids[at]!, outcome));
  }

  /** The frames at addresses of executables, in order. */
  async frames(requests: readonly FramesRequest[]): Promise<FramesOutcome[]> {
    const outcomes = await this.#ask(requests.map(({ id }) => id));
    const wanted = requests.flatMap(({ addresses }, at) => this.#wantedFrames(outcomes[at]!, addresses));
    const found = await this.#frames.getMany(wanted);
    const byKey = new Map(wanted.map((key, at) => [`${key.id} ${key.address}`, found[at]]));
    return requests.map(({ addresses }, at) => {
      const outcome = outcomes[at]!;
      if (typeof outcome === 'string') return unansweredFrames(outcome, addresses);
      const { id, generation } = outcome;
      return {
        ...{ canonical: id, generation },
        at: addresses.map((address) => this.#framesAt(outcome, address, byKey.get(`${id} ${address}`))),
      };
    });
  }

  /** Takes in that the store knows something else of an ID now. */
  noteEvent({ id }: Pick<SymkeepEvent, 'id'>): void {
    this.#news++;
    this.#records.invalidate(id);
  }

  /** Takes in that what was known of an executable, under any of its IDs, no longer holds. */
  forget({ executable: { ids } }: LiveExecutable): void {
    for (const id of [ids.htlhash, ids.gnu, ids.go]) if (id !== undefined) this.noteEvent({ id });
  }

  /** Another store may know what the last one did not. */
  forgetAbsences(): void {
    this.#unknown.clear();
    this.#noFrames.clear();
  }

  /** Events were missed: anything may have changed. */
  dropAll(): void {
    this.#news++;
    this.#records.dropAll();
    this.#frames.dropAll();
    this.forgetAbsences();
  }

  /** The records in the cache, the one unused for longest first. */
  snapshot(): ExecutableRecord[] {
    return this.#records.values().filter((known) => typeof known === 'object');
  }

  /** Takes over records of an earlier run; they count as long as no event since then says otherwise. */
  restore(records: readonly ExecutableRecord[]): void {
    // Ways to a record are worth less than records, so they leave first where not all have room.
    for (const { id, ids, ambiguous } of records) {
      const hashes = ambiguous ? [] : ids.htlhash.map(htlhashId).filter((hash) => hash !== id);
      for (const hash of hashes) this.#records.put(hash, id);
    }
    for (const record of records) this.#records.put(record.id, record);
  }

  metrics() {
    return {
      ...this.#counts,
      records: this.#records.metrics(),
      frames: this.#frames.metrics(),
      unknown: this.#unknown.metrics(),
      noFrames: this.#noFrames.metrics(),
    };
  }

  /** What the cache and the server say; nothing of what is live here. */
  async #ask(ids: readonly ExecutableId[]): Promise<LookupOutcome[]> {
    const direct = await this.#records.getMany(ids);
    const targets = direct.filter((known): known is ExecutableId => isPointer(known));
    const reached = targets.length === 0 ? [] : await this.#records.getMany(targets);
    let next = 0;
    return direct.map((known) => outcomeOf(isPointer(known) ? reached[next++]! : known));
  }

  #orLive(id: ExecutableId, outcome: LookupOutcome): LookupOutcome {
    if (outcome !== 'unavailable' && outcome !== 'not_found') return outcome;
    const { inventory, clock, onMissing } = this.#deps;
    const record = inventory.recordOf(id, clock.wall());
    if (record === undefined) return outcome;
    this.#counts.answeredLive++;
    if (outcome === 'not_found') for (const live of inventory.find(id)) onMissing(live);
    return record;
  }

  async #rescan(): Promise<void> {
    const now = this.#deps.clock.now();
    if (now - this.#rescannedAt < rescanMs) return;
    this.#rescannedAt = now;
    this.#counts.rescans++;
    await this.#deps.rescan();
  }

  async #loadRecords(ids: readonly ExecutableId[]): Promise<Loaded<Known>[]> {
    const loaded: Loaded<Known>[] = [];
    for (let from = 0; from < ids.length; from += idsPerRequestMax) {
      loaded.push(...(await this.#lookupAtServer(ids.slice(from, from + idsPerRequestMax))));
    }
    return loaded;
  }

  async #lookupAtServer(ids: readonly ExecutableId[]): Promise<Loaded<Known>[]> {
    const news = this.#news;
    const answer = await this.#outage.guard(() => this.#deps.client.lookup(ids));
    if (answer instanceof StoreUnavailable) return ids.map(() => answer);
    return answer.value.map((result, at) => {
      if ('record' in result) return this.#filed(ids[at]!, result.record, news === this.#news);
      if (result.error.code === 'not_found') return null;
      if (result.error.code === 'erased') return 'erased';
      return new StoreUnavailable('unreachable', `the symbol server answered ${result.error.code}`);
    });
  }

  // Events name the ID under which the store keeps a record, so it is kept under that one here, too. An ambiguous
  // record under another ID is none of that ID's own: it stays what was said under the ID that was asked for. One that
  // may be old already is asked for again under its own.
  #filed(asked: ExecutableId, record: ExecutableRecord, isFresh: boolean): Known {
    if (record.id === asked || record.ambiguous) return record;
    if (isFresh) this.#records.put(record.id, record);
    return record.id;
  }

  #wantedFrames(outcome: LookupOutcome, addresses: readonly Address[]): FrameKey[] {
    if (typeof outcome === 'string') return [];
    const { id, generation } = outcome;
    const key = generationKeyOf(id, generation);
    return [...new Set(addresses)]
      .filter((address) => !this.#noFrames.has(key, 0, ...wordsOf(address)))
      .map((address) => ({ id, address, generation }));
  }

  #framesAt(
    { id, generation }: ExecutableRecord,
    address: Address,
    found: Loaded<KnownFrames> | undefined,
  ): FramesAt {
    if (found instanceof StoreUnavailable) return noFrames(FRAME_STATUS.unavailable);
    if (found === null) this.#noFrames.add(generationKeyOf(id, generation), 0, ...wordsOf(address));
    if (found === null || found === undefined) return noFrames(FRAME_STATUS.symbolsNotReady);
    return found;
  }

  async #loadFrames(keys: readonly FrameKey[]): Promise<Loaded<KnownFrames>[]> {
    const found: Loaded<KnownFrames>[] = [];
    for (let from = 0; from < keys.length; from += addressesPerRequestMax) {
      found.push(...(await this.#framesAtServer(keys.slice(from, from + addressesPerRequestMax))));
    }
    return found;
  }

  async #framesAtServer(keys: readonly FrameKey[]): Promise<Loaded<KnownFrames>[]> {
    const groups = Map.groupBy(keys, ({ id }) => id);
    const requests = [...groups].map(([id, group]) => ({
      id,
      addresses: group.map(({ address }) => address),
    }));
    const answer = await this.#outage.guard(() => this.#deps.client.lookupFrames(requests));
    if (answer instanceof StoreUnavailable) return keys.map(() => answer);
    const { strings, results } = answer.value;
    const byKey = new Map<FrameKey, Loaded<KnownFrames>>();
    for (const [at, group] of [...groups.values()].entries()) {
      const columns = results[at]!;
      const rows = readFrameColumns(strings, columns);
      for (const [row, key] of group.entries()) byKey.set(key, knownFrames(rows[row], columns.generation));
      // The record that gave the generation is older than what the server has.
      const { id, generation } = group[0]!;
      if (columns.generation !== generation) this.noteEvent({ id });
    }
    return keys.map((key) => byKey.get(key)!);
  }
}

// With the generation as a part of the key, a new one finds no absence of the one before.
function generationKeyOf(id: ExecutableId, generation: number): Uint8Array {
  const key = new Uint8Array(generationKeyBytes);
  idKeyOf(id, key, 0);
  new DataView(key.buffer).setFloat64(idKeyBytes, generation);
  return key;
}

function wordsOf(address: Address): [lo: number, hi: number] {
  return [Number(address & 0xffff_ffffn) | 0, Number(address >> 32n) | 0];
}

function isPointer(known: Loaded<Known> | undefined): known is ExecutableId {
  return typeof known === 'string' && known !== 'erased';
}

function outcomeOf(known: Loaded<Known>): LookupOutcome {
  if (known === null) return 'not_found';
  if (known instanceof StoreUnavailable) return 'unavailable';
  // One pointer leads to the record; a second one would be two stores that contradict each other.
  return isPointer(known) ? 'not_found' : known;
}

function knownFrames(row: FramesAt | undefined, generation: number): Loaded<KnownFrames> {
  if (row === undefined || row.status === FRAME_STATUS.unavailable) {
    return new StoreUnavailable('unreachable', 'the symbol server could not say');
  }
  const isFact = row.status === FRAME_STATUS.resolved || row.status === FRAME_STATUS.noSymbol;
  return isFact ? { ...row, generation } : null;
}

function noFrames(status: FrameStatus): FramesAt {
  return { status, source: 'none', frames: [] };
}

function unansweredFrames(outcome: string, addresses: readonly Address[]): FramesOutcome {
  const status = outcome === 'unavailable' ? FRAME_STATUS.unavailable : FRAME_STATUS.unknownExecutable;
  return { canonical: '', generation: 0, at: addresses.map(() => noFrames(status)) };
}
