// The store on Redis (7.0 or newer): one server, behind Sentinel, or a Cluster. The client is passed in, with
// the options below: they are what makes an outage an answer within a bounded time.
//
//   sk1:<namespace>:{05}:<key>     a value (string), or one that holds many (hash)
//   sk1:<namespace>:{05}/epoch     text
//   sk1:<namespace>:{05}/events    stream, IDs 0-1, 0-2, … without a gap
//   sk1:<namespace>:{05}/index     sorted set, every score 0
//   sk1:<namespace>:{05}/by/<name> sorted set: a ranking
import type { Clock } from './clock.ts';
import { RedisEventLogs } from './redis-events.ts';
import { type Argument, type Command, hashTag, type RedisClient, RedisNodes } from './redis-nodes.ts';
import { infoOf, listOf, type Reply, textOf } from './redis-reply.ts';
import {
  type NamedSwap,
  raiseCommand,
  type ShardKeys,
  swapCommand,
  swapEpochCommand,
  swappedOf,
} from './redis-scripts.ts';
import {
  type EventCursor,
  type EventPage,
  type Ranked,
  type RankingMember,
  type Read,
  type Store,
  type StoreKey,
  type StoreNode,
  StoreUnavailable,
  type Swap,
  type Swapped,
  shardCount,
} from './store.ts';

/**
 * What the client must be constructed with (a Cluster: in `redisOptions`, next to
 * `clusterNodeRetryStrategy`). Without an offline queue and without resending, a command in an outage fails
 * now instead of waiting for the end of it.
 */
export const storeClientOptions = {
  commandTimeout: 1_000,
  connectTimeout: 1_000,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
} as const;

/** Events kept per shard, unless told otherwise: minutes of a busy fleet's changes, some 20 MB in all. */
const eventsKeptDefault = 4_096;
/** Keys of one MGET: a command this long holds the server up for about 0.2 ms. */
const keysPerReadMax = 256;
/** Swaps of one script: it holds the server up for about half a millisecond. */
const swapsPerScriptMax = 64;
const namespaceForm = /^[a-z0-9][a-z0-9-]{0,31}$/;

export interface RedisStoreOptions {
  readonly clock: Clock;
  readonly namespace?: string;
  /** Events kept per shard, at least; Redis trims a whole node of its tree at a time. */
  readonly eventsKept?: number;
}

interface ReadCommand extends Command {
  readonly args: Argument[];
  /** Which of the asked keys each value of the reply is. */
  readonly positions: number[];
}

interface SwapGroup {
  readonly members: (NamedSwap & { readonly position: number })[];
  readonly shards: number[];
}

export class RedisStore implements Store {
  readonly #nodes: RedisNodes;
  readonly #events: RedisEventLogs;
  readonly #keys: readonly ShardKeys[];
  readonly #prefixes: readonly string[];
  readonly #eventsKept: number;

