// Redis is checked, not trusted: whether a server is fit to keep facts for ever. All of it is read from INFO,
// since managed Redis forbids CONFIG.
import { type RedisClient, RedisNodes } from './redis-nodes.ts';
import { infoOf, type Reply } from './redis-reply.ts';
import { StoreUnavailable } from './store.ts';

/** Auto-sequence stream IDs, and INFO of several sections, came with 7.0. */
const versionMajorMin = 7;

/**
 * Why a server is not fit. The first three refuse a start (the second unless overridden); the others are said
 * loudly.
 */
export type RedisFault =
  | 'version_too_old'
  | 'evicts' // a policy other than noeviction drops facts when memory is full
  | 'not_master'
  | 'append_only_off' // a restart loses whatever the last snapshot lacks
  | 'memory_unbounded'; // no maxmemory: the kernel ends a full Redis, instead of Redis refusing writes

export interface RedisFitness {
  readonly version: string;
  readonly role: string;
  readonly evictionPolicy: string;
  readonly appendOnly: boolean;
  readonly usedMemoryBytes: number;
  /** 0: no limit. */
  readonly maxMemoryBytes: number;
  readonly evictedKeys: number;
  readonly refusals: readonly RedisFault[];
  readonly warnings: readonly RedisFault[];
}

export interface FitnessOptions {
  /** Overrides the refusal of an evicting policy: it becomes a warning. */
  readonly allowEviction?: boolean;
}

/** The fitness of every master. */
export async function redisFitness(
  client: RedisClient,
  options: FitnessOptions = {},
): Promise<readonly RedisFitness[] | StoreUnavailable> {
  const all: RedisFitness[] = [];
  for (const { reply } of await new RedisNodes(client).askEach('info', [])) {
    if (reply instanceof StoreUnavailable) return reply;
    all.push(fitnessOf(reply, options));
  }
  return all;
}

/** Reads one INFO reply. */
export function fitnessOf(reply: Reply, { allowEviction = false }: FitnessOptions = {}): RedisFitness {
  const info = infoOf(reply);
  const text = (name: string): string => info.get(name) ?? 'unknown';
  const facts = {
    version: text('redis_version'),
    role: text('role'),
    evictionPolicy: text('maxmemory_policy'),
    appendOnly: text('aof_enabled') === '1',
    usedMemoryBytes: Number(info.get('used_memory') ?? 0),
    maxMemoryBytes: Number(info.get('maxmemory') ?? 0),
    evictedKeys: Number(info.get('evicted_keys') ?? 0),
  };
  const refusals: RedisFault[] = [];
  const warnings: RedisFault[] = [];
  if (!(Number.parseInt(facts.version, 10) >= versionMajorMin)) refusals.push('version_too_old');
  if (facts.evictionPolicy !== 'noeviction') (allowEviction ? warnings : refusals).push('evicts');
  if (facts.role !== 'master') refusals.push('not_master');
  if (!facts.appendOnly) warnings.push('append_only_off');
  if (facts.maxMemoryBytes === 0) warnings.push('memory_unbounded');
  return { ...facts, refusals, warnings };
}
