// One backfill: what is chosen, how far it is, and how it goes on. Every step is a function from one account of it to the
// next, so that it can be swapped in the store as a whole: how far the walk is, what is under way and the counts always
// agree, wherever a worker dies.
import { type ExecutableId, type Quality, type SymbolState, SymkeepError } from '@symkeep/protocol';

export const backfillSources = ['stored', 'upstream', 'agents'] as const;
/** Where symbols are to come from: files that are here, upstreams, or agents that have the file. */
export type BackfillSource = (typeof backfillSources)[number];
export const backfillStates = ['running', 'paused', 'cancelled', 'done'] as const;
export type BackfillState = (typeof backfillStates)[number];

/** The greatest share: a backfill of priority 10 gets ten times what one of priority 1 gets. */
export const priorityMax = 10;
/** Executables asked for a second. */
export const rateMax = 10_000;
/** What the speed of the last seconds weighs in the estimate: half a minute smooths what comes in bursts. */
const speedMs = 30_000;

/** Which executables; all conditions must hold, and without any it is every executable. */
export interface BackfillFilter {
  readonly ids?: readonly ExecutableId[];
  /** Part of the file name, in any case. */
  readonly name?: string;
  readonly state?: SymbolState;
  readonly qualityBelow?: Quality;
  /** RFC 3339; like `lastSeen` true to the day. */
  readonly lastSeenAfter?: string;
  /** The table in use is of an older format. */
  readonly formatBelow?: number;
}

/** Where the walk over the executables goes on. */
export type Place =
  | { readonly kind: 'index'; readonly shard: number; readonly after: string }
  | { readonly kind: 'list'; readonly position: number };

/** Asked for, and not come to an end. `at`: when, Unix milliseconds by the store's clock. */
export interface InFlight {
  readonly id: ExecutableId;
  readonly at: number;
}

export type Counts = Readonly<Record<string, number>>;

/** As it is stored. Times are Unix milliseconds by the store's clock. */
export interface Backfill {
  readonly id: string;
  readonly filter: BackfillFilter;
  readonly source: BackfillSource;
  /** 1 to `priorityMax`: its share beside others. */
  readonly priority: number;
  /** Executables asked for a second, at most. */
  readonly rate: number;
  readonly state: BackfillState;
  readonly createdAt: number;
  readonly endedAt?: number;
  /** As it was counted when it was started; what came since is added as the walk meets it. */
  readonly total: number;
  readonly done: number;
  /** By code. */
  readonly failed: Counts;
  readonly skipped: Counts;
  /** Of the symbol tables that came of it. */
  readonly bytes: number;
  /** Null: it has met every executable. */
  readonly place: Place | null;
  /** Of the failed ones, the last that was tried again; null: none is to be. */
  readonly retried: string | null;
  readonly inFlight: readonly InFlight[];
  readonly speed: { readonly at: number; readonly settled: number; readonly perSecond: number };
}

export type Outcome =
  | { readonly kind: 'done'; readonly bytes: number }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }
  | { readonly kind: 'skipped'; readonly code: string };

export type BackfillSpec = Pick<Backfill, 'id' | 'filter' | 'source' | 'priority' | 'rate' | 'total'>;

export function startedBackfill(spec: BackfillSpec, now: number): Backfill {
  return {
    ...spec,
    ...{ state: 'running', createdAt: now, done: 0, failed: {}, skipped: {}, bytes: 0 },
    place:
      spec.filter.ids === undefined ? { kind: 'index', shard: 0, after: '' } : { kind: 'list', position: 0 },
    ...{ retried: null, inFlight: [], speed: { at: now, settled: 0, perSecond: 0 } },
  };
}

export function isOver({ state }: Backfill): boolean {
  return state === 'done' || state === 'cancelled';
}

/** Something may still come of it. */
export function isUnderWay(backfill: Backfill): boolean {
  return backfill.state === 'running' || (backfill.state === 'paused' && backfill.inFlight.length > 0);
}

/** Executables of which it is known what came of them. */
export function settledCount({ done, failed, skipped }: Backfill): number {
  return done + sum(failed) + sum(skipped);
}

/** With what came of executables that were under way. Of one that is not, it says nothing. */
export function withOutcomes(
  backfill: Backfill,
  outcomes: ReadonlyMap<ExecutableId, Outcome>,
  now: number,
): Backfill {
  const failed = { ...backfill.failed };
  const skipped = { ...backfill.skipped };
  let { done, bytes } = backfill;
  const inFlight = backfill.inFlight.filter(({ id }) => {
    const outcome = outcomes.get(id);
    if (outcome === undefined) return true;
    if (outcome.kind === 'done') {
      done++;
      bytes += outcome.bytes;
    } else add(outcome.kind === 'failed' ? failed : skipped, outcome.code, 1);
    return false;
  });
  return ended(measured({ ...backfill, done, bytes, failed, skipped, inFlight }, now), now);
}

/** One step of the walk: from a place to the next, what was asked for on it, and what was passed over, by code. */
export interface Step {
  readonly from: Place;
  readonly to: Place | null;
  readonly asked: readonly ExecutableId[];
  readonly skipped: Counts;
}

