// One of several processes does a thing at a time: a lease in the store, taken and renewed by compare-and-set, over when its
// time is. Whoever's lease ran out may still be at work for a moment, so what it guards must bear being done twice.
import { randomBytes } from 'node:crypto';
import { type Store, type StoreKey, StoreUnavailable } from '@symkeep/cache';
import { decode, encode } from '@symkeep/protocol';

interface Held {
  readonly holder: string;
  /** Unix milliseconds by the store's clock. */
  readonly until: number;
}

export class Lease {
  readonly #store: Store;
  readonly #at: StoreKey;
  readonly #ms: number;
  readonly #holder = randomBytes(12).toString('base64url');

  /** `name` is one per thing; leases are in the first shard. */
  constructor(store: Store, name: string, ms: number) {
    this.#store = store;
    this.#at = { shard: 0, key: `lease:${name}` };
    this.#ms = ms;
  }

  /** Takes it, or renews what is ours. False while another holds it, or the store is away. */
  async take(): Promise<boolean> {
    const [now, [read]] = await Promise.all([this.#store.now(), this.#store.get([this.#at])]);
    if (now instanceof StoreUnavailable || read instanceof StoreUnavailable) return false;
    const expected = read == null ? null : new Uint8Array(read);
    const held = expected === null ? null : (decode(expected, 'msgpack') as Held);
    if (held !== null && held.holder !== this.#holder && held.until > now) return false;
    return this.#swap(expected, { holder: this.#holder, until: now + this.#ms });
  }

  /** Lets the next one have it at once. */
  async release(): Promise<void> {
    const [read] = await this.#store.get([this.#at]);
    if (read == null || read instanceof StoreUnavailable) return;
    const expected = new Uint8Array(read);
    const held = decode(expected, 'msgpack') as Held;
    if (held.holder === this.#holder) await this.#swap(expected, { ...held, until: 0 });
  }

  async #swap(expected: Uint8Array | null, held: Held): Promise<boolean> {
    const [outcome] = await this.#store.swap([{ at: this.#at, expected, value: encode(held, 'msgpack') }]);
    return !(outcome instanceof StoreUnavailable) && outcome!.swapped;
  }
}
