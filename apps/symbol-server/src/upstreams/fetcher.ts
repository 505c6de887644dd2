// Brings in debug files from upstreams for what is asked for in vain, the most wanted first. One worker of the fleet does
// it at a time, so no file is fetched twice; what comes is received like any upload, and its table made by the same jobs.
import { type Clock, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, type ExecutableRecord, SymkeepError } from '@symkeep/protocol';
import type { Logger } from 'pino';
import { type Catalog, StoredRecord } from '../catalog/index.ts';
import type { Lease } from '../jobs/lease.ts';
import type { Receiver } from '../sources/receive.ts';
import { usableSources } from '../sources/source-set.ts';
import type { Upstreams, Wanted } from './index.ts';

const sweepMs = 2_000;
/** Of the most wanted, looked at in one sweep. */
const lookedAtMax = 1_000;
/** Fetches under way, those that wait for their turn included. */
const fetchesMax = 64;

export interface FetcherDeps {
  readonly catalog: Pick<Catalog, 'demand' | 'executables' | 'sources' | 'epoch'>;
  readonly upstreams: Upstreams;
  readonly receiver: Pick<Receiver, 'receive'>;
  readonly lease: Pick<Lease, 'take' | 'release'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What came of asking for one executable. `unavailable`: the store or the blobs are away, whatever upstreams have. */
export type FetchOutcome = 'accepted' | 'kept' | 'absent' | 'failed' | 'not_allowed' | 'unavailable';

export class Fetcher {
  readonly #deps: FetcherDeps;
  readonly #running = new Map<ExecutableId, Promise<FetchOutcome>>();
  readonly #ending = new AbortController();
  #cancel = (): void => undefined;
  readonly counts = { sweeps: 0, accepted: 0, kept: 0, absent: 0, failed: 0, not_allowed: 0, unavailable: 0 };

  constructor(deps: FetcherDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#cancel = this.#deps.clock.setRepeating(sweepMs, () => void this.sweep());
  }

  async stop(): Promise<void> {
    this.#cancel();
    this.#ending.abort(new Error('the worker ends'));
    await this.settled();
    await this.#deps.lease.release();
  }

  /** Resolves when no fetch is under way. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }

  /** Starts fetches for what is most wanted and due. Rejects never; trouble is logged, and the next sweep comes. */
  async sweep(): Promise<void> {
    const { lease, log } = this.#deps;
    try {
      if (this.#running.size >= fetchesMax || !(await lease.take())) return;
      this.counts.sweeps++;
      for (const record of await this.#due()) {
        if (this.#running.size >= fetchesMax) return;
        void this.fetch(record);
      }
    } catch (error) {
      log.warn({ err: error }, 'wanted executables could not be looked at');
    }
  }

  /** Asks upstreams for one executable, now. Joins a fetch of it that is under way. */
  fetch(record: Wanted): Promise<FetchOutcome> {
    const running = this.#running.get(record.id);
    if (running !== undefined) return running;
    const fetch = this.#fetch(record)
      .catch((error): FetchOutcome => {
        this.#deps.log.warn({ err: error, id: record.id }, 'a debug file could not be fetched');
        const isAway = error instanceof StoreUnavailable || SymkeepError.from(error).code === 'unavailable';
        return isAway ? 'unavailable' : 'failed';
      })
      .finally(() => this.#running.delete(record.id));
    this.#running.set(record.id, fetch);
    void fetch.then((outcome) => this.counts[outcome]++);
    return fetch;
  }

  /** Asks for one executable as if nobody ever had: an admin wants it tried. */
  async fetchAnew(record: Wanted): Promise<FetchOutcome> {
    const outage = await this.#deps.upstreams.absences.cancel([record.id]);
    return outage === undefined ? this.fetch(record) : 'unavailable';
  }

  /** Wanted executables that have no symbols, or lack a dwz file, and that some upstream is due to be asked for. */
  async #due(): Promise<Wanted[]> {
    const { catalog, upstreams } = this.#deps;
    const wanted = await catalog.demand.top(lookedAtMax);
    const found = await catalog.executables.lookup(wanted.map(({ id }) => id));
    const records = found
      .filter((outcome) => outcome instanceof StoredRecord)
      .map(({ record }) => record)
      .filter((record) => upstreams.refusal(record) === undefined);
    const lacking = await this.#lacking(records);
    const absences = await upstreams.absences.of(lacking.map(({ id }) => id));
    const now = this.#deps.clock.wall();
    return lacking.filter(({ id }, index) => {
      const known = absences[index]!;
      return !(known instanceof StoreUnavailable) && upstreams.dueAt(known) <= now && !this.#running.has(id);
    });
  }

  async #lacking(records: readonly ExecutableRecord[]): Promise<Wanted[]> {
    const idle = records.filter(({ symbols }) => !['queued', 'running', 'ready'].includes(symbols.state));
    const alts = await Promise.all(idle.map((record) => this.#missingAlts(record)));
    return idle.flatMap((record, index) => [...alts[index]!, ...(alts[index]!.length > 0 ? [] : [record])]);
  }

  /** The dwz files that its debug files refer to and that are not here, to be asked for as it may be. */
  async #missingAlts({ id, names }: Pick<Wanted, 'id' | 'names'>): Promise<Wanted[]> {
    const { sources } = this.#deps.catalog;
    const set = await sources.read(id);
    if (set instanceof StoreUnavailable) throw set;
    const alts = new Set(usableSources(set).flatMap(({ alt }) => (alt === undefined ? [] : [`gnu:${alt}`])));
    const ids = [...alts] as ExecutableId[];
    const held = await sources.readMany(ids);
    return ids
      .filter((_, index) => {
        const of = held[index]!;
        if (of instanceof StoreUnavailable) throw of;
        return usableSources(of).length === 0;
      })
      .map((alt) => ({ id: alt, names, ambiguous: false }));
  }

  async #fetch(record: Wanted): Promise<FetchOutcome> {
    const { upstreams, log } = this.#deps;
    const outcome = await upstreams.find(record, this.#ending.signal);
    switch (outcome.kind) {
      case 'not_allowed':
      case 'absent':
        return outcome.kind;
      case 'failed':
        log.info({ id: record.id, why: outcome.failures.map(({ message }) => message) }, 'upstreams failed');
        return 'failed';
      case 'found': {
        const received = await this.#receive(record.id, outcome).finally(() => outcome.file.done());
        if (received === 'accepted') for (const alt of await this.#missingAlts(record)) await this.fetch(alt);
        return received;
      }
    }
  }

  async #receive(
    id: ExecutableId,
    {
      upstream,
      file,
    }: { upstream: string; file: { body: AsyncIterable<Uint8Array>; bytes: number | undefined } },
  ): Promise<FetchOutcome> {
    const { receiver, upstreams, log } = this.#deps;
    try {
      const { status } = await receiver.receive({
        ...{ id, trust: 'upstream', replace: false, name: '', contentDigest: undefined },
        body: { chunks: file.body[Symbol.asyncIterator](), length: file.bytes, coding: 'identity' },
        sample: () => this.#sample(),
      });
      log.info({ id, upstream, status }, 'a debug file came from upstream');
      if (status === 'kept') await upstreams.refused(id, upstream);
      return status;
    } catch (error) {
      const { code, message } = SymkeepError.from(error);
      if (code !== 'unprocessable' && code !== 'too_large') throw error;
      log.warn({ id, upstream, code, message }, 'what an upstream sent is refused');
      await upstreams.refused(id, upstream);
      return 'failed';
    }
  }

  #sample() {
    const sample = this.#deps.catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw sample;
    return sample;
  }
}
