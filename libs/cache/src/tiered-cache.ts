// A cache of facts over a slower tier. A miss joins the open batch, and a key is loaded once at a time
// however many ask for it.
//
//   hit ─► get ─► flight ─► batch ─► load ─► install, if nothing was invalidated since the load began
//
// What was loaded is installed only then, because an invalidation says that a load begun before it may have
// read the old value: 4,096 stamps, one for each hash of a key, are bumped by invalidations and compared.
// Such a flight also takes no more passengers: who asks after an invalidation gets what a load begun after it
// brings. An outage is passed on, never kept, and what is cached is served throughout.
import type { Absences } from './absences.ts';
import { Lru, type LruMetrics, type LruOptions } from './lru.ts';
import { StoreUnavailable } from './store.ts';

/** Keys of one load, unless told otherwise: one command's worth, far above what one request brings. */
const batchMaxDefault = 1_000;
/** Keys waiting or being loaded: beyond, memory would grow with an outage, so the asker is told at once. */
const pendingMaxDefault = 65_536;
/** A power of two. An invalidation makes each load of another key with its stamp run again: one in 4,096. */
const stampCount = 4_096;
/** Of the table of flights; a power of two. */
const bucketCount = 4_096;

/** A value, null for known or found absent, or why it cannot be said. */
export type Loaded<V> = V | null | StoreUnavailable;

export interface TieredCacheOptions<K, V extends NonNullable<unknown>>
  extends Omit<LruOptions<V>, 'addressed'> {
  /** The binary key, `keyBytes` wide; written into `into` if it can be, which is read before the next call. */
  readonly keyOf: (key: K, into: Uint8Array<ArrayBuffer>) => Uint8Array;
  /** Unsigned 64 bit, where entries are kept by key and address. */
  readonly addressOf?: (key: K) => bigint;
  /**
   * Reads the tier behind; `bytes` are the binary keys, one after another. Answers in order; what it rejects with is
   * passed on to all who wait for the batch.
   */
  readonly load: (keys: readonly K[], bytes: Uint8Array) => Promise<readonly Loaded<V>[]>;
  /** Whether an entry is still true for this key, which may name a newer generation; if not, it is a miss. */
  readonly isCurrent?: (value: V, key: K) => boolean;
  /** Where absences are kept; without it each absence is loaded again. */
  readonly absences?: Absences;
  readonly batchMax?: number;
  /** How long a batch stays open; 0: until the asking code pauses. */
  readonly batchMs?: number;
  readonly pendingMax?: number;
}

/**
 * Counts since construction, and those of the entries; an entry of an old generation counts as a hit and as
 * `outdated`.
 */
export type TieredCacheMetrics = { readonly [name in keyof LruMetrics]: number } & {
  readonly loads: number;
  readonly loadedKeys: number;
  /** Asked for while a load of the same key was under way. */
  readonly coalesced: number;
  readonly outages: number;
  readonly failedLoads: number;
  readonly invalidations: number;
  readonly drops: number;
  readonly stalePopulatesRefused: number;
  readonly outdated: number;
  readonly overloads: number;
  /** Keys that wait for a load or are being loaded. */
  readonly pending: number;
};

/** A key on its way: its place in a batch. What was loaded for it is there once the batch has landed. */
class Flight<K, V> {
  readonly batch: Batch<K, V>;
  readonly index: number;
  /** Another, older one in the same bucket. */
  next: Flight<K, V> | undefined;
  constructor(batch: Batch<K, V>, index: number) {
    this.batch = batch;
    this.index = index;
    this.next = undefined;
  }
}

/** Keys that the bytes of a batch are first made for. */
const batchKeysFirst = 16;

/**
 * What one load is for. One promise serves all its keys, and what is known of them stands in columns: an object and
 * a promise for each would cost more than the load.
 */
class Batch<K, V> {
  readonly keys: K[] = [];
  readonly flights: Flight<K, V>[] = [];
  /** The binary keys, one after another. */
  bytes: Uint8Array<ArrayBuffer>;
  /** The words of the addresses, and a hash of both. */
  readonly lo: number[] = [];
  readonly hi: number[] = [];
  readonly hashes: number[] = [];
  readonly landing = Promise.withResolvers<readonly Loaded<V>[]>();
  values: readonly Loaded<V>[] | undefined;

