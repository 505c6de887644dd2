// Frames at addresses. One rule says which wins: at an address of which the symbol table says anything, the table, whole;
// elsewhere what agents reported, which says less and may be wrong. So a better table hides agents' frames, and a worse one
// does not unsay them. A cached window of agents' frames belongs to a generation of its executable: once that is known to have a newer
// one, the window is read again.
import { type EpochSample, type Store, StoreUnavailable, type TieredCache } from '@symkeep/cache';
import {
  type Address,
  type ExecutableId,
  type ExecutableRecord,
  FRAME_STATUS,
  type FrameStatus,
  type FramesAt,
  type FramesReplyWriter,
  type ReportedFrame,
  type ReportResult,
} from '@symkeep/protocol';
import type { Demangler } from '@symkeep/symbols';
import { type Executables, failed, type LookupOutcome } from './executables.ts';
import { FrameWindow, framesPerWindowMax, windowsOf } from './frame-window.ts';
import { framesAt, windowOf } from './keys.ts';
import type { Records } from './records.ts';
import { StoredRecord } from './stored-record.ts';
import type { AddressWords, Tables } from './tables.ts';

/** Windows that agents may fill per executable: 64 MiB of code, more than any file has that no table covers. */
const windowsPerExecutableMax = 4_096;
/** Rounds of compare-and-set on one window. */
const roundsMax = 16;

export interface WindowKey {
  readonly id: ExecutableId;
  readonly window: Address;
  readonly generation: number;
}
export type WindowCache = TieredCache<WindowKey, FrameWindow>;

export interface FramesRequest {
  readonly id: ExecutableId;
  readonly addresses: readonly Address[];
}
export interface FramesOutcome {
  readonly canonical: string;
  readonly generation: number;
  /** In the order of the addresses. */
  readonly at: FramesAt[];
}

/** What was written of a request. */
export interface CachedOutcome {
  readonly canonical: ExecutableId;
  /** By address; until the writer is given another. */
  readonly statuses: Uint8Array;
}

/** A window before and after a report; equal if it brought nothing or a limit was reached. */
interface Written {
  readonly before: FrameWindow;
  readonly after: FrameWindow;
}

export class Frames {
  readonly #store: Store;
  readonly #executables: Executables;
  readonly #records: Records;
  readonly #windows: WindowCache;
  readonly #tables: Tables;
  readonly #demangler: Demangler;

  constructor(
    store: Store,
    executables: Executables,
    records: Records,
    windows: WindowCache,
    tables: Tables,
    demangler: Demangler,
  ) {
    this.#store = store;
    this.#executables = executables;
    this.#records = records;
    this.#windows = windows;
    this.#tables = tables;
    this.#demangler = demangler;
  }

