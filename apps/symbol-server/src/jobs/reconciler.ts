// Compares sets, records, tables and jobs, and mends what a crash or a loss left: a job that is nowhere, a table that lags
// behind its set or its format, pages that the store lost. It only asks for jobs; these do nothing where nothing is to be
// done. One worker does it at a time: at start, after each change of the epoch, and on a schedule.
import { type Clock, type Store, StoreUnavailable, shardCount } from '@symkeep/cache';
import type { ExecutableId, ExecutableRecord } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import type { Logger } from 'pino';
import { type Catalog, StoredRecord } from '../catalog/index.ts';
import type { SourceSet } from '../sources/source-set.ts';
import type { Lease } from './lease.ts';
import { planOf, readyTable } from './plan.ts';
import type { QueuedJobs } from './queued-jobs.ts';

/** What a loss may stay unseen that changes no epoch. */
const everyMs = 600_000;
/** Records looked at in one round trip. */
const chunk = 128;
/** After people's uploads, before nothing. */
const priority = 10;
/** A job is given this time between two looks before it counts as lost: it may be on its way from one state to the next. */
const graceMs = 15_000;
/** What failed in a way that may pass is tried again this much later, whatever the queue remembers. */
const failedMs = 3_600_000;
export interface ReconcilerDeps {
  readonly store: Store;
  readonly catalog: Pick<Catalog, 'epoch' | 'executables' | 'sources' | 'states' | 'tables'>;
  readonly jobs: Pick<QueuedJobs, 'enqueue'>;
  readonly lease: Lease;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Reconciled {
  readonly records: number;
  readonly enqueued: number;
}

export class Reconciler {
  readonly #deps: ReconcilerDeps;
  #stop = (): void => undefined;
  #running: Promise<unknown> = Promise.resolve();
  #again = false;
  #cancelLater = (): void => undefined;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, catalog } = this.#deps;
    const stopRepeating = clock.setRepeating(everyMs, () => this.soon());
    const stopListening = catalog.epoch.onChange(() => this.soon());
    // What is on its way at the first look has a place in the second.
    const stopSecond = clock.setTimer(2 * graceMs, () => this.soon());
    this.#stop = () => {
      stopRepeating();
      stopListening();
      stopSecond();
    };
    this.soon();
  }

  async stop(): Promise<void> {
    this.#stop();
    this.#cancelLater();
    this.#again = false;
    await this.#running;
    this.#cancelLater();
    await this.#deps.lease.release();
  }

  /** A pass, after the one that runs. */
  soon(): void {
    if (this.#again) return;
    this.#again = true;
    this.#running = this.#running.then(async () => {
      if (!this.#again) return;
      this.#again = false;
      try {
        if (await this.#deps.lease.take()) this.#deps.log.debug(await this.pass(), 'reconciled');
        else this.#later();
      } catch (error) {
        this.#deps.log.warn({ err: error }, 'reconciling was cut short');
        this.#later();
      }
    });
  }

  // Who holds the lease may have been killed before it had looked at everything; an outage may be over.
  #later(): void {
    this.#cancelLater();
    this.#cancelLater = this.#deps.clock.setTimer(graceMs, () => this.soon());
  }

  /** Looks at every record once. Throws what the store or the queue throws. */
  async pass(): Promise<Reconciled> {
    const counts = { records: 0, enqueued: 0 };
    for (let shard = 0; shard < shardCount; shard++) {
      for (let after = ''; ; ) {
        const members = known(await this.#deps.store.scanIndex(shard, after, chunk));
        await this.#look(members.map(idIn), counts);
        if (members.length < chunk) break;
        after = members.at(-1)!;
        if (!(await this.#deps.lease.take())) return counts;
      }
    }
    return counts;
  }

  async #look(ids: readonly ExecutableId[], counts: { -readonly [K in keyof Reconciled]: number }) {
    const { store, catalog } = this.#deps;
    const [found, sets] = await Promise.all([catalog.executables.lookup(ids), catalog.sources.readMany(ids)]);
    const now = known(await store.now());
    for (const [index, outcome] of found.entries()) {
      if (!(outcome instanceof StoredRecord) || outcome.record.id !== ids[index]) continue;
      counts.records++;
      const set = known(sets[index]!);
      if (await this.#isBehind(outcome.record, set, now)) {
        await this.#deps.jobs.enqueue(ids[index]!, set, priority);
        counts.enqueued++;
      }
    }
  }

  async #isBehind({ id, symbols }: ExecutableRecord, set: SourceSet, now: number): Promise<boolean> {
    const { attempt } = set;
    if (set.version === 0) return false;
    if (attempt === undefined || attempt.version !== set.version || attempt.format !== symbolTableVersion)
      // `version` is a time: what came just now is on its way to the queue.
      return set.version + graceMs <= now || symbols.state === 'none';
    if (attempt.failure !== undefined) {
      const { mayPass } = attempt.failure;
      const isSaid = symbols.state === 'failed' || symbols.state === 'ready';
      return !isSaid || (mayPass && attempt.at + failedMs <= now);
    }
    const table = readyTable(set, planOf(set)) ?? (planOf(set).length > 0 ? set.tables[0] : undefined);
    if (table === undefined) return symbols.state === 'ready' || symbols.state === 'queued';
    if (symbols.state !== 'ready' || symbols.digest !== table.digest) return attempt.at + graceMs <= now;
    return !known(await this.#deps.catalog.tables.isWhole({ id, digest: table.digest }));
  }
}

function known<T>(value: T | StoreUnavailable | undefined): T {
  if (value instanceof StoreUnavailable) throw value;
  return value as T;
}

function idIn(member: string): ExecutableId {
  return member.slice(member.lastIndexOf('\0') + 1) as ExecutableId;
}
