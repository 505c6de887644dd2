// Which connection serves a shard, and what a failed command means. A batch of commands becomes one pipeline
// per node; what a Cluster redirects and what a script cache has forgotten is asked once more. An outage is
// answered per command.
import type { Cluster, Redis } from 'ioredis';
import type { Reply } from './redis-reply.ts';
import { StoreUnavailable, shardCount } from './store.ts';

export type RedisClient = Redis | Cluster;

export type Argument = string | number | Buffer;

export interface Command {
  readonly shard: number;
  /** In lower case: ioredis maps RESP3 replies by this name. */
  readonly name: string;
  readonly args: readonly Argument[];
  /** Source of the script that `evalsha` names, sent instead of its digest if the server does not know it. */
  readonly script?: string;
}

/** A command without a key, asked of every master. */
export interface NodeReply {
  readonly shards: readonly number[];
  readonly reply: Reply | StoreUnavailable;
}

/** Redirects and forgotten scripts are followed this often: a moved slot, then a script unknown there. */
const attemptsMax = 3;

/**
 * What a refusal means, by the first word of the error. Any other error reply is a bug of ours and is thrown.
 */
const refusals: ReadonlyMap<string, StoreUnavailable['reason']> = new Map([
  ['OOM', 'store_full'],
  ['MISCONF', 'store_full'], // cannot persist: a full or failing disk
  ['READONLY', 'wrong_role'],
  ['MASTERDOWN', 'wrong_role'],
  ['NOREPLICAS', 'wrong_role'],
  ['LOADING', 'unreachable'],
  ['BUSY', 'unreachable'],
  ['UNBLOCKED', 'unreachable'],
  ['CLUSTERDOWN', 'unreachable'],
  ['MOVED', 'unreachable'],
  ['ASK', 'unreachable'],
  ['TRYAGAIN', 'unreachable'],
  ['NOAUTH', 'unreachable'],
  ['NOPERM', 'unreachable'],
  ['WRONGPASS', 'unreachable'],
]);
const followed: ReadonlySet<string> = new Set(['MOVED', 'ASK', 'TRYAGAIN', 'NOSCRIPT']);

/** The outage that a failed command stands for. Throws what is none: a malformed command, a wrong type. */
export function outageOf(error: unknown): StoreUnavailable {
  if (!(error instanceof Error)) throw new TypeError(`Redis client threw ${String(error)}`);
  if (error.name !== 'ReplyError')
    return new StoreUnavailable('unreachable', `Redis: ${error.message}`, error);
  const reason = refusals.get(firstWord(error));
  if (reason === undefined) throw error;
  return new StoreUnavailable(reason, `Redis: ${error.message}`, error);
}

function firstWord(error: Error): string {
  const end = error.message.indexOf(' ');
  return end < 0 ? error.message : error.message.slice(0, end);
}

/** Text of a shard's hash tag: two digits in braces, the only part of a key that a Cluster hashes. */
export function hashTag(shard: number): string {
  return `{${String(shard).padStart(2, '0')}}`;
}

/** CRC-16/XMODEM modulo 16384, as the Redis Cluster specification defines the slot of a hash tag. */
function slotOf(shard: number): number {
  let crc = 0;
  for (const byte of Buffer.from(hashTag(shard).slice(1, -1))) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc % 16_384;
}

const slots: readonly number[] = Array.from({ length: shardCount }, (_, shard) => slotOf(shard));

export class RedisNodes {
  readonly #client: RedisClient;
  /** True where one command may name keys of several shards. */
  readonly spansShards: boolean;

  constructor(client: RedisClient) {
    this.#client = client;
    this.spansShards = !isCluster(client);
  }

