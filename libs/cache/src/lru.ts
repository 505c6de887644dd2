// A cache of bounded, fixed memory for facts: used entries stay, the least recently used leave. Every read that
// promotes an entry also renews its idle lifetime, so the order of use is the order of expiry; an entry that has
// expired is a miss and never comes back.

import type { Clock } from './clock.ts';
import { KeyTable, ownWord, requireInteger } from './key-table.ts';

/**
 * Why an entry left: the bound was reached; unused for the idle lifetime; by `remove`, `removeOldest`, `purge`, or a
 * refused replacement; or another value was set for its key (the entry stays, the old value leaves).
 */
export type EvictReason = 'capacity' | 'idle' | 'removed' | 'replaced';

export interface LruOptions<V> {
  clock: Clock;
  /** Width of every key, 1..64 bytes; IDs of several lengths are brought to one by whoever makes the keys. */
  keyBytes: number;
  /** Keys go on with a 64-bit address, given to each method as two words (`lo`, `hi`). Default false. */
  addressed?: boolean;
  /** Most entries; with `weightMax` alone, one for each KiB of it. */
  entriesMax?: number;
  /** Most weight of all values together, in bytes; needs `weigh`. */
  weightMax?: number;
  /** Bytes of a value, asked once when it is set. */
  weigh?: (value: V) => number;
  /** An entry unused for so long is a miss. Default: no lifetime. */
  idleMs?: number;
  /**
   * Told of every value that leaves, after the cache is in order again, so it may call any method; what such calls make
   * leave is told afterwards, in turn. `key` is a copy; the address of an addressed cache follows as 8 bytes, little-endian.
   */
  onEvict?: (value: V, reason: EvictReason, key: Uint8Array) => void;
  /** Fills the secret of the hash; for tests. */
  random?: (words: Int32Array) => unknown;
}

/** Counts since construction: `hits + misses` = gets; `inserted − evicted − expired − removed = size`. */
export interface LruMetrics {
  hits: number;
  misses: number;
  inserted: number;
  /** Inserted into a bucket that held another key. */
  collisions: number;
  /** Values set for a key that was there. */
  updated: number;
  /** Left by the bound. */
  evicted: number;
  expired: number;
  removed: number;
  /** Values heavier than the whole bound. */
  refused: number;
  /** Entries, with those that have expired and were not met since. */
  size: number;
  weight: number;
  /** Since the last use of the entry that would leave next, in milliseconds; 0 when empty. */
  oldestAgeMs: number;
}

// Where only a weight is bounded: what is bounded so are pages of a few KiB and more.
const weightPerRow = 1024;
// A row keeps the weight of its value in one word.
const valueWeightMax = 2 ** 31 - 1;
const tickWord = ownWord;
const weightWord = ownWord + 1;

interface Departure<V> {
  readonly value: V;
  readonly reason: EvictReason;
  readonly key: Uint8Array;
}

/** `V` is anything but `undefined`, which says that there is none. */
export class Lru<V extends NonNullable<unknown> | null> {
  readonly #table: KeyTable;
  readonly #values: (V | undefined)[];
  readonly #clock: Clock;
  /** 0: no lifetime. */
  readonly #idleTicks: number;
  readonly #weigh: ((value: V) => number) | undefined;
  readonly #weightMax: number;
  readonly #onEvict: LruOptions<V>['onEvict'];
  readonly #departures: Departure<V>[] = [];
  #delivering = false;
  #weight = 0;
  #hits = 0;
  #misses = 0;
  #inserted = 0;
  #updated = 0;
  #evicted = 0;
  #expired = 0;
  #removed = 0;
  #refused = 0;

