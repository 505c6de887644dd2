// Which agents report to this fleet of servers. What each server hears is written every few seconds, so that a request never
// waits for it, and read from the store by whoever asks.
import { type Clock, type Store, type StoreKey, StoreUnavailable, shardCount } from '@symkeep/cache';
import { decode, encode, secondOf } from '@symkeep/protocol';

const flushMs = 5_000;
/** An agent that goes on asking is written this often at most. */
const renewMs = 30_000;
/** Agents heard of between two writes; more are heard of in their next cycle. */
const pendingMax = 20_000;
/** Hosts that were not heard of for so long are no part of the fleet any more. */
const forgottenMs = 7 * 86_400_000;

export interface RosterEntry {
  readonly host: string;
  readonly version: string;
  /** RFC 3339, by the store's clock; true to about half a minute. */
  readonly lastSeen: string;
}

interface Stored {
  readonly version: string;
  readonly at: number;
}

export class Roster {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Versions of hosts heard of since the last write. */
  #heard = new Map<string, string>();
  /** When each host was written last, by the monotonic clock. */
  #written = new Map<string, number>();
  #cancel = (): void => undefined;
  readonly counts = { writes: 0, outages: 0 };

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  start(): void {
    this.#cancel = this.#clock.setRepeating(flushMs, () => void this.flush());
  }

  async stop(): Promise<void> {
    this.#cancel();
    await this.flush();
  }

  /** Notes that an agent asked something; returns at once. */
  note({ host, version }: { readonly host: string; readonly version: string }): void {
    const written = this.#written.get(host);
    if (written !== undefined && this.#clock.now() - written < renewMs) return;
    if (this.#heard.size < pendingMax) this.#heard.set(host, version);
  }

  async flush(): Promise<void> {
    if (this.#heard.size === 0) return;
    const heard = [...this.#heard];
    this.#heard = new Map();
    const places = heard.map(([host]) => agentAt(host));
    const [now, read] = await Promise.all([this.#store.now(), this.#store.get(places)]);
    if (now instanceof StoreUnavailable) {
      this.counts.outages++;
      return;
    }
    const swaps = heard.flatMap(([, version], index) => {
      const current = read[index]!;
      if (current instanceof StoreUnavailable) return [];
      const expected = current === null ? null : new Uint8Array(current);
      return [
        { at: places[index]!, expected, value: encode({ version, at: now } satisfies Stored, 'msgpack') },
      ];
    });
    // Of two servers that hear of one agent at once, one writes; an outage is made up for in the next cycle.
    await this.#store.swap(swaps);
    this.counts.writes += swaps.length;
    if (this.#written.size > pendingMax) this.#written = new Map();
    for (const [host] of heard) this.#written.set(host, this.#clock.now());
  }

  /** All agents of the last week, by host. Throws the outage: a list without some would look complete. */
  async list(): Promise<RosterEntry[]> {
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) throw now;
    const shards = Array.from({ length: shardCount }, (_, shard) => this.#listShard(shard, now));
    return (await Promise.all(shards)).flat().sort((a, b) => (a.host < b.host ? -1 : 1));
  }

  async #listShard(shard: number, now: number): Promise<RosterEntry[]> {
    const hosts = await this.#store.listFields({ shard, key: rosterKey });
    if (hosts instanceof StoreUnavailable) throw hosts;
    const values = await this.#store.get(hosts.map((field) => ({ shard, key: rosterKey, field })));
    return hosts.flatMap((host, index) => {
      const value = values[index]!;
      if (value instanceof StoreUnavailable) throw value;
      if (value === null) return [];
      const { version, at } = decode(new Uint8Array(value), 'msgpack') as Stored;
      return at + forgottenMs < now ? [] : [{ host, version, lastSeen: secondOf(at) }];
    });
  }
}

const rosterKey = 'agents';

/** Hosts are spread over the shards as IDs are, by FNV-1a. */
function agentAt(host: string): StoreKey {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(host)) hash = Math.imul(hash ^ byte, 0x01000193);
  return { shard: ((hash >>> 16) ^ hash) & (shardCount - 1), key: rosterKey, field: host };
}
