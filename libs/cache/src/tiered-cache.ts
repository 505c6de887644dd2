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
  /** The binary key, `keyBytes` wide. */
  readonly keyOf: (key: K) => Uint8Array;
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

/** Where a key is: its bytes, and the words of its address. */
interface Place {
  readonly bytes: Uint8Array;
  readonly lo: number;
  readonly hi: number;
}

interface Flight<K, V> extends Place {
  readonly key: K;
  readonly id: string;
  readonly landing: PromiseWithResolvers<Loaded<V>>;
}

export class TieredCache<K, V extends NonNullable<unknown>> {
  readonly #options: TieredCacheOptions<K, V>;
  readonly #lru: Lru<V>;
  readonly #absences: Absences | undefined;
  readonly #batchMax: number;
  readonly #batchMs: number;
  readonly #pendingMax: number;
  readonly #stamps = new Uint32Array(stampCount);
  readonly #flights = new Map<string, Flight<K, V>>();
  #batch: Flight<K, V>[] = [];
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
    return this.#find(key);
  }

  /** Results in order; all misses go into one load, each key once. */
  async getMany(keys: readonly K[]): Promise<Loaded<V>[]> {
    return Promise.all(keys.map((key) => this.#find(key)));
  }

  /** What is known of the key may be wrong by now: it is dropped, and no load begun before is kept. */
  invalidate(key: K): void {
    const { bytes, lo, hi } = this.#placeOf(key);
    this.#counts.invalidations++;
    this.#stamps[stampOf(bytes, lo, hi)]!++;
    this.#flights.delete(idOf(bytes, lo, hi));
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

  #placeOf(key: K): Place {
    const bytes = this.#options.keyOf(key);
    const address = this.#options.addressOf?.(key);
    if (address === undefined) return { bytes, lo: 0, hi: 0 };
    return { bytes, lo: Number(BigInt.asIntN(32, address)), hi: Number(BigInt.asIntN(32, address >> 32n)) };
  }

  /** The value itself where it is cached, so that hits wait for nothing. */
  #find(key: K): Loaded<V> | Promise<Loaded<V>> {
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
  #board(key: K, place: Place): Promise<Loaded<V>> | StoreUnavailable {
    const id = idOf(place.bytes, place.lo, place.hi);
    const flight = this.#flights.get(id);
    if (flight !== undefined) return this.#join(flight, key);
    if (this.#pending >= this.#pendingMax) {
      this.#counts.overloads++;
      return new StoreUnavailable('overloaded', `${this.#pending} keys are waiting to be loaded`);
    }
    const booked = { ...place, key, id, landing: Promise.withResolvers<Loaded<V>>() };
    this.#flights.set(id, booked);
    this.#pending++;
    this.#batch.push(booked);
    if (this.#batch.length >= this.#batchMax) this.#depart();
    else if (this.#batch.length === 1) this.#scheduleDeparture();
    return booked.landing.promise;
  }

  /** A flight booked for an older generation may bring what is out of date for this key. */
  async #join(flight: Flight<K, V>, key: K): Promise<Loaded<V>> {
    this.#counts.coalesced++;
    const value = await flight.landing.promise;
    if (value === null || value instanceof StoreUnavailable || this.#isCurrent(value, key)) return value;
    return this.#find(key);
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
    this.#batch = [];
    this.#cancelDeparture();
    void this.#fly(batch);
  }

  async #fly(batch: readonly Flight<K, V>[]): Promise<void> {
    const { drops } = this.#counts;
    const stamps = batch.map(({ bytes, lo, hi }) => this.#stamps[stampOf(bytes, lo, hi)]!);
    this.#counts.loads++;
    this.#counts.loadedKeys += batch.length;
    try {
      const values = await this.#options.load(batch.map(({ key }) => key));
      if (values.length !== batch.length)
        throw new RangeError(`${batch.length} keys loaded ${values.length} values`);
      for (const [i, flight] of batch.entries()) {
        const { bytes, lo, hi } = flight;
        const isFresh = drops === this.#counts.drops && stamps[i] === this.#stamps[stampOf(bytes, lo, hi)];
        this.#land(flight, values[i]!, isFresh);
      }
    } catch (error) {
      this.#counts.failedLoads++;
      for (const flight of batch) {
        this.#leave(flight);
        flight.landing.reject(error);
      }
    } finally {
      this.#pending -= batch.length;
    }
  }

  #land(flight: Flight<K, V>, value: Loaded<V>, isFresh: boolean): void {
    const { bytes, lo, hi } = flight;
    this.#leave(flight);
    if (value instanceof StoreUnavailable) this.#counts.outages++;
    else if (!isFresh) this.#counts.stalePopulatesRefused++;
    else if (value === null) this.#absences?.add(bytes, 0, lo, hi);
    else {
      this.#absences?.cancel(bytes, 0, lo, hi);
      this.#lru.set(bytes, value, 0, lo, hi);
    }
    flight.landing.resolve(value);
  }

  /** An invalidation may have let another flight of the same key begin. */
  #leave(flight: Flight<K, V>): void {
    if (this.#flights.get(flight.id) === flight) this.#flights.delete(flight.id);
  }
}

function idOf(bytes: Uint8Array, lo: number, hi: number): string {
  return `${lo} ${hi} ${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')}`;
}

/** FNV-1a; who can aim at a stamp gains no more than a load that is not kept. */
function stampOf(bytes: Uint8Array, lo: number, hi: number): number {
  let hash = 0x811c9dc5 ^ lo ^ Math.imul(hi, 0x9e3779b1);
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return (hash ^ (hash >>> 15)) & (stampCount - 1);
}