/** The same backfill if it is not there any more, or not running. */
export function withStep(backfill: Backfill, { from, to, asked, skipped }: Step, now: number): Backfill {
  if (backfill.state !== 'running' || !isSamePlace(backfill.place, from)) return backfill;
  const counts = { ...backfill.skipped };
  for (const [code, count] of Object.entries(skipped)) add(counts, code, count);
  return settledTotal(
    { ...backfill, place: to, skipped: counts, inFlight: launched(backfill, asked, now) },
    now,
  );
}

/** One step over the failed ones that are tried again. */
export interface RetryStep {
  readonly from: string;
  readonly to: string | null;
  readonly asked: readonly { readonly id: ExecutableId; readonly code: string }[];
}

export function withRetryStep(backfill: Backfill, { from, to, asked }: RetryStep, now: number): Backfill {
  if (backfill.state !== 'running' || backfill.retried !== from) return backfill;
  const failed = { ...backfill.failed };
  const flying = new Set(backfill.inFlight.map(({ id }) => id));
  const again = asked.filter(({ id }) => !flying.has(id));
  for (const { code } of again) add(failed, code, -1);
  const ids = again.map(({ id }) => id);
  return settledTotal({ ...backfill, retried: to, failed, inFlight: launched(backfill, ids, now) }, now);
}

export type Action = 'pause' | 'resume' | 'cancel' | 'retry';

/** What an admin does. Doing it again changes nothing; throws `conflict` for what cannot be. */
export function withAction(backfill: Backfill, action: Action, now: number): Backfill {
  switch (action) {
    case 'pause':
      if (backfill.state === 'paused') return backfill;
      return { ...assertNotOver(backfill, action), state: 'paused' };
    case 'resume':
      if (backfill.state === 'running') return backfill;
      return { ...resting(assertNotOver(backfill, action), now), state: 'running' };
    case 'cancel':
      if (backfill.state === 'cancelled') return backfill;
      return cancelled(assertNotOver(backfill, action), now);
    case 'retry':
      return retrying(backfill, now);
  }
}

function assertNotOver(backfill: Backfill, action: Action): Backfill {
  if (!isOver(backfill)) return backfill;
  throw new SymkeepError('conflict', `${backfill.id} is ${backfill.state}: there is nothing to ${action}`);
}

// What is under way goes on, and is not waited for.
function cancelled(backfill: Backfill, now: number): Backfill {
  const skipped = { ...backfill.skipped };
  if (backfill.inFlight.length > 0) add(skipped, 'cancelled', backfill.inFlight.length);
  return { ...backfill, state: 'cancelled', skipped, inFlight: [], place: null, retried: null, endedAt: now };
}

function retrying(backfill: Backfill, now: number): Backfill {
  if (sum(backfill.failed) === 0 || backfill.retried !== null) return backfill;
  const { endedAt: _, ...going } = resting(backfill, now);
  return { ...going, state: 'running', retried: '' };
}

// The time in which it rested says nothing of its speed.
function resting(backfill: Backfill, now: number): Backfill {
  return { ...backfill, speed: { at: now, settled: settledCount(backfill), perSecond: 0 } };
}

function launched({ inFlight }: Backfill, ids: readonly ExecutableId[], at: number): InFlight[] {
  const known = new Set(inFlight.map(({ id }) => id));
  const fresh = [...new Set(ids)].filter((id) => !known.has(id));
  return [...inFlight, ...fresh.map((id) => ({ id, at }))];
}

// Executables that came after it was counted make the total greater; those that went make it smaller at the end.
function settledTotal(backfill: Backfill, now: number): Backfill {
  const met = settledCount(backfill) + backfill.inFlight.length;
  const isAllMet = backfill.place === null && backfill.retried === null;
  return ended({ ...backfill, total: isAllMet ? met : Math.max(backfill.total, met) }, now);
}

function ended(backfill: Backfill, now: number): Backfill {
  const { place, retried, inFlight } = backfill;
  if (isOver(backfill) || place !== null || retried !== null || inFlight.length > 0) return backfill;
  return { ...backfill, state: 'done', endedAt: now, total: settledCount(backfill) };
}

function measured(backfill: Backfill, now: number): Backfill {
  const { speed } = backfill;
  const ms = now - speed.at;
  const settled = settledCount(backfill);
  if (ms <= 0) return backfill;
  const latest = ((settled - speed.settled) * 1_000) / ms;
  const weight = speed.perSecond === 0 ? 1 : 1 - Math.exp(-ms / speedMs);
  const perSecond = speed.perSecond + weight * (latest - speed.perSecond);
  return { ...backfill, speed: { at: now, settled, perSecond } };
}

/** When all will be settled at the speed of late, Unix milliseconds; null while that cannot be said. */
export function etaOf(backfill: Backfill): number | null {
  const { state, speed, total } = backfill;
  if (state !== 'running' || speed.perSecond <= 0) return null;
  return Math.round(speed.at + ((total - settledCount(backfill)) * 1_000) / speed.perSecond);
}

function isSamePlace(a: Place | null, b: Place): boolean {
  if (a === null || a.kind !== b.kind) return false;
  if (a.kind === 'list') return b.kind === 'list' && a.position === b.position;
  return b.kind === 'index' && a.shard === b.shard && a.after === b.after;
}

export function sum(counts: Counts): number {
  return Object.values(counts).reduce((all, count) => all + count, 0);
}

function add(counts: Record<string, number>, code: string, by: number): void {
  const count = (counts[code] ?? 0) + by;
  if (count > 0) counts[code] = count;
  else delete counts[code];
}