  /** One pipeline per node, all at once. Replies in order of the commands. */
  async ask(commands: readonly Command[]): Promise<(Reply | StoreUnavailable)[]> {
    const replies = new Array<Reply | StoreUnavailable>(commands.length).fill(null);
    const batches = this.#byNode(commands, replies);
    await Promise.all(Array.from(batches, ([node, at]) => this.#send(node, commands, at, replies)));
    return replies;
  }

  /** One command to every master. */
  async askEach(name: string, args: readonly Argument[]): Promise<readonly NodeReply[]> {
    const shards = Array.from({ length: shardCount }, (_, shard) => ({ shard, name, args }));
    const unserved = new Array<Reply | StoreUnavailable>(shardCount).fill(null);
    const nodes = [...this.#byNode(shards, unserved).values()];
    const replies = await this.ask(nodes.map((served) => shards[served[0]!]!));
    const answered = nodes.map((served, i) => ({ shards: served, reply: replies[i]! }));
    const outage = unserved.find((reply) => reply instanceof StoreUnavailable);
    return outage === undefined ? answered : [...answered, { shards: [], reply: outage }];
  }

  /**
   * Positions of the commands by the connection that serves them; a shard that none serves is answered at
   * once.
   */
  #byNode(commands: readonly Command[], replies: (Reply | StoreUnavailable)[]): Map<Redis, number[]> {
    const client = this.#client;
    if (!isCluster(client)) return new Map([[client, commands.map((_, i) => i)]]);
    const masters = new Map(client.nodes('master').map((node) => [nodeKey(node), node]));
    const batches = new Map<Redis, number[]>();
    for (const [i, { shard }] of commands.entries()) {
      const node = masters.get(client.slots[slots[shard]!]?.[0] ?? '');
      if (node === undefined) replies[i] = this.#unserved(client, shard);
      else if (!batches.get(node)?.push(i)) batches.set(node, [i]);
    }
    return batches;
  }

  #unserved(cluster: Cluster, shard: number): StoreUnavailable {
    cluster.refreshSlotsCache();
    return new StoreUnavailable('unreachable', `Redis Cluster: no master known for shard ${shard}`);
  }

  async #send(
    node: Redis,
    commands: readonly Command[],
    at: readonly number[],
    replies: (Reply | StoreUnavailable)[],
  ): Promise<void> {
    if (at.length === 1) {
      const only = commands[at[0]!]!;
      replies[at[0]!] = await call(node, only).catch((error: unknown) => this.#failed(only, error, 1));
      return;
    }
    const pipeline = node.pipeline();
    for (const i of at) pipeline.callBuffer(commands[i]!.name, [...commands[i]!.args]);
    const results = await pipeline.exec();
    if (results === null) throw new TypeError('a pipeline is no transaction: it cannot be discarded');
    const settle = async (i: number, [error, reply]: readonly [Error | null, unknown]): Promise<void> => {
      replies[i] = error === null ? (reply as Reply) : await this.#failed(commands[i]!, error, 1);
    };
    await Promise.all(at.map((i, n) => settle(i, results[n]!)));
  }

  /** Follows a redirect, or sends the script that the server forgot; whatever else failed is an outage. */
  async #failed(command: Command, error: unknown, attempts: number): Promise<Reply | StoreUnavailable> {
    const word = error instanceof Error && error.name === 'ReplyError' ? firstWord(error) : '';
    if (!followed.has(word) || attempts === attemptsMax) return outageOf(error);
    const { script } = command;
    const again = word === 'NOSCRIPT' && script !== undefined ? withSource(command, script) : command;
    return call(this.#client, again).catch((next: unknown) => this.#failed(again, next, attempts + 1));
  }
}

function withSource(command: Command, script: string): Command {
  return { shard: command.shard, name: 'eval', args: [script, ...command.args.slice(1)] };
}

async function call(client: RedisClient, command: Command): Promise<Reply> {
  return (await client.callBuffer(command.name, [...command.args])) as Reply;
}

function isCluster(client: RedisClient): client is Cluster {
  return client.isCluster;
}

function nodeKey(node: Redis): string {
  return `${node.options.host}:${node.options.port}`;
}