  /** Results in the order of the requests. */
  async lookup(requests: readonly FramesRequest[]): Promise<FramesOutcome[]> {
    const found = await this.#executables.lookup(requests.map(({ id }) => id));
    return Promise.all(requests.map((request, index) => this.#at(request, found[index]!)));
  }

  /**
   * Writes the answer to addresses of the executable under an ID key, from what this process holds and at once. False if it
   * lacks any of it, or agents' frames have a say: then what was written is void, and `lookup` is to be asked.
   */
  writeCached(
    { key, offset, idText }: { readonly key: Uint8Array; readonly offset: number; readonly idText: string },
    addresses: AddressWords,
    into: FramesReplyWriter,
  ): CachedOutcome | undefined {
    const found = this.#executables.cached(key, offset);
    if (found === undefined) return undefined;
    const { record, tableDigest } = found;
    const missing = missStatusOf(record);
    const mayBeAgents = record.agentFrames === true && !record.ambiguous;
    if (tableDigest !== null) {
      const known = mayBeAgents ? undefined : missing;
      if (!this.#tables.writeCached(tableDigest, addresses, known, this.#demangler, into)) return undefined;
    } else if (mayBeAgents) return undefined;
    else for (let at = addresses.from; at < addresses.to; at++) into.address(missing, 'none');
    const statuses = into.endResult(idText, record.id, record.generation);
    return { canonical: record.id, statuses };
  }

  /** Frames become known before they are acknowledged; the executable's generation flips after they are written. */
  async report(frames: readonly ReportedFrame[], sample: EpochSample): Promise<ReportResult[]> {
    const ids = [...new Set(frames.map(({ id }) => id))];
    const found = await this.#executables.lookup(ids);
    const results = new Map<ReportedFrame, ReportResult>();
    await Promise.all(
      ids.map(async (id, index) => {
        const own = frames.filter((frame) => frame.id === id);
        const outcomes = await this.#reportOf(found[index]!, own, sample);
        for (const [at, frame] of own.entries()) results.set(frame, outcomes[at]!);
      }),
    );
    return frames.map((frame) => results.get(frame)!);
  }

  async #at({ id: asked, addresses }: FramesRequest, outcome: LookupOutcome): Promise<FramesOutcome> {
    if (!(outcome instanceof StoredRecord)) {
      const status = outcome === 'unavailable' ? FRAME_STATUS.unavailable : FRAME_STATUS.unknownExecutable;
      return { canonical: '', generation: 0, at: addresses.map(() => nothing(status)) };
    }
    const { record } = outcome;
    const { id, generation } = record;
    const missing = nothing(missStatusOf(record));
    const at = await this.#fromTable(record, addresses);
    if (at === null) return this.#again(asked, addresses, record);
    const open = addresses.filter((_, index) => at[index] === undefined);
    if (open.length > 0 && record.agentFrames && !record.ambiguous) {
      const windows = [...new Set(open.map(windowOf))];
      const read = await this.#windows.getMany(windows.map((window) => ({ id, window, generation })));
      const byWindow = new Map(windows.map((window, index) => [window, read[index]]));
      for (const [index, address] of addresses.entries()) {
        at[index] ??= frameIn(byWindow.get(windowOf(address)), address, missing);
      }
    }
    return { canonical: id, generation, at: addresses.map((_, index) => at[index] ?? missing) };
  }

  // What the table says; undefined where it says nothing. Null: the table that the record names is gone.
  async #fromTable(
    record: ExecutableRecord,
    addresses: readonly Address[],
  ): Promise<(FramesAt | undefined)[] | null> {
    const { state, digest } = record.symbols;
    if (state !== 'ready' || digest === undefined || record.ambiguous) return addresses.map(() => undefined);
    const found = await this.#tables.lookup({ id: record.id, digest }, addresses, this.#demangler);
    if (found === null) return null;
    const unavailable = nothing(FRAME_STATUS.unavailable);
    if (found instanceof StoreUnavailable) return addresses.map(() => unavailable);
    return found.map((one) => (one instanceof StoreUnavailable ? unavailable : one));
  }

  // Another table may have taken the place of this one: the record is read once more, past the cache.
  async #again(
    asked: ExecutableId,
    addresses: readonly Address[],
    old: ExecutableRecord,
  ): Promise<FramesOutcome> {
    const fresh = await this.#executables.refresh(old.id);
    if (fresh instanceof StoredRecord && fresh.record.symbols.digest !== old.symbols.digest) {
      return this.#at({ id: asked, addresses }, fresh);
    }
    const at = addresses.map(() => nothing(FRAME_STATUS.unavailable));
    return { canonical: old.id, generation: old.generation, at };
  }

