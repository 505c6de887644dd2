// Time as a parameter: the one file that reads the system's clocks and starts its timers. Everything else is given a
// `Clock`, so that tests and simulations move time by hand and two days pass in seconds.

export interface Clock {
  /**
   * Coarse monotonic time in units of `tickMs`: a plain field, so that reading it costs no system call. An Int32 that
   * wraps: compare by `(later - earlier) | 0`.
   */
  readonly tick: number;
  readonly tickMs: number;
  /** Monotonic milliseconds since an arbitrary start: for lifetimes. */
  now(): number;
  /** Unix milliseconds: for people and logs only, since it may be wrong and may step. */
  wall(): number;
  /** The least difference of two ticks that proves that `ms` have passed. */
  ticksFor(ms: number): number;
  /** Rejects with the signal's reason if it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Runs `run` once, after `ms`; the answer cancels it. */
  setTimer(ms: number, run: () => void): () => void;
  /** Runs `run` every `ms`; the answer cancels it. */
  setRepeating(ms: number, run: () => void): () => void;
}

// A quarter of a second is nothing beside lifetimes of minutes, and four wake-ups a second cost an idle agent nothing
// that can be measured.
const systemTickMs = 250;
// Node's timers fire at once when asked for more.
const timerMsMax = 2 ** 31 - 1;
// Half of the range of an Int32 tick, so that a difference never reads as its negative.
const ticksMax = 2 ** 30;

export class SystemClock implements Clock {
  readonly tickMs = systemTickMs;
  tick = 0;

  constructor() {
    const advance = (): void => {
      this.tick = Math.floor(performance.now() / systemTickMs) | 0;
    };
    advance();
    setInterval(advance, systemTickMs).unref();
  }

  now(): number {
    return performance.now();
  }

  wall(): number {
    return Date.now();
  }

  ticksFor(ms: number): number {
    // One more than the quotient, because the first tick may end right after it was read.
    return boundedTicks(Math.ceil(ms / this.tickMs) + 1);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  setTimer(ms: number, run: () => void): () => void {
    const timer = setTimeout(run, boundedMs(ms));
    return () => clearTimeout(timer);
  }

  setRepeating(ms: number, run: () => void): () => void {
    const timer = setInterval(run, boundedMs(ms));
    return () => clearInterval(timer);
  }
}

export interface ManualClockOptions {
  /** What `wall()` reads at the start, in Unix milliseconds. */
  wallMs?: number;
  tickMs?: number;
  /** Waits until all that a timer has set off has come to rest; by default one turn of the event loop. */
  settle?: () => Promise<void>;
}

/**
 * Time that moves only when told to. Its ticks are exact: an idle lifetime ends at its very millisecond. Ticks of 1 ms wrap
 * after 24 days: longer simulations take coarser ones.
 */
export class ManualClock implements Clock {
  readonly tickMs: number;
  tick = 0;
  readonly #settle: () => Promise<void>;
  readonly #timers = new TimerHeap();
  #now = 0;
  #wallMs: number;
  #advancing = false;

  constructor(options: ManualClockOptions = {}) {
    this.tickMs = options.tickMs ?? 1;
    this.#wallMs = options.wallMs ?? Date.UTC(2026, 0, 1);
    this.#settle = options.settle ?? (() => new Promise((resolve) => setImmediate(resolve)));
  }

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#wallMs + this.#now;
  }

  ticksFor(ms: number): number {
    return boundedTicks(Math.ceil(ms / this.tickMs));
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  setTimer(ms: number, run: () => void): () => void {
    return this.#timers.push(this.#now + boundedMs(ms), run);
  }

  setRepeating(ms: number, run: () => void): () => void {
    // At least a millisecond, as in Node: a repetition of nothing would hold time still.
    const period = Math.max(1, boundedMs(ms));
    let cancel = (): void => undefined;
    const repeat = (): void => {
      cancel = this.setTimer(period, repeat);
      run();
    };
    cancel = this.setTimer(period, repeat);
    return () => cancel();
  }

  /** Steps the wall clock alone, as an operator or NTP would; lifetimes must not notice. */
  skewWall(ms: number): void {
    this.#wallMs += ms;
  }

  /** Moves time on, running every timer that falls due at its own moment, each followed by what it has set off. */
  async advance(ms: number): Promise<void> {
    if (this.#advancing) throw new Error('the clock is being advanced already');
    this.#advancing = true;
    try {
      const until = this.#now + ms;
      await this.#settle();
      for (let run = this.#nextDue(until); run !== undefined; run = this.#nextDue(until)) {
        run();
        await this.#settle();
      }
      this.#moveTo(until);
    } finally {
      this.#advancing = false;
    }
  }

  /** Like `advance`, but promises that the timers set off are not waited for. */
  advanceSync(ms: number): void {
    const until = this.#now + ms;
    for (let run = this.#nextDue(until); run !== undefined; run = this.#nextDue(until)) run();
    this.#moveTo(until);
  }

  /** Timers that have neither run nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  #nextDue(until: number): (() => void) | undefined {
    const timer = this.#timers.popDue(until);
    if (timer === undefined) return undefined;
    this.#moveTo(timer.at);
    return timer.run;
  }

  #moveTo(ms: number): void {
    this.#now = ms;
    this.tick = Math.floor(ms / this.tickMs) | 0;
  }
}

interface Timer {
  readonly at: number;
  readonly sequence: number;
  /** Cleared when cancelled, so that what it holds can be collected before its time comes. */
  run: (() => void) | undefined;
}

/** A binary heap: the earliest first, and among equals the one set first. */
class TimerHeap {
  readonly #heap: Timer[] = [];
  #sequence = 0;
  size = 0;

  push(at: number, run: () => void): () => void {
    const timer: Timer = { at, sequence: this.#sequence++, run };
    this.size++;
    this.#siftUp(timer);
    return () => {
      if (timer.run === undefined) return;
      timer.run = undefined;
      this.size--;
    };
  }

  popDue(until: number): { at: number; run: () => void } | undefined {
    for (let timer = this.#heap[0]; timer !== undefined && timer.at <= until; timer = this.#heap[0]) {
      this.#removeFirst();
      if (timer.run === undefined) continue;
      const { at, run } = timer;
      timer.run = undefined;
      this.size--;
      return { at, run };
    }
    return undefined;
  }

  #siftUp(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}

function sleepOn(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.setTimer(ms, () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    signal?.addEventListener('abort', abort, { once: true });
  });
}

function boundedMs(ms: number): number {
  if (!(ms >= 0 && ms <= timerMsMax))
    throw new RangeError(`a timer of ${ms} ms is not within 0 and ${timerMsMax}`);
  return ms;
}

function boundedTicks(ticks: number): number {
  if (!(ticks >= 0 && ticks < ticksMax))
    throw new RangeError(`a lifetime of ${ticks} ticks is not within ${ticksMax}`);
  return ticks;
}
