// Whether an empty store is being filled again. Meanwhile what is not there is no absence: it may be on its way, so it is
// answered as unavailable. The flag ends by itself when who raised it is gone.
import { type Store, StoreUnavailable } from '@symkeep/cache';
import { decode, encode } from '@symkeep/protocol';

const at = { shard: 0, key: 'rebuild' };

export class RebuildFlag {
  readonly #store: Store;
  #isUp = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** As it was when it was last looked at. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Looks at it; in an outage it stays as it was. */
  async look(): Promise<void> {
    const [read] = await this.#store.get([at]);
    if (read instanceof StoreUnavailable || read === undefined) return;
    if (read === null) {
      this.#isUp = false;
      return;
    }
    const until = decode(new Uint8Array(read), 'msgpack') as number;
    const now = await this.#store.now();
    if (typeof now === 'number') this.#isUp = now < until;
  }

  /** Raises it for so long from now, or prolongs it. Throws the outage. */
  async raise(ms: number): Promise<void> {
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) throw now;
    await this.#set(encode(now + ms, 'msgpack'));
  }

  lower(): Promise<void> {
    return this.#set(null);
  }

  async #set(value: Uint8Array | null): Promise<void> {
    for (;;) {
      const [read] = await this.#store.get([at]);
      if (read instanceof StoreUnavailable) throw read;
      const expected = read === null || read === undefined ? null : new Uint8Array(read);
      const [outcome] = await this.#store.swap([{ at, expected, value }]);
      if (outcome instanceof StoreUnavailable) throw outcome;
      if (outcome?.swapped === true) return;
    }
  }
}
