// Event logs of the shards, as Redis streams whose sequence numbers have no gap. A read asks again for the
// event at the cursor: where it is missing and its successor too, the log was trimmed past the cursor or went
// back.
import type { Redis } from 'ioredis';
import type { Clock } from './clock.ts';
import { type Command, outageOf, type RedisClient, type RedisNodes } from './redis-nodes.ts';
import { listOf, type Reply, textOf } from './redis-reply.ts';
import { type EventCursor, type EventPage, type StoreEvent, StoreUnavailable } from './store.ts';

/** A blocked read spans the shards of one server only, so in a Cluster the tails are asked this often. */
const clusterPollMs = 50;
/** What a dead peer may add to a wait before the client gives it up. */
const blockGraceMs = 1_000;

export interface RedisEventLogsOptions {
  readonly client: RedisClient;
  readonly nodes: RedisNodes;
  readonly clock: Clock;
  /** Stream of each shard. */
  readonly keys: readonly string[];
}

interface ShardEvents {
  readonly shard: number;
  readonly events: readonly StoreEvent[];
}

export class RedisEventLogs {
  readonly #client: RedisClient;
  readonly #nodes: RedisNodes;
  readonly #clock: Clock;
  readonly #keys: readonly string[];
  readonly #shardOf: ReadonlyMap<string, number>;
  /** Blocked reads have a connection of their own, or they would hold up every other command. */
  #waiting: Redis | undefined;

  constructor({ client, nodes, clock, keys }: RedisEventLogsOptions) {
    this.#client = client;
    this.#nodes = nodes;
    this.#clock = clock;
    this.#keys = keys;
    this.#shardOf = new Map(keys.map((key, shard) => [key, shard]));
  }

  async tail(): Promise<EventCursor | StoreUnavailable> {
    const ends = await this.#ends();
    const outage = ends.find((end) => end instanceof StoreUnavailable);
    return outage ?? (ends as readonly number[]);
  }

