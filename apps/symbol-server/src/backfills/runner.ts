// Carries backfills out, in one worker of the fleet at a time. Each second it looks at what came of what it asked for, goes
// on in the walk as far as rate and room allow, and writes both down in one step, before it asks. So whoever goes on after
// a kill finds everything that may have been asked for; asking again is the same job.
import { type Clock, type Store, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, type ExecutableRecord, SymkeepError } from '@symkeep/protocol';
import type { Logger } from 'pino';
import { seekAnew } from '../asking/seek-anew.ts';
import { type Catalog, StoredRecord } from '../catalog/index.ts';
import type { Lease } from '../jobs/lease.ts';
import type { QueuedJobs } from '../jobs/queued-jobs.ts';
import type { SourceSet } from '../sources/source-set.ts';
import type { Fetcher, FetchOutcome } from '../upstreams/fetcher.ts';
import {
  type Backfill,
  type BackfillSource,
  backfillSources,
  type InFlight,
  isUnderWay,
  type Outcome,
  type Place,
  priorityMax,
  type Step,
  withOutcomes,
  withRetryStep,
  withStep,
} from './backfill.ts';
import type { Backfills } from './backfills.ts';
import { Shares } from './shares.ts';

const tickMs = 1_000;
/** Under way at once, over all backfills of one source: what a fleet of workers does in a few seconds. */
export const inFlightMax = 1_000;
/** Parts of the walk for one backfill in one tick, of some hundred executables each. */
const partsMax = 128;
/** Jobs asked for at once. */
const askedAtOnce = 64;
/** A job that has not ended by then is asked for again: the queue may have been lost. */
const askAgainMs = 60_000;
/** After the store or the blobs were away: an upstream must not be asked each second for what cannot be kept. */
const awayMs = 10_000;
/** Agents ask for work with their reports; one that has the file is heard of by then. */
const agentsMs = 600_000;
/** More than any profile asks for: agents are asked for what is wanted most. */
const agentsWeight = 1_000_000;
/** Jobs of backfills come after people's uploads and what the reconciler mends; a high priority comes first. */
const jobPriorityMin = 10;

