// The store's epoch: a text that changes whenever the store may have lost something, compared for equality
// only.
//
// Each shard holds its part of it: random bits, and the identity of the node that they were made for. A part
// that is missing (flushed, restored to before it) or made for another identity (restarted, failed over,
// evicting) is replaced, by compare-and-set, so that any number of servers agree on one. The epoch is a hash
// of all parts.
import { createHash, randomBytes } from 'node:crypto';
import { type Store, type StoreNode, StoreUnavailable, shardCount } from './store.ts';

const randomBytesLength = 16;
/** Bytes of the hash that are kept: as many as the random bits, and half again against chance. */
const hashLength = 24;
/** Each round settles all shards unless other servers interfere, and these want the same. */
const roundsMax = 4;

export interface EpochOptions {
  /** 128 random bits as text without spaces. */
  readonly random?: () => string;
}

/** How a reply keeps to one epoch: taken before its first store access, asked before it is sent. */
export interface EpochSample {
  readonly epoch: string;
  /** Notes the shard's part that a swap of this reply returned. */
  confirm(shard: number, part: string | null): void;
  /** Not null if the store may have lost something since the sample: answer this instead. */
  outage(): StoreUnavailable | null;
}

export class Epoch {
  readonly #store: Store;
  readonly #random: () => string;
  readonly #listeners = new Set<(epoch: string) => void>();
  #parts: readonly string[] = [];
  #current: string | undefined;
  #checking: Promise<string | StoreUnavailable> | undefined;
  readonly counts = { checks: 0, outages: 0, partsMade: 0, changes: 0 };

  constructor(
    store: Store,
    { random = () => randomBytes(randomBytesLength).toString('base64url') }: EpochOptions = {},
  ) {
    this.#store = store;
    this.#random = random;
  }

  /** 32 characters; undefined until the store has once been seen. */
  get current(): string | undefined {
    return this.#current;
  }

  /** Calls back at each change of a known epoch, before `check` resolves. Returns what ends it. */
  onChange(listener: (epoch: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Compares nodes and parts, mends the parts, and adopts the epoch. To be run each second and on every
   * reconnect.
   */
  check(): Promise<string | StoreUnavailable> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  sample(): EpochSample | StoreUnavailable {
    const epoch = this.#current;
    if (epoch === undefined) return new StoreUnavailable('unreachable', 'the store has not been seen yet');
    let changed = false;
    return {
      epoch,
      confirm: (shard, part) => {
        if (this.#parts[shard] === part) return;
        changed = true;
        void this.check();
      },
      outage: () => {
        if (!changed && this.#current === epoch) return null;
        return new StoreUnavailable('epoch_changed', 'the store may have lost something while it was asked');
      },
    };
  }

  async #check(): Promise<string | StoreUnavailable> {
    this.counts.checks++;
    const settled = await this.#settle();
    if (settled instanceof StoreUnavailable) this.counts.outages++;
    return settled;
  }

  async #settle(): Promise<string | StoreUnavailable> {
    for (let round = 0; round < roundsMax; round++) {
      // The nodes first: parts read after them can only be newer than the identity they are compared with.
      const nodes = await this.#store.nodes();
      if (nodes instanceof StoreUnavailable) return nodes;
      const parts = await this.#store.epochs();
      if (parts instanceof StoreUnavailable) return parts;
      const identities = identityOfEach(nodes);
      const stale = identities.flatMap((identity, shard) =>
        isMadeFor(parts[shard]!, identity) ? [] : [shard],
      );
      if (stale.length === 0) return this.#adopt(parts as readonly string[]);
      const outage = await this.#replace(stale, parts, identities);
      if (outage !== undefined) return outage;
    }
    return new StoreUnavailable('epoch_changed', `the epoch did not settle in ${roundsMax} rounds`);
  }

  /** A lost race is no failure: the next round reads what the winner made. */
  async #replace(
    shards: readonly number[],
    parts: readonly (string | null)[],
    identities: readonly string[],
  ): Promise<StoreUnavailable | undefined> {
    const made = await Promise.all(
      shards.map((shard) =>
        this.#store.swapEpoch(shard, parts[shard]!, `${this.#random()} ${identities[shard]}`),
      ),
    );
    this.counts.partsMade += made.filter((won) => won === true).length;
    return made.find((won) => won instanceof StoreUnavailable);
  }

  #adopt(parts: readonly string[]): string {
    const epoch = createHash('sha256')
      .update(parts.join('\n'))
      .digest()
      .subarray(0, hashLength)
      .toString('base64url');
    const previous = this.#current;
    this.#parts = parts;
    this.#current = epoch;
    if (previous === undefined || previous === epoch) return epoch;
    this.counts.changes++;
    for (const listener of [...this.#listeners]) listener(epoch);
    return epoch;
  }
}

function identityOfEach(nodes: readonly StoreNode[]): readonly string[] {
  const identities = new Array<string>(shardCount).fill('');
  for (const { identity, shards } of nodes) for (const shard of shards) identities[shard] = identity;
  return identities;
}

function isMadeFor(part: string | null | undefined, identity: string): boolean {
  return part?.slice(part.indexOf(' ') + 1) === identity;
}