  constructor(keyBytes: number) {
    this.bytes = new Uint8Array(keyBytes * batchKeysFirst);
    // Who waits is told; that nobody waits any more is no error.
    this.landing.promise.catch(() => undefined);
  }

  add(key: K, bytes: Uint8Array, lo: number, hi: number, hash: number): Flight<K, V> {
    const flight = new Flight(this, this.keys.length);
    const at = flight.index * bytes.length;
    if (at === this.bytes.length) {
      const grown = new Uint8Array(2 * at);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(bytes, at);
    this.keys.push(key);
    this.flights.push(flight);
    this.lo.push(lo);
    this.hi.push(hi);
    this.hashes.push(hash);
    return flight;
  }

  isAt(index: number, bytes: Uint8Array, lo: number, hi: number): boolean {
    if (this.lo[index] !== lo || this.hi[index] !== hi) return false;
    const at = index * bytes.length;
    for (let i = 0; i < bytes.length; i++) if (this.bytes[at + i] !== bytes[i]) return false;
    return true;
  }
}

export class TieredCache<K, V extends NonNullable<unknown>> {
  readonly #options: TieredCacheOptions<K, V>;
  readonly #lru: Lru<V>;
  readonly #absences: Absences | undefined;
  readonly #batchMax: number;
  readonly #batchMs: number;
  readonly #pendingMax: number;
  readonly #stamps = new Uint32Array(stampCount);
  /**
   * By hash. No Map: as keys come and go it makes ever new tables, of which each dead one that has grown old keeps the
   * next alive, and with it all that was loaded since the last full collection.
   */
  readonly #flights = new Array<Flight<K, V> | undefined>(bucketCount).fill(undefined);
  readonly #key: Uint8Array<ArrayBuffer>;
  /** Where the key located last is: its bytes, the words of its address, and a hash of both. */
  #bytes: Uint8Array;
  #lo = 0;
  #hi = 0;
  #hash = 0;
  #locations = 0;
  #batch: Batch<K, V>;
  #cancelDeparture: () => void = () => undefined;
  #pending = 0;
  readonly #counts = {
    loads: 0,
    loadedKeys: 0,
    coalesced: 0,
    outages: 0,
    failedLoads: 0,
    invalidations: 0,
    drops: 0,
    stalePopulatesRefused: 0,
    outdated: 0,
    overloads: 0,
  };

  constructor(options: TieredCacheOptions<K, V>) {
    this.#options = options;
    this.#lru = new Lru({ ...options, addressed: options.addressOf !== undefined });
    this.#absences = options.absences;
    this.#batchMax = options.batchMax ?? batchMaxDefault;
    this.#batchMs = options.batchMs ?? 0;
    this.#pendingMax = options.pendingMax ?? pendingMaxDefault;
    this.#key = new Uint8Array(options.keyBytes);
    this.#bytes = this.#key;
    this.#batch = new Batch(options.keyBytes);
  }

  /**
   * What is cached under the key at `offset`: a value, null for a known absence, undefined for a miss.
   * Allocates nothing. The generation of the value is the caller's to compare.
   */
  hit(bytes: Uint8Array, offset = 0, lo = 0, hi = 0): V | null | undefined {
    const value = this.#lru.get(bytes, offset, lo, hi);
    if (value !== undefined) return value;
    return this.#absences?.has(bytes, offset, lo, hi) ? null : undefined;
  }

  async get(key: K): Promise<Loaded<V>> {
    const found = this.#find(key);
    return found instanceof Flight ? this.#arrival(found, key) : found;
  }

  /** Results in order; all misses go into one load, each key once. */
  async getMany(keys: readonly K[]): Promise<Loaded<V>[]> {
    const results = new Array<Loaded<V>>(keys.length).fill(null);
    const flights: Flight<K, V>[] = [];
    const missed: number[] = [];
    for (let index = 0; index < keys.length; index++) {
      const found = this.#find(keys[index]!);
      if (found instanceof Flight) {
        flights.push(found);
        missed.push(index);
      } else results[index] = found;
    }
    for (let n = 0; n < flights.length; n++) {
      const index = missed[n]!;
      const landed = this.#landed(flights[n]!, keys[index]!);
      results[index] = landed === undefined ? await this.#arrival(flights[n]!, keys[index]!) : landed;
    }
    return results;
  }

