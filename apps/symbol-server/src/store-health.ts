// Whether Redis is fit to keep facts for ever. It is asked at start, on every reconnect, and by readiness probes.
import { type RedisFault, redisFitness, StoreUnavailable } from '@symkeep/cache';
import type { RedisClient } from './redis.ts';

/** What a fault means, in words for the operator. */
export const faultTexts: Record<RedisFault, string> = {
  version_too_old: 'Redis is older than 7.0',
  evicts: 'Redis evicts when its memory is full: facts would be lost. Set maxmemory-policy noeviction',
  not_master: 'Redis is a replica: it takes no writes',
  append_only_off: 'Redis has AOF off: a restart loses what came after its last snapshot. Set appendonly yes',
  memory_unbounded: 'Redis has no maxmemory: when the host is full the kernel ends it. Set maxmemory',
};

export interface StoreHealth {
  /** Of every master. */
  readonly faults: ReadonlySet<RedisFault>;
  /** Why nothing may be kept there; empty: it is fit. */
  readonly refusals: readonly string[];
  /** What works but should not stay so. */
  readonly warnings: readonly string[];
  /** It does not answer at all. */
  readonly outage?: string;
}

/** Asks again and again; keeps what was last seen, for metrics and pages. */
export class StoreWatch {
  readonly #client: RedisClient;
  readonly #allowEviction: boolean;
  #seen: StoreHealth = { faults: new Set(), refusals: [], warnings: [] };

  constructor(client: RedisClient, allowEviction: boolean) {
    this.#client = client;
    this.#allowEviction = allowEviction;
  }

  get seen(): StoreHealth {
    return this.#seen;
  }

  async look(): Promise<StoreHealth> {
    this.#seen = await storeHealth(this.#client, this.#allowEviction);
    return this.#seen;
  }

  /** Why no requests should come here; undefined: it is fit. */
  async unready(): Promise<string | undefined> {
    const { outage, refusals } = await this.look();
    return outage ?? (refusals.length > 0 ? refusals.join('; ') : undefined);
  }
}

export async function storeHealth(client: RedisClient, allowEviction: boolean): Promise<StoreHealth> {
  const masters = await redisFitness(client, { allowEviction });
  if (masters instanceof StoreUnavailable)
    return { faults: new Set(), refusals: [], warnings: [], outage: masters.message };
  return {
    faults: new Set(masters.flatMap(({ refusals, warnings }) => [...refusals, ...warnings])),
    refusals: textsOf(masters.flatMap(({ refusals }) => refusals)),
    warnings: textsOf(masters.flatMap(({ warnings }) => warnings)),
  };
}

function textsOf(faults: readonly RedisFault[]): string[] {
  return [...new Set(faults)].map((fault) => faultTexts[fault]);
}
