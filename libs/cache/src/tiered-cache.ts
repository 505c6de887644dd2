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

/** A value, null for known or found absent, or why it cannot be said. */
export type Loaded<V> = V | null | StoreUnavailable;

export interface TieredCacheOptions<K, V extends NonNullable<unknown>>
  extends Omit<LruOptions<V>, 'addressed'> {
  /** The binary key, `keyBytes` wide; written into `into` if it can be, which is read before the next call. */
  readonly keyOf: (key: K, into: Uint8Array<ArrayBuffer>) => Uint8Array;
  /** Unsigned 64 bit, where entries are kept by key and address. */
  readonly addressOf?: (key: K) => bigint;
  /**
   * Reads the tier behind. Answers in order; what it rejects with is passed on to all who wait for the batch.
   */
  readonly load: (keys: readonly K[]) => Promise<readonly Loaded<V>[]>;
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

/** Where a key is: its bytes, the words of its address, and a hash of both. */
interface Place {
  readonly bytes: Uint8Array;
  readonly lo: number;
  readonly hi: number;
  readonly hash: number;
}

/** A key on its way: its place in a batch. What was loaded for it is there once the batch has landed. */
class Flight<K, V> {
  readonly batch: Batch<K, V>;
  readonly index: number;
  readonly place: Place;
  constructor(batch: Batch<K, V>, index: number, place: Place) {
    this.batch = batch;
    this.index = index;
    this.place = place;
  }
}

/** What one load is for. One promise serves all its keys, since one for each would cost more than the load. */
class Batch<K, V> {
  readonly keys: K[] = [];
  readonly flights: Flight<K, V>[] = [];
  readonly landing = Promise.withResolvers<readonly Loaded<V>[]>();
  values: readonly Loaded<V>[] | undefined;

  constructor() {
    // Who waits is told; that nobody waits any more is no error.
    this.landing.promise.catch(() => undefined);
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
  /** By the hash of the place: of two keys with one hash, one is loaded without company. */
  readonly #flights = new Map<number, Flight<K, V>>();
  readonly #key: Uint8Array<ArrayBuffer>;
  #batch = new Batch<K, V>();
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
    const flights: [index: number, flight: Flight<K, V>][] = [];
    for (const [index, key] of keys.entries()) {
      const found = this.#find(key);
      if (found instanceof Flight) flights.push([index, found]);
      else results[index] = found;
    }
    for (const [index, flight] of flights) {
      const landed = this.#landed(flight, keys[index]!);
      results[index] = landed === undefined ? await this.#arrival(flight, keys[index]!) : landed;
    }
    return results;
  }

  /** What is known of the key may be wrong by now: it is dropped, and no load begun before is kept. */
  invalidate(key: K): void {
    const { bytes, lo, hi, hash } = this.#placeOf(key);
    this.#counts.invalidations++;
    this.#stamps[hash & (stampCount - 1)]!++;
    this.#flights.delete(hash);
    this.#lru.remove(bytes, 0, lo, hi);
    this.#absences?.cancel(bytes, 0, lo, hi);
  }

  /** Everything may be wrong by now. */
  dropAll(): void {
    this.#counts.drops++;
    this.#flights.clear();
    this.#lru.purge();
    this.#absences?.clear();
  }

  metrics(): TieredCacheMetrics {
    return { ...this.#lru.metrics(), ...this.#counts, pending: this.#pending };
  }

  /** The bytes hold until the next call, unless they are copied. */
  #placeOf(key: K): Place {
    const bytes = this.#options.keyOf(key, this.#key);
    const address = this.#options.addressOf?.(key);
    const lo = address === undefined ? 0 : Number(BigInt.asIntN(32, address));
    const hi = address === undefined ? 0 : Number(BigInt.asIntN(32, address >> 32n));
    return { bytes, lo, hi, hash: hashOf(bytes, lo, hi) };
  }

  /** The value itself where it is cached, so that hits wait for nothing; else the flight that brings it. */
  #find(key: K): Loaded<V> | Flight<K, V> {
    const place = this.#placeOf(key);
    const known = this.hit(place.bytes, 0, place.lo, place.hi);
    if (known === undefined) return this.#board(key, place);
    if (known === null || this.#isCurrent(known, key)) return known;
    this.#counts.outdated++;
    this.#lru.remove(place.bytes, 0, place.lo, place.hi);
    return this.#board(key, place);
  }

  #isCurrent(value: V, key: K): boolean {
    return this.#options.isCurrent?.(value, key) ?? true;
  }

  /** Joins the flight of the key, or books a new one in the open batch. */
  #board(key: K, place: Place): Flight<K, V> | StoreUnavailable {
    const flight = this.#flights.get(place.hash);
    if (flight !== undefined && isSame(flight.place, place)) {
      this.#counts.coalesced++;
      return flight;
    }
    if (this.#pending >= this.#pendingMax) {
      this.#counts.overloads++;
      return new StoreUnavailable('overloaded', `${this.#pending} keys are waiting to be loaded`);
    }
    const batch = this.#batch;
    const kept = { ...place, bytes: place.bytes === this.#key ? place.bytes.slice() : place.bytes };
    const booked = new Flight(batch, batch.keys.length, kept);
    this.#flights.set(place.hash, booked);
    this.#pending++;
    batch.keys.push(key);
    batch.flights.push(booked);
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
    this.#batch = new Batch();
    this.#cancelDeparture();
    void this.#fly(batch);
  }

  async #fly(batch: Batch<K, V>): Promise<void> {
    const { keys, flights, landing } = batch;
    const { drops } = this.#counts;
    const stamps = flights.map(({ place }) => this.#stampOf(place));
    this.#counts.loads++;
    this.#counts.loadedKeys += keys.length;
    try {
      const values = await this.#options.load(keys);
      if (values.length !== keys.length)
        throw new RangeError(`${keys.length} keys loaded ${values.length} values`);
      for (const [i, { place }] of flights.entries()) {
        const isFresh = drops === this.#counts.drops && stamps[i] === this.#stampOf(place);
        this.#install(place, values[i]!, isFresh);
      }
      batch.values = values;
      landing.resolve(values);
    } catch (error) {
      this.#counts.failedLoads++;
      landing.reject(error);
    } finally {
      this.#pending -= keys.length;
      for (const flight of flights) this.#leave(flight);
    }
  }

  #install({ bytes, lo, hi }: Place, value: Loaded<V>, isFresh: boolean): void {
    if (value instanceof StoreUnavailable) this.#counts.outages++;
    else if (!isFresh) this.#counts.stalePopulatesRefused++;
    else if (value === null) this.#absences?.add(bytes, 0, lo, hi);
    else {
      this.#absences?.cancel(bytes, 0, lo, hi);
      this.#lru.set(bytes, value, 0, lo, hi);
    }
  }

  /** An invalidation may have let another flight of the same key begin. */
  #leave(flight: Flight<K, V>): void {
    const { hash } = flight.place;
    if (this.#flights.get(hash) === flight) this.#flights.delete(hash);
  }

  #stampOf({ hash }: Place): number {
    return this.#stamps[hash & (stampCount - 1)]!;
  }
}

function isValue<V>(loaded: Loaded<V> | undefined): loaded is V & NonNullable<unknown> {
  return loaded !== undefined && loaded !== null && !(loaded instanceof StoreUnavailable);
}

function isSame(a: Place, b: Place): boolean {
  if (a.lo !== b.lo || a.hi !== b.hi) return false;
  for (let i = 0; i < a.bytes.length; i++) if (a.bytes[i] !== b.bytes[i]) return false;
  return true;
}

/** FNV-1a; who can aim at a hash gains no more than a load that is not shared, or not kept. */
function hashOf(bytes: Uint8Array, lo: number, hi: number): number {
  let hash = 0x811c9dc5 ^ lo ^ Math.imul(hi, 0x9e3779b1);
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash ^ (hash >>> 15);
}