  constructor(
    client: RedisClient,
    { clock, namespace = 'main', eventsKept = eventsKeptDefault }: RedisStoreOptions,
  ) {
    if (!namespaceForm.test(namespace))
      throw new RangeError(`namespace ${JSON.stringify(namespace)} is not ${namespaceForm}`);
    const tags = Array.from({ length: shardCount }, (_, shard) => `sk1:${namespace}:${hashTag(shard)}`);
    this.#prefixes = tags.map((tag) => `${tag}:`);
    this.#keys = tags.map((tag) => ({
      epoch: `${tag}/epoch`,
      events: `${tag}/events`,
      index: `${tag}/index`,
      rankings: `${tag}/by/`,
    }));
    this.#nodes = new RedisNodes(client);
    this.#events = new RedisEventLogs({
      client,
      nodes: this.#nodes,
      clock,
      keys: this.#keys.map((keys) => keys.events),
    });
    this.#eventsKept = eventsKept;
  }

  async get(keys: readonly StoreKey[]): Promise<Read[]> {
    const reads = this.#readsOf(keys);
    const replies = await this.#nodes.ask(reads);
    const values = new Array<Read>(keys.length).fill(null);
    for (const [i, { positions }] of reads.entries()) {
      const reply = replies[i]!;
      const list = reply instanceof StoreUnavailable ? undefined : listOf(reply);
      for (let n = 0; n < positions.length; n++) {
        const value = list === undefined ? (reply as StoreUnavailable) : list[n];
        values[positions[n]!] =
          value instanceof Uint8Array || value instanceof StoreUnavailable ? value : null;
      }
    }
    return values;
  }

  /**
   * As few commands as may be: one MGET where one may span shards, else one per shard; one HMGET per key with
   * fields.
   */
  #readsOf(keys: readonly StoreKey[]): ReadCommand[] {
    const open = new Map<number | string, ReadCommand>();
    const reads: ReadCommand[] = [];
    for (let i = 0; i < keys.length; i++) {
      const { shard, key, field } = keys[i]!;
      const name = this.#prefixes[shard]! + key;
      const group = field === undefined ? (this.#nodes.spansShards ? 0 : shard) : name;
      let read = open.get(group);
      if (read === undefined || read.positions.length === keysPerReadMax) {
        read = {
          shard,
          name: field === undefined ? 'mget' : 'hmget',
          args: field === undefined ? [] : [name],
          positions: [],
        };
        open.set(group, read);
        reads.push(read);
      }
      read.args.push(field ?? name);
      read.positions.push(i);
    }
    return reads;
  }

  async swap(swaps: readonly Swap[]): Promise<(Swapped | StoreUnavailable)[]> {
    const groups = this.#groupsOf(swaps);
    const keysOf = (shard: number): ShardKeys => this.#keys[shard]!;
    const replies = await this.#nodes.ask(
      groups.map(({ members, shards }) => swapCommand(members, shards, keysOf, this.#eventsKept)),
    );
    const outcomes = new Array<Swapped | StoreUnavailable>(swaps.length);
    for (const [i, { members, shards }] of groups.entries()) {
      const reply = replies[i]!;
      const swapped = reply instanceof StoreUnavailable ? reply : swappedOf(reply, members, shards);
      for (const [n, { position }] of members.entries()) {
        outcomes[position] = swapped instanceof StoreUnavailable ? swapped : swapped[n]!;
      }
    }
    return outcomes;
  }

  /** Swaps of one command each: all where one may span shards, else those of a shard. */
  #groupsOf(swaps: readonly Swap[]): SwapGroup[] {
    const open = new Map<number, SwapGroup>();
    const groups: SwapGroup[] = [];
    for (const [position, swap] of swaps.entries()) {
      const { shard, key } = swap.at;
      const tag = this.#nodes.spansShards ? 0 : shard;
      let group = open.get(tag);
      if (group === undefined || group.members.length === swapsPerScriptMax) {
        group = { members: [], shards: [] };
        open.set(tag, group);
        groups.push(group);
      }
      const prefix = this.#prefixes[shard]!;
      const more = [swap.keep, swap.leave?.key].filter((name) => name !== undefined);
      group.members.push({ swap, key: prefix + key, more: more.map((name) => prefix + name), position });
      if (!group.shards.includes(shard)) group.shards.push(shard);
    }
    return groups;
  }

  async drop(
    keys: readonly { readonly shard: number; readonly key: string }[],
  ): Promise<StoreUnavailable | undefined> {
    // Unlinked, not deleted: Redis frees a big hash in the background.
    const replies = await this.#nodes.ask(
      keys.map(({ shard, key }) => ({ shard, name: 'unlink', args: [this.#prefixes[shard]! + key] })),
    );
    return replies.find((reply) => reply instanceof StoreUnavailable);
  }

  /** By Redis' own clock of use, which needs a policy that is not LFU. */
  async idleSeconds(
    keys: readonly { readonly shard: number; readonly key: string }[],
  ): Promise<(number | null | StoreUnavailable)[]> {
    const replies = await this.#nodes.ask(
      keys.map(({ shard, key }) => ({
        ...{ shard, name: 'object' },
        args: ['idletime', this.#prefixes[shard]! + key],
      })),
    );
    return replies.map((reply) =>
      reply instanceof StoreUnavailable || reply === null ? reply : Number(reply),
    );
  }

  async listFields({
    shard,
    key,
  }: {
    readonly shard: number;
    readonly key: string;
  }): Promise<readonly string[] | StoreUnavailable> {
    const [reply] = await this.#nodes.ask([{ shard, name: 'hkeys', args: [this.#prefixes[shard]! + key] }]);
    return reply instanceof StoreUnavailable ? reply : listOf(reply).map(textOf);
  }

  async countFields({
    shard,
    key,
  }: {
    readonly shard: number;
    readonly key: string;
  }): Promise<number | StoreUnavailable> {
    const [reply] = await this.#nodes.ask([{ shard, name: 'hlen', args: [this.#prefixes[shard]! + key] }]);
    return reply instanceof StoreUnavailable ? reply : Number(reply);
  }

  async scanIndex(
    shard: number,
    after: string,
    limit: number,
  ): Promise<readonly string[] | StoreUnavailable> {
    const range = [after === '' ? '-' : `(${after}`, '+', 'BYLEX', 'LIMIT', 0, limit];
    const [reply] = await this.#nodes.ask([
      { shard, name: 'zrange', args: [this.#keys[shard]!.index, ...range] },
    ]);
    return reply instanceof StoreUnavailable ? reply : listOf(reply).map(textOf);
  }

  async raise(
    rises: readonly (RankingMember & { readonly by: number })[],
    membersMax: number,
  ): Promise<(number | StoreUnavailable)[]> {
    const groups = Map.groupBy(rises.keys(), (at) => this.#rankingKey(rises[at]!));
    const replies = await this.#nodes.ask(
      Array.from(groups, ([key, at]) =>
        raiseCommand(
          rises[at[0]!]!.shard,
          key,
          at.map((i) => rises[i]!),
          membersMax,
        ),
      ),
    );
    const scores = new Array<number | StoreUnavailable>(rises.length).fill(0);
    for (const [n, at] of [...groups.values()].entries()) {
      const reply = replies[n]!;
      const own = reply instanceof StoreUnavailable ? reply : listOf(reply);
      for (const [i, position] of at.entries())
        scores[position] = own instanceof StoreUnavailable ? own : Number(textOf(own[i]));
    }
    return scores;
  }

  async highest(
    shard: number,
    ranking: string,
    limit: number,
  ): Promise<readonly Ranked[] | StoreUnavailable> {
    const key = this.#rankingKey({ shard, ranking });
    const args = [key, 0, limit - 1, 'REV', 'WITHSCORES'];
    const [reply] = await this.#nodes.ask([{ shard, name: 'zrange', args }]);
    if (reply instanceof StoreUnavailable) return reply;
    const parts = listOf(reply).map(textOf);
    return Array.from({ length: parts.length / 2 }, (_, n) => ({
      member: parts[2 * n]!,
      score: Number(parts[2 * n + 1]),
    }));
  }

  async scores(members: readonly RankingMember[]): Promise<(number | null | StoreUnavailable)[]> {
    const replies = await this.#nodes.ask(
      members.map((at) => ({ shard: at.shard, name: 'zscore', args: [this.#rankingKey(at), at.member] })),
    );
    return replies.map((reply) => {
      if (reply instanceof StoreUnavailable || reply === null) return reply;
      return typeof reply === 'number' ? reply : Number(textOf(reply));
    });
  }

  async withdraw(members: readonly RankingMember[]): Promise<StoreUnavailable | undefined> {
    const replies = await this.#nodes.ask(
      members.map((at) => ({ shard: at.shard, name: 'zrem', args: [this.#rankingKey(at), at.member] })),
    );
    return replies.find((reply) => reply instanceof StoreUnavailable);
  }

  #rankingKey({ shard, ranking }: Pick<RankingMember, 'shard' | 'ranking'>): string {
    return `${this.#keys[shard]!.rankings}${ranking}`;
  }

  /** The latest of the masters' clocks that can be asked. */
  async now(): Promise<number | StoreUnavailable> {
    let latest: number | StoreUnavailable = new StoreUnavailable('unreachable', 'Redis: no master is known');
    for (const { reply } of await this.#nodes.askEach('time', [])) {
      const time = reply instanceof StoreUnavailable ? reply : millisecondsOf(reply);
      if (latest instanceof StoreUnavailable || (typeof time === 'number' && time > latest)) latest = time;
    }
    return latest;
  }

  eventTail(): Promise<EventCursor | StoreUnavailable> {
    return this.#events.tail();
  }

  readEvents(cursor: EventCursor, limit: number): Promise<EventPage | StoreUnavailable> {
    return this.#events.read(cursor, limit);
  }

  waitForEvents(
    cursor: EventCursor,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<StoreUnavailable | undefined> {
    return this.#events.wait(cursor, waitMs, signal);
  }

  /**
   * Identity: the process (run ID), the history it continues (replication ID: another at each promotion, so a
   * failover that lost writes shows even if the process lives on), and how much it has evicted.
   */
  async nodes(): Promise<readonly StoreNode[] | StoreUnavailable> {
    const nodes: StoreNode[] = [];
    for (const { shards, reply } of await this.#nodes.askEach('info', ['server', 'replication', 'stats'])) {
      if (reply instanceof StoreUnavailable) return reply;
      const info = infoOf(reply);
      if (info.get('role') !== 'master')
        return new StoreUnavailable('wrong_role', 'Redis: a replica answers as master');
      const identity = ['run_id', 'master_replid', 'evicted_keys']
        .map((name) => info.get(name) ?? '')
        .join('.');
      nodes.push({ identity, shards });
    }
    return nodes;
  }

  async epochs(): Promise<readonly (string | null)[] | StoreUnavailable> {
    const name = 'get';
    const replies = await this.#nodes.ask(
      this.#keys.map(({ epoch }, shard) => ({ shard, name, args: [epoch] })),
    );
    const values: (string | null)[] = [];
    for (const reply of replies) {
      if (reply instanceof StoreUnavailable) return reply;
      values.push(reply === null || reply === undefined ? null : textOf(reply));
    }
    return values;
  }

  async swapEpoch(
    shard: number,
    expected: string | null,
    value: string,
  ): Promise<boolean | StoreUnavailable> {
    const [reply] = await this.#nodes.ask([
      swapEpochCommand(shard, this.#keys[shard]!.epoch, expected, value),
    ]);
    return reply instanceof StoreUnavailable ? reply : reply === 1;
  }

  /** Ends what the store opened itself. The client is its owner's. */
  async close(): Promise<void> {
    this.#events.close();
  }
}

function millisecondsOf(reply: Reply): number {
  const [seconds, microseconds] = listOf(reply);
  return Number(textOf(seconds)) * 1_000 + Math.floor(Number(textOf(microseconds)) / 1_000);
}
