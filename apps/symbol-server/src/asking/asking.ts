// Asks agents for files: at most one agent of the fleet for the file of an executable whose symbols are missed and that has
// no source yet, in the reply to what that agent sends anyway. Whoever else runs the executable hears that it waits, and
// asks again in its next cycle, so that a lease which ran out goes to somebody else.
import { type Clock, type EpochSample, type Store, StoreUnavailable } from '@symkeep/cache';
import {
  type AskedAgent,
  type ExecutableId,
  type ExecutableRecord,
  gnuId,
  SymkeepError,
  type UploadRequest,
} from '@symkeep/protocol';
import { type Catalog, StoredRecord } from '../catalog/index.ts';
import { type SourceSet, usableSources } from '../sources/source-set.ts';
import type { AskMode } from './ask-mode.ts';
import { type LeaseState, type ReturnReason, standingOf, UploadLeases } from './upload-leases.ts';

export type { AskMode };

/** Files asked for in one reply: an agent sends one at a time, and the leases of the others run meanwhile. */
export const asksMax = 4;

export interface Asked {
  readonly upload: readonly UploadRequest[];
  /** Executables whose file is sought and not asked of this agent now: to be checked again in its next cycle. */
  readonly waiting: readonly ExecutableId[];
}

interface Sought {
  readonly id: ExecutableId;
  /** The executable that the agent knows, if the file is another's that it refers to (dwz). */
  readonly of?: ExecutableId;
}

export interface AskingDeps {
  readonly catalog: Catalog;
  readonly store: Store;
  readonly clock: Clock;
  readonly mode: AskMode;
  readonly leaseMs: number;
  /** What is larger would be refused. */
  readonly fileBytesMax: number;
}

const nothing: Asked = { upload: [], waiting: [] };

export class Asking {
  readonly #deps: AskingDeps;
  readonly #leases: UploadLeases;
  /** `outages`: replies that asked for nothing because the store could not be asked. */
  readonly counts = { asked: 0, returned: 0, lost: 0, outages: 0 };

  constructor(deps: AskingDeps) {
    this.#deps = deps;
    this.#leases = new UploadLeases(deps.store, deps.leaseMs);
  }

  /** What to ask an agent for that runs these. An outage asks for nothing: the reply itself is worth more. */
  async ask(agent: AskedAgent | undefined, ids: readonly ExecutableId[]): Promise<Asked> {
    if (this.#deps.mode === 'never' || agent === undefined || agent.uploads === false) return nothing;
    try {
      const sought = await this.#soughtOf(await this.#recordsOf(ids));
      return sought.length === 0 ? nothing : await this.#choose(agent, sought);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.counts.outages++;
      return nothing;
    }
  }

  /** An upload begins, goes on, or is about to be filed under a lease. Throws `conflict` if that is lost. */
  async hold(id: ExecutableId, lease: string): Promise<void> {
    try {
      await this.#leases.hold(id, lease);
    } catch (error) {
      if (error instanceof SymkeepError && error.code === 'conflict') this.counts.lost++;
      throw error;
    }
  }

  /** The chunks of an upload, whose lease is renewed for as long as they come. */
  async *holding(
    id: ExecutableId,
    lease: string,
    chunks: AsyncIterator<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    const { clock } = this.#deps;
    let renewed = clock.now();
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      if (clock.now() - renewed >= this.#leases.ms / 3) {
        renewed = clock.now();
        await this.#renew(id, lease);
      }
      yield next.value;
    }
  }

  /** What was sent under a lease was taken in, or was no better than what there is. Throws `conflict`. */
  noteSent(id: ExecutableId, lease: string): Promise<void> {
    return this.#leases.noteSent(id, lease);
  }

  /** How the lease for a file stands. Throws the outage. */
  async leaseOf(id: ExecutableId): Promise<LeaseState | null> {
    const [state] = await this.#leases.read([id]);
    return orThrow(state!);
  }

  /** A lease is given back; agents that run the executable hear of it, and the next that asks has it. */
  async giveBack(id: ExecutableId, lease: string, why: ReturnReason, sample: EpochSample): Promise<void> {
    const freed = await this.#leases.giveBack(id, lease, why);
    if (freed === undefined) return;
    this.counts.returned++;
    await this.#deps.catalog.executables.announceWanted([freed], sample);
  }

