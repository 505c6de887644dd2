// What is known not to be known, for a while. An absence has an absolute lifetime that use does not extend (a hot
// unknown must be asked again), longer each time it is found still absent, and an event cancels it at once.

import type { Clock } from './clock.ts';
import { KeyTable, ownWord } from './key-table.ts';

export interface AbsencesOptions {
  clock: Clock;
  /** Width of every key, 1..64 bytes. */
  keyBytes: number;
  /** Keys go on with a 64-bit address, given to each method as two words (`lo`, `hi`). Default false. */
  addressed?: boolean;
  entriesMax: number;
  /** Lifetime of a first absence; it doubles each time, up to `lifetimeMaxMs`. */
  lifetimeMs?: number;
  lifetimeMaxMs?: number;
  /** How long after its end the next lifetime of a key is still the longer one. Default `lifetimeMaxMs`. */
  memoryMs?: number;
  /** A lifetime varies by this share both ways, so that keys learned together are not asked together. */
  jitter?: number;
  /** Uniform in [0, 1). */
  random?: () => number;
}

/** Counts since construction: `hits + misses` = calls of `has`; `inserted − evicted − forgotten − cancelled = size`. */
export interface AbsencesMetrics {
  hits: number;
  misses: number;
  inserted: number;
  /** Absences found again after their lifetime. */
  lengthened: number;
  evicted: number;
  /** Met after the memory of their backoff had ended too. */
  forgotten: number;
  cancelled: number;
  /** With those whose lifetime has ended, remembered for their backoff. */
  size: number;
}

// Short enough that what an agent reports is seen within a minute even if its event is lost; long enough that unknown
// executables, which are asked for with every sample, cost one request a minute.
const defaultLifetimeMs = 60_000;
const defaultLifetimeMaxMs = 600_000;
const defaultJitter = 0.1;

const deadlineWord = ownWord;
const stepWord = ownWord + 1;

export class Absences {
  readonly #table: KeyTable;
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  readonly #lifetimeMaxMs: number;
  readonly #memoryTicks: number;
  readonly #jitter: number;
  readonly #random: () => number;
  #hits = 0;
  #misses = 0;
  #inserted = 0;
  #lengthened = 0;
  #evicted = 0;
  #forgotten = 0;
  #cancelled = 0;

  constructor(options: AbsencesOptions) {
    const { clock, keyBytes, addressed, entriesMax } = options;
    this.#table = new KeyTable({ keyBytes, addressed, entriesMax, ownWords: 2 });
    this.#clock = clock;
    this.#lifetimeMs = options.lifetimeMs ?? defaultLifetimeMs;
    this.#lifetimeMaxMs = options.lifetimeMaxMs ?? Math.max(defaultLifetimeMaxMs, this.#lifetimeMs);
    this.#memoryTicks = clock.ticksFor(options.memoryMs ?? this.#lifetimeMaxMs);
    this.#jitter = options.jitter ?? defaultJitter;
    this.#random = options.random ?? Math.random;
    if (!(this.#lifetimeMs > 0 && this.#lifetimeMs <= this.#lifetimeMaxMs)) {
      throw new RangeError(
        `lifetimeMs is ${this.#lifetimeMs}, not above 0 and within ${this.#lifetimeMaxMs}`,
      );
    }
    if (!(this.#jitter >= 0 && this.#jitter < 1))
      throw new RangeError(`jitter is ${this.#jitter}, not within 0 and 1`);
  }

  get size(): number {
    return this.#table.size;
  }

  get memoryBytes(): number {
    return this.#table.memoryBytes;
  }

  /** Whether the key is known to be absent. Asking changes nothing of it. */
  has(key: Uint8Array, offset = 0, lo = 0, hi = 0): boolean {
    const row = this.#table.find(key, offset, lo, hi);
    if (row !== 0 && this.#overdueTicks(row) < 0) {
      this.#hits++;
      return true;
    }
    if (row !== 0 && this.#isForgotten(row)) this.#forget(row);
    this.#misses++;
    return false;
  }

  /**
   * Notes that the key was just found absent, and says for how many milliseconds that holds. An absence still in force
   * keeps its end.
   */
  add(key: Uint8Array, offset = 0, lo = 0, hi = 0): number {
    const table = this.#table;
    let row = table.find(key, offset, lo, hi);
    if (row !== 0 && this.#overdueTicks(row) < 0) return -this.#overdueTicks(row) * this.#clock.tickMs;
    if (row !== 0 && this.#isForgotten(row)) {
      this.#forget(row);
      row = table.find(key, offset, lo, hi);
    }
    if (row === 0) return this.#start(this.#insert(), 0);
    this.#lengthened++;
    // So that what was found absent longest ago leaves first when the table is full.
    table.touch(row);
    return this.#start(row, table.rows[row * table.stride + stepWord]! + 1);
  }

  /** Ends the absence and forgets its backoff: the key is there now. Says whether anything was known of it. */
  cancel(key: Uint8Array, offset = 0, lo = 0, hi = 0): boolean {
    const row = this.#table.find(key, offset, lo, hi);
    if (row === 0) return false;
    this.#cancelled++;
    this.#table.remove(row);
    return true;
  }

  /** Cancels all: what the answers came from may have changed altogether. */
  clear(): void {
    this.#cancelled += this.#table.size;
    this.#table.clear();
  }

  metrics(): AbsencesMetrics {
    return {
      hits: this.#hits,
      misses: this.#misses,
      inserted: this.#inserted,
      lengthened: this.#lengthened,
      evicted: this.#evicted,
      forgotten: this.#forgotten,
      cancelled: this.#cancelled,
      size: this.#table.size,
    };
  }

  #insert(): number {
    const table = this.#table;
    if (table.size === table.entriesMax) {
      this.#evicted++;
      table.remove(table.oldest);
    }
    this.#inserted++;
    return table.insert();
  }

  #start(row: number, step: number): number {
    const { rows, stride } = this.#table;
    const plainMs = Math.min(this.#lifetimeMs * 2 ** step, this.#lifetimeMaxMs);
    const lifetimeMs = plainMs * (1 + this.#jitter * (2 * this.#random() - 1));
    rows[row * stride + deadlineWord] = this.#clock.tick + this.#clock.ticksFor(lifetimeMs);
    rows[row * stride + stepWord] = step;
    return lifetimeMs;
  }

  /** Ticks since the lifetime ended; negative while it runs. */
  #overdueTicks(row: number): number {
    const { rows, stride } = this.#table;
    return (this.#clock.tick - rows[row * stride + deadlineWord]!) | 0;
  }

  #isForgotten(row: number): boolean {
    return this.#overdueTicks(row) >= this.#memoryTicks;
  }

  #forget(row: number): void {
    this.#forgotten++;
    this.#table.remove(row);
  }
}