export interface RunnerDeps {
  readonly store: Store;
  readonly catalog: Pick<Catalog, 'executables' | 'sources' | 'demand' | 'epoch'>;
  readonly backfills: Backfills;
  readonly jobs: Pick<QueuedJobs, 'enqueue'>;
  /** Undefined where no upstreams are configured. */
  readonly fetcher: Pick<Fetcher, 'fetchAnew'> | undefined;
  readonly lease: Pick<Lease, 'take' | 'release'>;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Asked {
  readonly at: number;
  fetched?: FetchOutcome | 'no_upstreams';
}

/** What is known of an executable under way. */
interface Standing {
  readonly item: InFlight;
  readonly record: ExecutableRecord | 'erased' | undefined;
  readonly set: SourceSet;
}

export class BackfillRunner {
  readonly #deps: RunnerDeps;
  readonly #shares = new Map(backfillSources.map((source) => [source, new Shares()]));
  /** By backfill and executable: when this process asked, by its clock, and what an upstream answered. */
  readonly #asked = new Map<string, Asked>();
  /** By backfill: how many it may ask for by its rate, and when that was. */
  readonly #allowances = new Map<string, { readonly at: number; readonly left: number }>();
  #cancel = (): void => undefined;
  #running: Promise<void> = Promise.resolve();
  #isBusy = false;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#cancel = this.#deps.clock.setRepeating(tickMs, () => {
      if (!this.#isBusy) this.#running = this.tick();
    });
  }

  async stop(): Promise<void> {
    this.#cancel();
    await this.#running;
    await this.#deps.lease.release();
  }

  /** One round over all backfills. Rejects never: what could not be done is done in the next. */
  async tick(): Promise<void> {
    this.#isBusy = true;
    try {
      const active = (await this.#deps.backfills.list()).filter(isUnderWay);
      if (active.length === 0 || !(await this.#deps.lease.take())) return this.#forget([]);
      this.#forget(active);
      for (const source of backfillSources) await this.#advance(source, active);
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'backfills could not go on');
    } finally {
      this.#isBusy = false;
    }
  }

  async #advance(source: BackfillSource, all: readonly Backfill[]): Promise<void> {
    const settled: Backfill[] = [];
    for (const backfill of all.filter((one) => one.source === source)) {
      const after = await this.#safely(backfill, () => this.#settle(backfill));
      if (after?.state === 'running') settled.push(after);
    }
    const flying = settled.reduce((count, { inFlight }) => count + inFlight.length, 0);
    const wishes = settled.map((one) => {
      return { id: one.id, weight: one.priority, wants: this.#allowanceOf(one) };
    });
    const dealt = this.#shares.get(source)!.deal(Math.max(0, inFlightMax - flying), wishes);
    for (const backfill of settled)
      await this.#safely(backfill, () => this.#goOn(backfill, dealt.get(backfill.id) ?? 0));
  }

  // One backfill that cannot go on does not hold up the others.
  async #safely<T>({ id }: Backfill, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      const { code } = SymkeepError.from(error);
      // A flush took it, or its place was needed.
      if (code === 'not_found') this.#deps.log.debug({ id }, 'a backfill went away');
      else this.#deps.log.warn({ err: error, id }, 'a backfill could not go on');
      return undefined;
    }
  }

  /** Counts what has come to an end, and asks again for what nobody may be at. */
  async #settle(backfill: Backfill): Promise<Backfill> {
    const standings = await this.#standings(backfill.inFlight);
    const now = known(await this.#deps.store.now());
    const outcomes = new Map<ExecutableId, Outcome>();
    const waiting: Standing[] = [];
    for (const standing of standings) {
      const outcome = this.#outcomeOf(backfill, standing, now);
      if (outcome === undefined) waiting.push(standing);
      else outcomes.set(standing.item.id, outcome);
    }
    const { backfills } = this.#deps;
    await backfills.noteOutcomes(backfill.id, outcomes, now);
    const after = await backfills.change(backfill.id, (current, at) => withOutcomes(current, outcomes, at));
    for (const { item } of standings) if (outcomes.has(item.id)) this.#asked.delete(keyOf(backfill, item));
    if (after.state === 'running') await this.#askAll(after, waiting);
    return after;
  }

  async #standings(items: readonly InFlight[]): Promise<Standing[]> {
    if (items.length === 0) return [];
    const ids = items.map(({ id }) => id);
    const { executables, sources } = this.#deps.catalog;
    const [found, sets] = await Promise.all([executables.lookup(ids), sources.readMany(ids)]);
    return items.flatMap((item, index): Standing[] => {
      const outcome = found[index]!;
      const set = sets[index]!;
      // It is looked at again with the next tick.
      if (outcome === 'unavailable' || set instanceof StoreUnavailable) return [];
      if (outcome instanceof StoredRecord) return [{ item, record: outcome.record, set }];
      return [{ item, record: outcome === 'erased' ? outcome : undefined, set }];
    });
  }

  #outcomeOf(backfill: Backfill, { item, record, set }: Standing, now: number): Outcome | undefined {
    if (record === 'erased') return { kind: 'skipped', code: 'erased' };
    const { attempt } = set;
    if (attempt !== undefined && attempt.version === set.version && attempt.at >= item.at) {
      if (attempt.failure !== undefined) return { kind: 'failed', ...attempt.failure };
      return { kind: 'done', bytes: record?.symbols.bytes ?? 0 };
    }
    if (backfill.source === 'stored')
      return set.version === 0 ? { kind: 'skipped', code: 'no_sources' } : undefined;
    // A file has come, and its table is being made.
    if (set.version >= item.at) return undefined;
    if (backfill.source === 'upstream')
      return fetchedOutcome(this.#asked.get(keyOf(backfill, item))?.fetched);
    if (now - item.at < agentsMs) return undefined;
    return {
      kind: 'failed',
      code: 'no_agent',
      message: `no agent brought the file in ${agentsMs / 60_000} min`,
    };
  }

  /** Goes on in the walk, and with the failed ones that are tried again. */
  async #goOn(backfill: Backfill, room: number): Promise<void> {
    const again = await this.#retry(backfill, room);
    const { place } = backfill;
    const step = place === null ? undefined : await this.#walk(backfill, place, room - again.length);
    if (step === undefined && again.length === 0) return;
    const asked = step?.asked ?? [];
    this.#spend(backfill, again.length + asked.length);
    if (step !== undefined)
      await this.#deps.backfills.change(backfill.id, (current, now) => withStep(current, step, now));
    const after = await this.#deps.backfills.get(backfill.id);
    const fresh = new Set([...again, ...asked]);
    const items = after.inFlight.filter(({ id }) => fresh.has(id));
    if (after.state === 'running') await this.#askAll(after, await this.#standings(items));
  }

  async #walk(backfill: Backfill, from: Place, room: number): Promise<Step | undefined> {
    if (room <= 0) return undefined;
    const { filter, source } = backfill;
    const asked: ExecutableId[] = [];
    const skipped: Record<string, number> = {};
    let place: Place | null = from;
    for (let parts = 0; parts < partsMax && place !== null && asked.length < room; parts++) {
      const part = await this.#deps.backfills.selection.part(filter, source, place);
      place = part.next;
      for (const [index, { id, skip, next }] of part.chosen.entries()) {
        if (skip !== undefined) skipped[skip] = (skipped[skip] ?? 0) + 1;
        else if (asked.push(id) === room) {
          // What follows in this part is met again in the next tick.
          if (index + 1 < part.chosen.length) place = next;
          break;
        }
      }
    }
    return { from, to: place, asked, skipped };
  }

  /** Moves failed ones back to what is under way; returns them. */
  async #retry(backfill: Backfill, room: number): Promise<ExecutableId[]> {
    const from = backfill.retried;
    if (from === null || room <= 0) return [];
    const page = await this.#deps.backfills.failures(backfill.id, from, room);
    const to = page.length < room ? null : page.at(-1)!.id;
    await this.#deps.backfills.change(backfill.id, (current, now) =>
      withRetryStep(current, { from, to, asked: page }, now),
    );
    return page.map(({ id }) => id);
  }

  async #askAll(backfill: Backfill, standings: readonly Standing[]): Promise<void> {
    for (let at = 0; at < standings.length; at += askedAtOnce) {
      const some = standings.slice(at, at + askedAtOnce);
      await Promise.all(some.map((standing) => this.#ask(backfill, standing)));
    }
  }

  // Whoever dies after this has asked twice at most, and twice is the same job.
  async #ask(backfill: Backfill, { item, record, set }: Standing): Promise<void> {
    const { id, at } = item;
    const key = keyOf(backfill, item);
    const { clock, jobs, catalog, fetcher } = this.#deps;
    const before = this.#asked.get(key);
    // A worker may have died between a file's coming and its job.
    const isJob = backfill.source === 'stored' || set.version >= at;
    if (before !== undefined && !this.#isDue(before, isJob)) return;
    const mark: Asked = { at: clock.now() };
    if (isJob) {
      await jobs.enqueue(id, set, jobPriorityMin + 1 + priorityMax - backfill.priority);
    } else {
      if (backfill.source === 'agents') await seekAnew(this.#deps.store, catalog, id, agentsWeight);
      else if (fetcher === undefined || typeof record !== 'object') mark.fetched = 'no_upstreams';
      else
        void fetcher.fetchAnew(record).then((outcome) => {
          mark.fetched = outcome;
        });
    }
    this.#asked.set(key, mark);
  }

  /** Whether what was asked for is asked for again. */
  #isDue({ at, fetched }: Asked, isJob: boolean): boolean {
    const ms = this.#deps.clock.now() - at;
    if (fetched === 'unavailable') return ms >= awayMs;
    // A store may have lost what was accepted.
    return (isJob || fetched === 'accepted') && ms >= askAgainMs;
  }

  /** What the rate allows now: a second's worth at most, so that a pause is no debt. */
  #allowanceOf({ id, rate }: Backfill): number {
    const now = this.#deps.clock.now();
    const before = this.#allowances.get(id) ?? { at: now - tickMs, left: 0 };
    const left = Math.min(Math.max(1, rate), before.left + (rate * (now - before.at)) / 1_000);
    this.#allowances.set(id, { at: now, left });
    return Math.floor(left);
  }

  #spend({ id }: Backfill, count: number): void {
    const { at, left } = this.#allowances.get(id)!;
    this.#allowances.set(id, { at, left: left - count });
  }

  #forget(active: readonly Backfill[]): void {
    const ids = new Set(active.map(({ id }) => id));
    for (const id of this.#allowances.keys()) if (!ids.has(id)) this.#allowances.delete(id);
    for (const key of this.#asked.keys())
      if (!ids.has(key.slice(0, key.indexOf(' ')))) this.#asked.delete(key);
  }
}

function fetchedOutcome(fetched: Asked['fetched']): Outcome | undefined {
  switch (fetched) {
    case undefined:
    case 'accepted':
    case 'unavailable':
      return undefined;
    case 'kept':
      return { kind: 'skipped', code: 'not_better' };
    case 'not_allowed':
    case 'no_upstreams':
      return { kind: 'skipped', code: fetched };
    case 'absent':
      return { kind: 'failed', code: 'absent', message: 'no upstream has a file of it' };
    case 'failed':
      return { kind: 'failed', code: 'upstream_failed', message: 'an upstream could not be asked' };
  }
}

// A backfill's ID has no spaces. A store that went back has it asked for at another time, which is another asking.
function keyOf({ id }: Backfill, item: InFlight): string {
  return `${id} ${item.at} ${item.id}`;
}

function known<T>(value: T | StoreUnavailable): T {
  if (value instanceof StoreUnavailable) throw value;
  return value;
}