  /**
   * Keeps what was read otherwise than by `load`, as with another key or by an earlier run. That nothing was invalidated
   * since it was read is for the caller to see to.
   */
  put(key: K, value: V): void {
    this.#locate(key);
    this.#absences?.cancel(this.#bytes, 0, this.#lo, this.#hi);
    this.#lru.set(this.#bytes, value, 0, this.#lo, this.#hi);
  }

  /** What is cached, the value unused for longest first: a copy. Uses nothing. */
  values(): V[] {
    return this.#lru.values();
  }

  /** What is known of the key may be wrong by now: it is dropped, and no load begun before is kept. */
  invalidate(key: K): void {
    this.#locate(key);
    this.#counts.invalidations++;
    this.#stamps[this.#hash & (stampCount - 1)]!++;
    const flight = this.#flight();
    if (flight !== undefined) this.#leave(flight);
    this.#absences?.cancel(this.#bytes, 0, this.#lo, this.#hi);
    this.#lru.remove(this.#bytes, 0, this.#lo, this.#hi);
  }

  /** Everything may be wrong by now. */
  dropAll(): void {
    this.#counts.drops++;
    this.#flights.fill(undefined);
    this.#lru.purge();
    this.#absences?.clear();
  }

  metrics(): TieredCacheMetrics {
    return { ...this.#lru.metrics(), ...this.#counts, pending: this.#pending };
  }

  /** Holds until the next key is located. Returns a number of its own. */
  #locate(key: K): number {
    this.#bytes = this.#options.keyOf(key, this.#key);
    const address = this.#options.addressOf?.(key);
    this.#lo = address === undefined ? 0 : Number(BigInt.asIntN(32, address));
    this.#hi = address === undefined ? 0 : Number(BigInt.asIntN(32, address >> 32n));
    this.#hash = hashOf(this.#bytes, this.#lo, this.#hi);
    return ++this.#locations;
  }