  // In an outage it goes on: whether the lease is lost is seen before anything is filed.
  async #renew(id: ExecutableId, lease: string): Promise<void> {
    try {
      await this.hold(id, lease);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    }
  }

  async #recordsOf(ids: readonly ExecutableId[]): Promise<StoredRecord[]> {
    const found = await this.#deps.catalog.executables.lookup([...new Set(ids)]);
    const records = found.filter((one) => one instanceof StoredRecord);
    return [...new Map(records.map((one) => [one.record.id, one])).values()];
  }

  async #soughtOf(records: readonly StoredRecord[]): Promise<Sought[]> {
    const missed = await this.#missed(records.map(({ record }) => record));
    const lacking = records.map(({ record }) => record).filter(lacksAlternate);
    const sets = await this.#setsOf(idsOf([...missed, ...lacking]));
    // What failed may have lost its file, or have a broken one.
    const own = missed.filter(
      ({ symbols }, at) => symbols.state === 'failed' || usableSources(sets[at]!).length === 0,
    );
    const alternates = await this.#alternatesOf(lacking, sets.slice(missed.length));
    return [...own.map(({ id }) => ({ id })), ...alternates];
  }

  // Demand from before the executable was reported is not in its record.
  async #missed(records: readonly ExecutableRecord[]): Promise<ExecutableRecord[]> {
    const { mode, catalog, fileBytesMax } = this.#deps;
    const open = records.filter(
      (record) => isOpen(record) && record.size > 0 && record.size <= fileBytesMax && !record.ambiguous,
    );
    const unsure = open.filter(({ symbols }) => symbols.state !== 'wanted');
    const demand = mode === 'all' || unsure.length === 0 ? [] : await catalog.demand.of(idsOf(unsure));
    const wanted = new Set(unsure.filter((_, at) => mode === 'all' || Number(demand[at]) > 0));
    return open.filter((record) => record.symbols.state === 'wanted' || wanted.has(record));
  }

  async #alternatesOf(lacking: readonly ExecutableRecord[], sets: readonly SourceSet[]): Promise<Sought[]> {
    const sought = lacking.flatMap(({ id: of }, at) =>
      usableSources(sets[at]!).flatMap(({ alt }) => (alt === undefined ? [] : [{ id: gnuId(alt), of }])),
    );
    const there = await this.#setsOf(sought.map(({ id }) => id));
    return sought.filter((_, at) => usableSources(there[at]!).length === 0);
  }

  async #setsOf(ids: readonly ExecutableId[]): Promise<SourceSet[]> {
    if (ids.length === 0) return [];
    return (await this.#deps.catalog.sources.readMany(ids)).map(orThrow);
  }

  async #choose({ host, uploading }: AskedAgent, sought: readonly Sought[]): Promise<Asked> {
    const now = orThrow(await this.#deps.store.now());
    const states = (await this.#leases.read(sought.map(({ id }) => id))).map(orThrow);
    const upload: UploadRequest[] = [];
    const waiting = new Set<ExecutableId>();
    for (const [at, one] of sought.entries()) {
      const standing = standingOf(states[at]!, host, now);
      if (standing === 'not_here') continue;
      const mayAsk = standing === 'free' && uploading !== true && upload.length < asksMax;
      const request = mayAsk ? await this.#request(one, host, states[at]!, now) : undefined;
      if (request === undefined) waiting.add(one.of ?? one.id);
      else upload.push(request);
    }
    this.counts.asked += upload.length;
    return { upload, waiting: [...waiting] };
  }

  async #request(
    { id, of }: Sought,
    host: string,
    state: LeaseState | null,
    now: number,
  ): Promise<UploadRequest | undefined> {
    const lease = await this.#leases.grant(id, host, state, now, of);
    if (lease === undefined) return undefined;
    return { id, lease, url: `/v1/executables/${id}/debuginfo`, ...(of === undefined ? {} : { of }) };
  }
}

/** Whether its sources may refer to a file that is not there: a table says so, and may still be to come. */
function lacksAlternate({ symbols: { state, reason } }: ExecutableRecord): boolean {
  return state === 'queued' || state === 'running' || (reason?.startsWith('missing_alt') ?? false);
}

/** Whether a file of its own might help. */
function isOpen(record: ExecutableRecord): boolean {
  const { state } = record.symbols;
  return state === 'none' || state === 'wanted' || (state === 'failed' && !lacksAlternate(record));
}

function idsOf(records: readonly ExecutableRecord[]): ExecutableId[] {
  return records.map(({ id }) => id);
}

function orThrow<T>(read: T | StoreUnavailable): T {
  if (read instanceof StoreUnavailable) throw read;
  return read;
}