  constructor(options: LruOptions<V>) {
    const { clock, weightMax, weigh, idleMs } = options;
    if (weightMax !== undefined) requireInteger('weightMax', weightMax, 1, Number.MAX_SAFE_INTEGER);
    if ((weightMax === undefined) !== (weigh === undefined)) {
      throw new RangeError('weightMax and weigh are given together or not at all');
    }
    if (idleMs !== undefined && !(idleMs > 0)) throw new RangeError(`idleMs is ${idleMs}, not above 0`);
    const entriesMax =
      options.entriesMax ?? (weightMax === undefined ? 0 : Math.ceil(weightMax / weightPerRow));
    this.#table = new KeyTable({
      keyBytes: options.keyBytes,
      addressed: options.addressed,
      entriesMax,
      ownWords: weigh === undefined ? 1 : 2,
      random: options.random,
    });
    this.#values = new Array<V | undefined>(entriesMax + 1).fill(undefined);
    this.#clock = clock;
    this.#idleTicks = idleMs === undefined ? 0 : Math.max(1, clock.ticksFor(idleMs));
    this.#weigh = weigh;
    this.#weightMax = weightMax ?? 0;
    this.#onEvict = options.onEvict;
  }

  /** Entries, with those that have expired and were not met since. */
  get size(): number {
    return this.#table.size;
  }

  /** Weight of all values, in bytes; 0 in a cache that does not weigh. */
  get weight(): number {
    return this.#weight;
  }

  /** Memory of the cache itself, without its values: fixed at construction. */
  get memoryBytes(): number {
    return this.#table.memoryBytes + 8 * this.#values.length;
  }

  /** The value of the key at `offset` of `key`; it becomes the newest entry and its lifetime starts anew. */
  get(key: Uint8Array, offset = 0, lo = 0, hi = 0): V | undefined {
    const table = this.#table;
    const row = table.find(key, offset, lo, hi);
    if (row === 0) {
      this.#misses++;
      return undefined;
    }
    const { rows } = table;
    const at = row * table.stride + tickWord;
    const { tick } = this.#clock;
    if (this.#idleTicks !== 0 && ((tick - rows[at]!) | 0) >= this.#idleTicks) return this.#missExpired(row);
    rows[at] = tick;
    table.touch(row);
    this.#hits++;
    return this.#values[row];
  }

  /** The value, if any, without any effect on recency, lifetime and metrics of use. */
  peek(key: Uint8Array, offset = 0, lo = 0, hi = 0): V | undefined {
    const row = this.#table.find(key, offset, lo, hi);
    if (row === 0) return undefined;
    if (!this.#isExpired(row)) return this.#values[row];
    this.#expire(row);
    this.#deliver();
    return undefined;
  }

  /** Whether the key is there; like `peek`, without effect. */
  has(key: Uint8Array, offset = 0, lo = 0, hi = 0): boolean {
    return this.peek(key, offset, lo, hi) !== undefined;
  }

  /**
   * Sets the value as the newest entry, and says whether live entries had to leave for it. A value heavier than the whole
   * bound is refused and counted, and what was there for its key leaves: it is out of date.
   */
  set(key: Uint8Array, value: V, offset = 0, lo = 0, hi = 0): boolean {
    const weight = this.#weigh === undefined ? 0 : this.#weighed(value);
    const table = this.#table;
    let row = table.find(key, offset, lo, hi);
    if (row !== 0 && this.#isExpired(row)) {
      this.#expire(row);
      row = table.find(key, offset, lo, hi);
    }
    const evictedBefore = this.#evicted;
    if (weight > Math.min(this.#weightMax, valueWeightMax)) this.#refuse(row);
    else if (row !== 0) this.#replace(row, value, weight);
    else this.#insert(value, weight);
    const hasEvicted = this.#evicted !== evictedBefore;
    this.#deliver();
    return hasEvicted;
  }

  /** Removes the entry, expired or not, and says whether there was one. */
  remove(key: Uint8Array, offset = 0, lo = 0, hi = 0): boolean {
    const row = this.#table.find(key, offset, lo, hi);
    if (row === 0) return false;
    this.#removed++;
    this.#leave(row, 'removed');
    this.#deliver();
    return true;
  }

  /** Removes the entry unused for longest, expired or not. */
  removeOldest(): [key: Uint8Array, value: V] | undefined {
    const row = this.#table.oldest;
    if (row === 0) return undefined;
    const entry = this.#entryAt(row);
    this.#removed++;
    this.#leave(row, 'removed');
    this.#deliver();
    return entry;
  }

  /** The live entry unused for longest; expired ones are removed on the way. Changes no recency. */
  oldest(): [key: Uint8Array, value: V] | undefined {
    this.purgeExpired();
    const row = this.#table.oldest;
    return row === 0 ? undefined : this.#entryAt(row);
  }

  /** Copies of the live keys, oldest first. */
  keys(): Uint8Array[] {
    return this.#mapLive((row) => this.#table.keyAt(row));
  }

  /** The live values, oldest first. */
  values(): V[] {
    return this.#mapLive((row) => this.#valueAt(row));
  }

  /** The live entries, oldest first: a copy, so the cache may change meanwhile. */
  entries(): [key: Uint8Array, value: V][] {
    return this.#mapLive((row) => this.#entryAt(row));
  }

  /** Removes everything; each value is told as removed. Metrics go on. */
  purge(): void {
    const table = this.#table;
    if (this.#onEvict !== undefined) {
      for (let row = table.oldest; row !== 0; row = table.newerThan(row)) this.#noteDeparture(row, 'removed');
    }
    this.#removed += table.size;
    table.clear();
    this.#values.fill(undefined);
    this.#weight = 0;
    this.#deliver();
  }

  /** Removes expired entries, at most `limit` in one go, and says how many. */
  purgeExpired(limit = Number.POSITIVE_INFINITY): number {
    let count = 0;
    for (let row = this.#table.oldest; count < limit && row !== 0 && this.#isExpired(row); count++) {
      this.#expire(row);
      row = this.#table.oldest;
    }
    this.#deliver();
    return count;
  }

  metrics(): LruMetrics {
    const { rows, stride, oldest, size, collisions } = this.#table;
    const ageTicks = oldest === 0 ? 0 : (this.#clock.tick - rows[oldest * stride + tickWord]!) | 0;
    return {
      hits: this.#hits,
      misses: this.#misses,
      inserted: this.#inserted,
      collisions,
      updated: this.#updated,
      evicted: this.#evicted,
      expired: this.#expired,
      removed: this.#removed,
      refused: this.#refused,
      size,
      weight: this.#weight,
      oldestAgeMs: ageTicks * this.#clock.tickMs,
    };
  }

  /** Most rows compared to look this key up: one or two, unless someone has learned the secret of the hash. */
  probes(key: Uint8Array, offset = 0, lo = 0, hi = 0): number {
    return this.#table.probes(key, offset, lo, hi);
  }

  #insert(value: V, weight: number): void {
    this.#makeRoom(weight, this.#table.entriesMax - 1);
    const row = this.#table.insert();
    this.#values[row] = value;
    this.#inserted++;
    this.#stamp(row, weight);
  }

  #replace(row: number, value: V, weight: number): void {
    if (this.#onEvict !== undefined) this.#noteDeparture(row, 'replaced');
    this.#weight -= this.#weightAt(row);
    this.#table.touch(row);
    this.#values[row] = value;
    this.#updated++;
    this.#stamp(row, weight);
    // The row itself is the newest, and no heavier than the bound: it is never among those that leave.
    this.#makeRoom(0, this.#table.entriesMax);
  }

  #refuse(row: number): void {
    this.#refused++;
    if (row === 0) return;
    this.#removed++;
    this.#leave(row, 'removed');
  }

  #stamp(row: number, weight: number): void {
    const { rows, stride } = this.#table;
    rows[row * stride + tickWord] = this.#clock.tick;
    if (this.#weigh === undefined) return;
    rows[row * stride + weightWord] = weight;
    this.#weight += weight;
  }

  #makeRoom(weight: number, entriesMax: number): void {
    const table = this.#table;
    while (table.size > entriesMax || this.#weight + weight > this.#weightMax) {
      const row = table.oldest;
      if (this.#isExpired(row)) this.#expire(row);
      else {
        this.#evicted++;
        this.#leave(row, 'capacity');
      }
    }
  }

  #missExpired(row: number): undefined {
    this.#misses++;
    this.#expire(row);
    this.#deliver();
  }

  #expire(row: number): void {
    this.#expired++;
    this.#leave(row, 'idle');
  }

  #isExpired(row: number): boolean {
    if (this.#idleTicks === 0) return false;
    const { rows, stride } = this.#table;
    return ((this.#clock.tick - rows[row * stride + tickWord]!) | 0) >= this.#idleTicks;
  }

  #leave(row: number, reason: EvictReason): void {
    if (this.#onEvict !== undefined) this.#noteDeparture(row, reason);
    this.#weight -= this.#weightAt(row);
    this.#values[row] = undefined;
    this.#table.remove(row);
  }

  #noteDeparture(row: number, reason: EvictReason): void {
    this.#departures.push({ value: this.#valueAt(row), reason, key: this.#table.keyAt(row) });
  }

  /** Called last by every method that makes values leave: the callback sees, and may change, a cache in order. */
  #deliver(): void {
    const departures = this.#departures;
    if (this.#delivering || departures.length === 0) return;
    this.#delivering = true;
    const errors: unknown[] = [];
    for (let i = 0; i < departures.length; i++) {
      const { value, reason, key } = departures[i]!;
      try {
        this.#onEvict?.(value, reason, key);
      } catch (error) {
        errors.push(error);
      }
    }
    departures.length = 0;
    this.#delivering = false;
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} eviction callbacks failed`);
  }

  #weighed(value: V): number {
    const weight = this.#weigh?.(value) ?? 0;
    requireInteger('the weight of a value', weight, 0, Number.MAX_SAFE_INTEGER);
    return weight;
  }

  #weightAt(row: number): number {
    if (this.#weigh === undefined) return 0;
    const { rows, stride } = this.#table;
    return rows[row * stride + weightWord]!;
  }

  #valueAt(row: number): V {
    return this.#values[row] as V;
  }

  #entryAt(row: number): [Uint8Array, V] {
    return [this.#table.keyAt(row), this.#valueAt(row)];
  }

  #mapLive<T>(read: (row: number) => T): T[] {
    const table = this.#table;
    const live: T[] = [];
    for (let row = table.oldest; row !== 0; row = table.newerThan(row)) {
      if (!this.#isExpired(row)) live.push(read(row));
    }
    return live;
  }
}