  async #reportOf(
    outcome: LookupOutcome,
    frames: readonly ReportedFrame[],
    sample: EpochSample,
  ): Promise<ReportResult[]> {
    if (!(outcome instanceof StoredRecord)) {
      const error = {
        code: outcome,
        message: absentTexts[outcome],
      };
      return frames.map(() => ({ status: 'error', error }));
    }
    const { record } = outcome;
    if (record.ambiguous) {
      const error = { code: 'conflict', message: 'the ID is ambiguous; report under the htlhash' };
      return frames.map(() => ({ status: 'error', error }));
    }
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) return frames.map(() => failed(now));
    const stamp = Math.max(record.generation + 1, now);
    const results = new Map<ReportedFrame, ReportResult>();
    let latest = 0;
    for (const [window, own] of windowsOf(frames)) {
      const written = await this.#write(record.id, window, own, stamp, sample);
      for (const frame of own) results.set(frame, resultOf(written, frame));
      if (!(written instanceof StoreUnavailable)) latest = Math.max(latest, written.after.stamp);
    }
    const flipped = await this.#flip(record.id, latest, sample);
    return frames.map((frame) =>
      flipped instanceof StoreUnavailable ? failed(flipped) : results.get(frame)!,
    );
  }

  async #write(
    id: ExecutableId,
    window: Address,
    frames: readonly ReportedFrame[],
    stamp: number,
    sample: EpochSample,
  ): Promise<Written | StoreUnavailable> {
    const at = framesAt(id, window);
    let [current] = await this.#store.get([at]);
    for (let round = 0; round < roundsMax; round++) {
      if (current instanceof StoreUnavailable) return current;
      const before = current == null ? new FrameWindow(0, new Map(), 0) : FrameWindow.read(current, 0);
      const after = before.with(frames, stamp);
      if (after === null) return { before, after: before };
      if (current == null && (await this.#isFull(at))) return { before, after: before };
      const [swapped] = await this.#store.swap([{ at, expected: current ?? null, value: after.wire }]);
      if (swapped instanceof StoreUnavailable) return swapped;
      sample.confirm(at.shard, swapped!.epoch);
      if (swapped!.swapped) return { before, after };
      current = swapped!.current;
    }
    return new StoreUnavailable('contended', 'too many writers at once');
  }

  async #isFull(at: { shard: number; key: string }): Promise<boolean> {
    const fields = await this.#store.countFields(at);
    return !(fields instanceof StoreUnavailable) && fields >= windowsPerExecutableMax;
  }

  // A writer that died between window and flip left a stamp beyond the generation: the next report mends it, since the
  // first one was never acknowledged.
  async #flip(id: ExecutableId, stamp: number, sample: EpochSample): Promise<StoreUnavailable | undefined> {
    const [flipped] = await this.#records.change(
      [
        {
          id,
          next: (current) => {
            if (!(current instanceof StoredRecord) || current.record.generation >= stamp) return null;
            const { record } = current;
            const version = Math.max(record.version + 1, stamp);
            const entry = StoredRecord.of({ ...record, agentFrames: true, version, generation: stamp });
            return { entry, event: 'frames' };
          },
        },
      ],
      sample,
    );
    return flipped instanceof StoreUnavailable ? flipped : undefined;
  }
}

const absentTexts = {
  not_found: 'no such executable',
  erased: 'it was erased',
  unavailable: 'the store is away',
} as const;

// Without a symbol table nothing is known to be absent: an agent may report the frame any moment.
function missStatusOf({ symbols, ambiguous }: ExecutableRecord): FrameStatus {
  return symbols.state === 'ready' || ambiguous ? FRAME_STATUS.noSymbol : FRAME_STATUS.symbolsNotReady;
}

function nothing(status: FrameStatus): FramesAt {
  return { status, source: 'none', frames: [] };
}

function frameIn(
  window: FrameWindow | null | StoreUnavailable | undefined,
  address: Address,
  missing: FramesAt,
): FramesAt {
  if (window instanceof StoreUnavailable) return nothing(FRAME_STATUS.unavailable);
  const frame = window?.at(address);
  return frame === undefined ? missing : { status: FRAME_STATUS.resolved, source: 'agent', frames: [frame] };
}

function resultOf(written: Written | StoreUnavailable, { id, address }: ReportedFrame): ReportResult {
  if (written instanceof StoreUnavailable) return failed(written);
  const before = written.before.at(address);
  const after = written.after.at(address);
  if (after === undefined) {
    const message = `over ${framesPerWindowMax} frames in 16 KiB or ${windowsPerExecutableMax} such windows`;
    return { status: 'error', error: { code: 'too_large', message } };
  }
  const status = before === undefined ? 'created' : before === after ? 'unchanged' : 'merged';
  return { status, id, generation: written.after.stamp };
}