  /** The value itself where it is cached, so that hits wait for nothing; else the flight that brings it. */
  #find(key: K): Loaded<V> | Flight<K, V> {
    const location = this.#locate(key);
    const known = this.hit(this.#bytes, 0, this.#lo, this.#hi);
    if (known === null) return known;
    if (known !== undefined) {
      if (this.#isCurrent(known, key)) return known;
      this.#counts.outdated++;
      this.#lru.remove(this.#bytes, 0, this.#lo, this.#hi);
    }
    // What left the cache meanwhile may have told somebody who located another key.
    if (location !== this.#locations) this.#locate(key);
    return this.#board(key);
  }

  #isCurrent(value: V, key: K): boolean {
    return this.#options.isCurrent?.(value, key) ?? true;
  }

  /** Joins the flight of the key, which was located last, or books a new one in the open batch. */
  #board(key: K): Flight<K, V> | StoreUnavailable {
    const flight = this.#flight();
    if (flight !== undefined) {
      this.#counts.coalesced++;
      return flight;
    }
    if (this.#pending >= this.#pendingMax) {
      this.#counts.overloads++;
      return new StoreUnavailable('overloaded', `${this.#pending} keys are waiting to be loaded`);
    }
    const batch = this.#batch;
    const booked = batch.add(key, this.#bytes, this.#lo, this.#hi, this.#hash);
    booked.next = this.#flights[this.#hash & (bucketCount - 1)];
    this.#flights[this.#hash & (bucketCount - 1)] = booked;
    this.#pending++;
    if (batch.keys.length >= this.#batchMax) this.#depart();
    else if (batch.keys.length === 1) this.#scheduleDeparture();
    return booked;
  }

  async #arrival(flight: Flight<K, V>, key: K): Promise<Loaded<V>> {
    await flight.batch.landing.promise;
    const landed = this.#landed(flight, key);
    return landed === undefined ? this.get(key) : landed;
  }

  /** What a flight brought; undefined if it is under way, or was booked for an older generation than this key's. */
  #landed({ batch, index }: Flight<K, V>, key: K): Loaded<V> | undefined {
    const value = batch.values?.[index];
    const isOwn = batch.keys[index] === key;
    if (isOwn || !isValue(value) || this.#isCurrent(value, key)) return value;
    return undefined;
  }

  #scheduleDeparture(): void {
    const batch = this.#batch;
    const depart = (): void => {
      if (this.#batch === batch) this.#depart();
    };
    if (this.#batchMs > 0) this.#cancelDeparture = this.#options.clock.setTimer(this.#batchMs, depart);
    else queueMicrotask(depart);
  }

  #depart(): void {
    const batch = this.#batch;
    this.#batch = new Batch(this.#options.keyBytes);
    this.#cancelDeparture();
    void this.#fly(batch);
  }

  async #fly(batch: Batch<K, V>): Promise<void> {
    const { keys, hashes, landing } = batch;
    const { drops } = this.#counts;
    const stamps = hashes.map((hash) => this.#stampOf(hash));
    this.#counts.loads++;
    this.#counts.loadedKeys += keys.length;
    try {
      const { keyBytes } = this.#options;
      const values = await this.#options.load(keys, batch.bytes.subarray(0, keys.length * keyBytes));
      if (values.length !== keys.length)
        throw new RangeError(`${keys.length} keys loaded ${values.length} values`);
      for (let i = 0; i < keys.length; i++) {
        const isFresh = drops === this.#counts.drops && stamps[i] === this.#stampOf(hashes[i]!);
        this.#install(batch, i, values[i]!, isFresh);
      }
      batch.values = values;
      landing.resolve(values);
    } catch (error) {
      this.#counts.failedLoads++;
      landing.reject(error);
    } finally {
      this.#pending -= keys.length;
      for (let i = 0; i < keys.length; i++) this.#leave(batch.flights[i]!);
    }
  }

  #install(batch: Batch<K, V>, index: number, value: Loaded<V>, isFresh: boolean): void {
    const at = index * this.#options.keyBytes;
    const lo = batch.lo[index]!;
    const hi = batch.hi[index]!;
    if (value instanceof StoreUnavailable) this.#counts.outages++;
    else if (!isFresh) this.#counts.stalePopulatesRefused++;
    else if (value === null) this.#absences?.add(batch.bytes, at, lo, hi);
    else {
      this.#absences?.cancel(batch.bytes, at, lo, hi);
      this.#lru.set(batch.bytes, value, at, lo, hi);
    }
  }

  /** The flight of the key located last. */
  #flight(): Flight<K, V> | undefined {
    let flight = this.#flights[this.#hash & (bucketCount - 1)];
    while (flight !== undefined && !flight.batch.isAt(flight.index, this.#bytes, this.#lo, this.#hi)) {
      flight = flight.next;
    }
    return flight;
  }

  /** Takes no more passengers, if it did: an invalidation may have let another flight of the same key begin. */
  #leave(flight: Flight<K, V>): void {
    const bucket = flight.batch.hashes[flight.index]! & (bucketCount - 1);
    let newer: Flight<K, V> | undefined;
    let at = this.#flights[bucket];
    while (at !== undefined && at !== flight) {
      newer = at;
      at = at.next;
    }
    if (at === undefined) return;
    if (newer === undefined) this.#flights[bucket] = flight.next;
    else newer.next = flight.next;
    flight.next = undefined;
  }

  #stampOf(hash: number): number {
    return this.#stamps[hash & (stampCount - 1)]!;
  }
}

function isValue<V>(loaded: Loaded<V> | undefined): loaded is V & NonNullable<unknown> {
  return loaded !== undefined && loaded !== null && !(loaded instanceof StoreUnavailable);
}

/** FNV-1a; who can aim at a hash gains no more than a load that is not shared, or not kept. */
function hashOf(bytes: Uint8Array, lo: number, hi: number): number {
  let hash = 0x811c9dc5 ^ lo ^ Math.imul(hi, 0x9e3779b1);
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash ^ (hash >>> 15);
}