  /** The last sequence number of each shard. */
  async #ends(): Promise<readonly (number | StoreUnavailable)[]> {
    const args = ['+', '-', 'COUNT', 1];
    const replies = await this.#nodes.ask(
      this.#keys.map((key, shard) => ({ shard, name: 'xrevrange', args: [key, ...args] })),
    );
    return replies.map((reply) => {
      if (reply instanceof StoreUnavailable) return reply;
      const [entry] = listOf(reply);
      return entry === undefined ? 0 : sequenceOf(entry);
    });
  }

  async read(cursor: EventCursor, limit: number): Promise<EventPage | StoreUnavailable> {
    const perShard = Math.ceil(limit / this.#keys.length);
    const proven = cursor.map((sequence) => Math.max(sequence - 1, 0));
    const commands = this.#reads(proven, ['COUNT', perShard + 1]);
    const replies = await this.#nodes.ask(commands);
    const outage = replies.find((reply) => reply instanceof StoreUnavailable) ?? null;
    if (outage !== null && replies.every((reply) => reply instanceof StoreUnavailable)) return outage;

    const logs = new Map<number, readonly StoreEvent[]>();
    for (const reply of replies) if (!(reply instanceof StoreUnavailable)) this.#collect(reply, logs);
    const away = new Set(
      commands.flatMap(({ shard }, i) => (replies[i] instanceof StoreUnavailable ? [shard] : [])),
    );
    const known = this.#keys.map((_, shard) => ({ shard, events: logs.get(shard) ?? [] }));
    const answered = known.filter(({ shard }) => !away.has(shard));
    if (answered.some(({ shard, events }) => isBroken(cursor[shard]!, events))) return this.#reset(cursor);
    return { ...takePage(cursor, answered, limit), reset: false, outage };
  }

  async #reset(asked: EventCursor): Promise<EventPage> {
    const ends = await this.#ends();
    const cursor = ends.map((end, shard) => (end instanceof StoreUnavailable ? asked[shard]! : end));
    return {
      events: [],
      cursor,
      reset: true,
      outage: ends.find((end) => end instanceof StoreUnavailable) ?? null,
    };
  }

  /** Entries after the cursor: one command where it may span shards, else one per shard. */
  #reads(after: EventCursor, options: readonly (string | number)[]): readonly Command[] {
    const read = (shards: readonly number[]): Command => {
      const streams = [
        ...shards.map((shard) => this.#keys[shard]!),
        ...shards.map((shard) => `0-${after[shard]}`),
      ];
      return { shard: shards[0]!, name: 'xread', args: [...options, 'STREAMS', ...streams] };
    };
    const shards = [...this.#keys.keys()];
    return this.#nodes.spansShards ? [read(shards)] : shards.map((shard) => read([shard]));
  }

  #collect(reply: Reply, logs: Map<number, readonly StoreEvent[]>): void {
    if (reply === null) return;
    for (const stream of listOf(reply)) {
      const [key, entries] = listOf(stream);
      const shard = this.#shardOf.get(textOf(key))!;
      logs.set(
        shard,
        listOf(entries).map((entry) => ({ shard, sequence: sequenceOf(entry), payload: payloadOf(entry) })),
      );
    }
  }

  async wait(
    cursor: EventCursor,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<StoreUnavailable | undefined> {
    if (signal?.aborted || waitMs <= 0) return;
    if (this.#client.isCluster) return this.#poll(cursor, waitMs, signal);
    const connection = this.#connection();
    const stop = (): void => this.close();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const [read] = this.#reads(cursor, ['COUNT', 1, 'BLOCK', Math.ceil(waitMs)]);
      await connection.callBuffer(read!.name, [...read!.args]);
    } catch (error) {
      if (!signal?.aborted) return outageOf(error);
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  #connection(): Redis {
    if (this.#waiting === undefined) {
      const client = this.#client as Redis;
      const options = {
        commandTimeout: undefined,
        blockingTimeout: blockGraceMs,
        blockingTimeoutGrace: blockGraceMs,
      };
      this.#waiting = client.duplicate({ ...options, enableOfflineQueue: true });
      // A failure to connect is told by the command that it fails.
      this.#waiting.on('error', () => undefined);
    }
    return this.#waiting;
  }

  async #poll(
    cursor: EventCursor,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<StoreUnavailable | undefined> {
    for (let waited = 0; waited < waitMs; waited += clusterPollMs) {
      const replies = await this.#nodes.ask(this.#reads(cursor, ['COUNT', 1]));
      const outages = replies.filter((reply) => reply instanceof StoreUnavailable);
      if (outages.length === replies.length) return outages[0]!;
      if (signal?.aborted || replies.some(Array.isArray)) return;
      await this.#clock.sleep(Math.min(clusterPollMs, waitMs - waited), signal).catch((error: unknown) => {
        if (!signal?.aborted) throw error;
      });
    }
  }

  close(): void {
    this.#waiting?.disconnect();
    this.#waiting = undefined;
  }
}

/**
 * True if events after the cursor are gone: the log has to show the one at the cursor, or the one after it.
 */
function isBroken(sequence: number, events: readonly StoreEvent[]): boolean {
  const first = events[0]?.sequence;
  return first === undefined ? sequence > 0 : first > sequence + 1;
}

function takePage(
  cursor: EventCursor,
  logs: readonly ShardEvents[],
  limit: number,
): Pick<EventPage, 'events' | 'cursor'> {
  const events: StoreEvent[] = [];
  const next = [...cursor];
  for (const { shard, events: log } of logs) {
    const fresh = log.filter(({ sequence }) => sequence > cursor[shard]!).slice(0, limit - events.length);
    events.push(...fresh);
    next[shard] = fresh.at(-1)?.sequence ?? cursor[shard]!;
  }
  return { events, cursor: next };
}

/** Entry: [ID, [field, payload]]; the ID is `0-<sequence>`. */
function sequenceOf(entry: Reply): number {
  const id = textOf(listOf(entry)[0]);
  return Number(id.slice(id.indexOf('-') + 1));
}

function payloadOf(entry: Reply): Uint8Array {
  const payload = listOf(listOf(entry)[1])[1];
  if (!(payload instanceof Uint8Array)) throw new TypeError('an entry of the event log has no payload');
  return payload;
}
