// Which executables are asked for without symbols, and how much: the order in which missing symbols are worth finding.
// Demand is counted here and written every second, so that a lookup never waits for it; a crash costs a second of it.
import { type Clock, type Store, StoreUnavailable, shardCount } from '@symkeep/cache';
import { type ExecutableId, FRAME_STATUS, type FrameStatus } from '@symkeep/protocol';
import { shardOf } from './keys.ts';

const ranking = 'wanted';
/** Executables with demand that are kept in mind, over all shards; beyond it the least wanted give way. */
export const wantedMax = 100_000;
const wantedPerShardMax = Math.ceil(wantedMax / shardCount);
const flushMs = 1_000;
/** Distinct executables counted between two writes; demand beyond it is counted as dropped. */
const pendingMax = 10_000;

export interface Wanted {
  /** The canonical ID, or the ID as it was asked for if it is of no known executable. */
  readonly id: ExecutableId;
  /** Samples, or addresses where none were given, that were asked for in vain. */
  readonly samples: number;
}

/** Of a lookup, what was in vain for want of symbols. `weights` are samples, one per address. */
export function missedSamples(statuses: ArrayLike<number>, weights: ArrayLike<number> | undefined): number {
  let samples = 0;
  for (let index = 0; index < statuses.length; index++) {
    if (isMiss(statuses[index]!)) samples += weights?.[index] ?? 1;
  }
  return samples;
}

export class Demand {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #onFirst: (ids: readonly ExecutableId[]) => Promise<void>;
  #pending = new Map<ExecutableId, number>();
  #cancel = (): void => undefined;
  #writing: Promise<void> = Promise.resolve();
  readonly counts = { asked: 0, writes: 0, outages: 0, dropped: 0 };

  /** `onFirst` hears of executables that were not wanted before. */
  constructor(store: Store, clock: Clock, onFirst: (ids: readonly ExecutableId[]) => Promise<void>) {
    this.#store = store;
    this.#clock = clock;
    this.#onFirst = onFirst;
  }

  start(): void {
    this.#cancel = this.#clock.setRepeating(flushMs, () => void this.flush());
  }

  async stop(): Promise<void> {
    this.#cancel();
    await this.flush();
  }

  /** Counts what of a lookup was in vain for want of symbols. `weights` are samples, one per address. */
  noteMisses(
    asked: ExecutableId,
    canonical: string,
    statuses: readonly FrameStatus[],
    weights: readonly number[] | undefined,
  ): void {
    const samples = missedSamples(statuses, weights);
    if (samples > 0) this.note(canonical === '' ? asked : (canonical as ExecutableId), samples);
  }

  /** Counts; returns at once. */
  note(id: ExecutableId, samples: number): void {
    this.counts.asked += samples;
    const known = this.#pending.get(id);
    if (known === undefined && this.#pending.size >= pendingMax) this.counts.dropped += samples;
    else this.#pending.set(id, (known ?? 0) + samples);
  }

  /** Writes what was counted. In an outage it is kept for the next time. One write at a time. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** The most wanted, most wanted first. Throws the outage: a list without some shards would look complete. */
  async top(limit: number): Promise<Wanted[]> {
    const shards = await Promise.all(
      Array.from({ length: shardCount }, (_, shard) => this.#store.highest(shard, ranking, limit)),
    );
    const all: Wanted[] = [];
    for (const ranked of shards) {
      if (ranked instanceof StoreUnavailable) throw ranked;
      for (const { member, score } of ranked) all.push({ id: member as ExecutableId, samples: score });
    }
    return all.sort((a, b) => b.samples - a.samples || (a.id < b.id ? -1 : 1)).slice(0, limit);
  }

  /** How often each was asked for in vain; 0 if never. */
  async of(ids: readonly ExecutableId[]): Promise<(number | StoreUnavailable)[]> {
    const scores = await this.#store.scores(ids.map(memberOf));
    return scores.map((score) => score ?? 0);
  }

  /** Its symbols came, or it was erased. */
  satisfied(ids: readonly ExecutableId[]): Promise<StoreUnavailable | undefined> {
    return this.#store.withdraw(ids.map(memberOf));
  }

  async #write(): Promise<void> {
    if (this.#pending.size === 0) return;
    const pending = this.#pending;
    this.#pending = new Map();
    const rises = Array.from(pending, ([id, by]) => ({ ...memberOf(id), by }));
    const scores = await this.#store.raise(rises, wantedPerShardMax);
    this.counts.writes++;
    const first: ExecutableId[] = [];
    for (const [n, [id, by]] of [...pending].entries()) {
      if (scores[n] instanceof StoreUnavailable) {
        this.counts.outages++;
        this.#pending.set(id, (this.#pending.get(id) ?? 0) + by);
      } else if (scores[n] === by) first.push(id);
    }
    if (first.length > 0) await this.#onFirst(first);
  }
}

function isMiss(status: number): boolean {
  return status === FRAME_STATUS.symbolsNotReady || status === FRAME_STATUS.unknownExecutable;
}

function memberOf(id: ExecutableId) {
  return { shard: shardOf(id), ranking, member: id };
}
