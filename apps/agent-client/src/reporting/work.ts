// What is still to be said to the store: executables to report, and executables to check first. Both hold what the
// executable is, so that one which ends meanwhile is reported all the same.
import type { LiveExecutable } from '../inventory.ts';

/** Executables waiting to be reported; live ones beyond it wait in the inventory. */
export const queueMax = 16_384;
/** Executables waiting to be checked: all live ones, and as many that have ended. */
const checksMax = 65_536;

/** Reports of one executable that another store took than the one that misses it, before the next review sees to it. */
const attemptsMax = 4;

interface Queued {
  readonly live: LiveExecutable;
  /** The epoch of the store that misses it, where one is known to. */
  readonly missingIn: string | undefined;
  attempts: number;
}

export class Work {
  readonly #queue = new Map<string, Queued>();
  readonly #checks = new Map<string, LiveExecutable>();
  readonly #queueMax: number;
  /** Put into the queue, since the start. */
  enqueued = 0;
  /** Did not fit into it, counted each time. */
  deferred = 0;

  constructor(max = queueMax) {
    this.#queueMax = max;
  }

  get queued(): number {
    return this.#queue.size;
  }

  get checking(): number {
    return this.#checks.size;
  }

  isWaiting(key: string): boolean {
    return this.#queue.has(key) || this.#checks.has(key);
  }

  isQueued(key: string): boolean {
    return this.#queue.has(key);
  }

  enqueue(live: LiveExecutable, missingIn?: string): void {
    if (this.#queue.has(live.key)) return;
    if (this.#queue.size >= this.#queueMax) {
      this.deferred++;
      return;
    }
    this.enqueued++;
    this.#queue.set(live.key, { live, missingIn, attempts: 0 });
  }

  /** In random order: agents that share most of their executables then do not all ask for the same ones at first. */
  check(executables: readonly LiveExecutable[], random: () => number): void {
    for (const live of shuffled(executables, random)) {
      if (this.#checks.size >= checksMax) return;
      if (!this.#queue.has(live.key)) this.#checks.set(live.key, live);
    }
  }

  nextReports(count: number): LiveExecutable[] {
    return first(this.#queue, count).map(({ live }) => live);
  }

  nextChecks(count: number): LiveExecutable[] {
    return first(this.#checks, count);
  }

  reported({ key }: LiveExecutable): void {
    this.#queue.delete(key);
  }

  /** Taken by the store of an epoch: if that is not the one that misses it, it stays in the queue for another try. */
  taken({ key }: LiveExecutable, epoch: string): void {
    const queued = this.#queue.get(key);
    if (queued === undefined) return;
    this.#queue.delete(key);
    const isElsewhere = queued.missingIn !== undefined && queued.missingIn !== epoch;
    if (isElsewhere && ++queued.attempts < attemptsMax) this.#queue.set(key, queued);
  }

  checked(live: LiveExecutable): void {
    this.#checks.delete(live.key);
  }

  /** Behind the others: what is refused for now must not hold them up. */
  postpone(live: LiveExecutable): void {
    moveToEnd(this.#queue, live.key);
    moveToEnd(this.#checks, live.key);
  }
}

function moveToEnd<T>(waiting: Map<string, T>, key: string): void {
  const item = waiting.get(key);
  if (item === undefined) return;
  waiting.delete(key);
  waiting.set(key, item);
}

function first<T>(waiting: ReadonlyMap<string, T>, count: number): T[] {
  const items: T[] = [];
  for (const item of waiting.values()) {
    if (items.length === count) break;
    items.push(item);
  }
  return items;
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const out = [...items];
  for (let last = out.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [out[last], out[other]] = [out[other]!, out[last]!];
  }
  return out;
}
