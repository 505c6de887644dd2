// The store in memory: a real implementation, for tests and simulations. Time comes from the clock, nothing
// from chance. Its levers are what can happen to a store in operation: a restart, a flush, a backup restored,
// a failover, an outage.
import type { Clock } from './clock.ts';
import { MemoryShard, type ShardImage, type Undo } from './memory-shard.ts';
import {
  type EventCursor,
  type EventPage,
  type Ranked,
  type RankingMember,
  type Read,
  type Store,
  type StoreEvent,
  type StoreKey,
  type StoreNode,
  StoreUnavailable,
  type Swap,
  type Swapped,
  shardCount,
} from './store.ts';

const eventsKeptDefault = 4_096;
/** How long a failover may reach back, unless told otherwise: changes are kept that long to be undone. */
const failoverMsMaxDefault = 10_000;

export interface MemoryStoreOptions {
  readonly clock: Clock;
  /** Nodes that share the shards, in ranges of equal length. */
  readonly nodes?: number;
  /** Part of every node's identity: two stores are told apart by it. */
  readonly name?: string;
  /** Events kept per shard, at least; at most twice as many. */
  readonly eventsKept?: number;
  readonly failoverMsMax?: number;
}

/** All that a store held at one time. */
export type StoreImage = readonly ShardImage[];

interface Node {
  readonly shards: readonly number[];
  process: number;
  history: number;
  outage: StoreUnavailable['reason'] | null;
  full: boolean;
  /** What undoes each change of the last `failoverMsMax`, oldest first. */
  changes: { readonly at: number; readonly undo: readonly Undo[] }[];
}

export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #name: string;
  readonly #eventsKept: number;
  readonly #failoverMsMax: number;
  readonly #nodes: readonly Node[];
  readonly #shards: MemoryShard[] = Array.from({ length: shardCount }, () => new MemoryShard());
  readonly #waiting = new Set<() => void>();
  /** When keys that hold many were used last, by the monotonic clock. */
  readonly #used = new Map<string, number>();

  constructor(options: MemoryStoreOptions) {
    const { nodes = 1, name = 'memory' } = options;
    if (!(nodes >= 1 && nodes <= shardCount))
      throw new RangeError(`nodes ${nodes} is not 1 to ${shardCount}`);
    this.#clock = options.clock;
    this.#name = name;
    this.#eventsKept = options.eventsKept ?? eventsKeptDefault;
    this.#failoverMsMax = options.failoverMsMax ?? failoverMsMaxDefault;
    const shards = Array.from({ length: shardCount }, (_, shard) => shard);
    this.#nodes = Array.from({ length: nodes }, (_, node) => ({
      shards: shards.filter((shard) => Math.floor((shard * nodes) / shardCount) === node),
      process: 1,
      history: 1,
      outage: null,
      full: false,
      changes: [],
    }));
  }

  async get(keys: readonly StoreKey[]): Promise<Read[]> {
    for (const at of keys) this.#use(at);
    return keys.map((at) => this.#outage(at.shard) ?? this.#shardNow(at.shard).read(at)?.slice() ?? null);
  }

  async swap(swaps: readonly Swap[]): Promise<(Swapped | StoreUnavailable)[]> {
    const outcomes = swaps.map((swap) => this.#swap(swap));
    if (swaps.some(({ event }) => event !== undefined)) this.#wake();
    return outcomes;
  }

  /** A shard without what has left by now. */
  #shardNow(shard: number): MemoryShard {
    const held = this.#shards[shard]!;
    held.expire(this.#clock.now());
    return held;
  }

  #swap(swap: Swap): Swapped | StoreUnavailable {
    this.#use(swap.at);
    const refusal = this.#outage(swap.at.shard) ?? this.#refusal(swap.at.shard);
    if (refusal !== null) return refusal;
    const { outcome, undo } = this.#shardNow(swap.at.shard).swap(swap, this.#eventsKept, this.#clock.now());
    if (undo.length > 0) this.#changed(this.#nodeOf(swap.at.shard), undo);
    return outcome;
  }

  async drop(
    keys: readonly { readonly shard: number; readonly key: string }[],
  ): Promise<StoreUnavailable | undefined> {
    for (const { shard, key } of keys) {
      const refusal = this.#outage(shard) ?? this.#refusal(shard);
      if (refusal !== null) return refusal;
      this.#changed(this.#nodeOf(shard), [this.#shards[shard]!.drop(key)]);
    }
    return undefined;
  }

  async idleSeconds(
    keys: readonly { readonly shard: number; readonly key: string }[],
  ): Promise<(number | null | StoreUnavailable)[]> {
    return keys.map(({ shard, key }) => {
      const outage = this.#outage(shard);
      if (outage !== null) return outage;
      if (this.#shardNow(shard).countFields(key) === 0) return null;
      return Math.floor((this.#clock.now() - (this.#used.get(`${shard} ${key}`) ?? 0)) / 1_000);
    });
  }

  #use({ shard, key, field }: StoreKey): void {
    if (field !== undefined) this.#used.set(`${shard} ${key}`, this.#clock.now());
  }

  async listFields({
    shard,
    key,
  }: {
    readonly shard: number;
    readonly key: string;
  }): Promise<readonly string[] | StoreUnavailable> {
    return this.#outage(shard) ?? this.#shards[shard]!.listFields(key);
  }

  async countFields({
    shard,
    key,
  }: {
    readonly shard: number;
    readonly key: string;
  }): Promise<number | StoreUnavailable> {
    return this.#outage(shard) ?? this.#shardNow(shard).countFields(key);
  }

  async scanIndex(
    shard: number,
    after: string,
    limit: number,
  ): Promise<readonly string[] | StoreUnavailable> {
    return this.#outage(shard) ?? this.#shards[shard]!.scan(after, limit);
  }

  async raise(
    rises: readonly (RankingMember & { readonly by: number })[],
    membersMax: number,
  ): Promise<(number | StoreUnavailable)[]> {
    return rises.map(({ shard, ranking, member, by }) => {
      const refusal = this.#outage(shard) ?? this.#refusal(shard);
      if (refusal !== null) return refusal;
      const { score, undo } = this.#shards[shard]!.raise(ranking, member, by, membersMax);
      this.#changed(this.#nodeOf(shard), [undo]);
      return score;
    });
  }

  async highest(
    shard: number,
    ranking: string,
    limit: number,
  ): Promise<readonly Ranked[] | StoreUnavailable> {
    return this.#outage(shard) ?? this.#shards[shard]!.highest(ranking, limit);
  }

  async scores(members: readonly RankingMember[]): Promise<(number | null | StoreUnavailable)[]> {
    return members.map(
      ({ shard, ranking, member }) => this.#outage(shard) ?? this.#shards[shard]!.score(ranking, member),
    );
  }

  async withdraw(members: readonly RankingMember[]): Promise<StoreUnavailable | undefined> {
    for (const { shard, ranking, member } of members) {
      const refusal = this.#outage(shard) ?? this.#refusal(shard);
      if (refusal !== null) return refusal;
      this.#changed(this.#nodeOf(shard), [this.#shards[shard]!.withdraw(ranking, member)]);
    }
    return undefined;
  }

  async now(): Promise<number | StoreUnavailable> {
    if (this.#nodes.every(({ outage }) => outage !== null)) return this.#outage(0)!;
    return Math.floor(this.#clock.wall());
  }

  async eventTail(): Promise<EventCursor | StoreUnavailable> {
    return this.#anyOutage() ?? this.#shards.map((shard) => shard.tail);
  }

  async readEvents(cursor: EventCursor, limit: number): Promise<EventPage | StoreUnavailable> {
    const outage = this.#anyOutage();
    if (outage !== null && this.#nodes.every((node) => node.outage !== null)) return outage;
    const events: StoreEvent[] = [];
    const next = [...cursor];
    for (const shard of this.#servedShards()) {
      const from = cursor[shard]!;
      const payloads = this.#shards[shard]!.eventsAfter(from, limit - events.length);
      if (payloads === null) return { events: [], cursor: this.#ends(cursor), reset: true, outage };
      for (const [i, payload] of payloads.entries())
        events.push({ shard, sequence: from + 1 + i, payload: payload.slice() });
      next[shard] = from + payloads.length;
    }
    return { events, cursor: next, reset: false, outage };
  }

  async waitForEvents(
    cursor: EventCursor,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<StoreUnavailable | undefined> {
    const outage = this.#anyOutage();
    if (outage !== null && this.#nodes.every((node) => node.outage !== null)) return outage;
    if (signal?.aborted || waitMs <= 0 || this.#hasEventsAfter(cursor)) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        cancel();
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const wake = (): void => {
        if (this.#hasEventsAfter(cursor)) end();
      };
      const cancel = this.#clock.setTimer(waitMs, end);
      this.#waiting.add(wake);
      signal?.addEventListener('abort', end, { once: true });
    });
  }

  async nodes(): Promise<readonly StoreNode[] | StoreUnavailable> {
    const identity = (node: Node, i: number): string => `${this.#name}-${i}.${node.process}.${node.history}`;
    return (
      this.#anyOutage() ??
      this.#nodes.map((node, i) => ({ identity: identity(node, i), shards: node.shards }))
    );
  }

  async epochs(): Promise<readonly (string | null)[] | StoreUnavailable> {
    return this.#anyOutage() ?? this.#shards.map((shard) => shard.epoch);
  }

  async swapEpoch(
    shard: number,
    expected: string | null,
    value: string,
  ): Promise<boolean | StoreUnavailable> {
    const refusal = this.#outage(shard) ?? this.#refusal(shard);
    if (refusal !== null) return refusal;
    const held = this.#shards[shard]!;
    const { epoch } = held;
    if (epoch !== expected) return epoch === value;
    held.epoch = value;
    this.#changed(this.#nodeOf(shard), [() => (held.epoch = epoch)]);
    return true;
  }

  async close(): Promise<void> {}

  // What can happen to a store in operation.

  /** A backup: all that is held now. */
  snapshot(): StoreImage {
    return this.#shards.map((shard) => shard.image());
  }

  /** Every node starts anew on a backup. */
  restore(image: StoreImage): void {
    for (const [shard, held] of image.entries()) this.#shards[shard] = new MemoryShard(held);
    for (const i of this.#nodes.keys()) this.restart(i);
  }

  /** Everything of some shards is gone, their epoch too; the nodes live on and do not tell. */
  flush(shards: Iterable<number> = this.#shards.keys()): void {
    for (const shard of [...shards]) {
      this.#shards[shard] = new MemoryShard();
      this.#nodeOf(shard).changes = [];
    }
  }

  /** A node's process starts anew and finds its data again. */
  restart(node: number): void {
    const restarted = this.#nodes[node]!;
    restarted.process++;
    restarted.history++;
    restarted.changes = [];
    restarted.outage = null;
  }

  /**
   * A replica takes over that lacks the node's changes of the last `loseMs`. The process may be one that led
   * before.
   */
  failover(node: number, loseMs: number): void {
    if (loseMs > this.#failoverMsMax)
      throw new RangeError(`loseMs ${loseMs} is above failoverMsMax ${this.#failoverMsMax}`);
    const led = this.#nodes[node]!;
    const since = this.#clock.now() - loseMs;
    for (const { at, undo } of led.changes.reverse()) if (at > since) for (const step of undo) step();
    led.changes = [];
    led.history++;
  }

  down(node: number, reason: StoreUnavailable['reason'] = 'unreachable'): void {
    this.#nodes[node]!.outage = reason;
  }

  up(node: number): void {
    this.#nodes[node]!.outage = null;
  }

  /** A node that is full answers reads and refuses writes. */
  setFull(node: number, full: boolean): void {
    this.#nodes[node]!.full = full;
  }

  #nodeOf(shard: number): Node {
    return this.#nodes[Math.floor((shard * this.#nodes.length) / shardCount)]!;
  }

  #outage(shard: number): StoreUnavailable | null {
    const { outage } = this.#nodeOf(shard);
    return outage === null ? null : new StoreUnavailable(outage, `the node of shard ${shard} is away`);
  }

  #anyOutage(): StoreUnavailable | null {
    const away = this.#nodes.find(({ outage }) => outage !== null);
    return away === undefined ? null : this.#outage(away.shards[0]!);
  }

  #refusal(shard: number): StoreUnavailable | null {
    return this.#nodeOf(shard).full
      ? new StoreUnavailable('store_full', `the node of shard ${shard} is full`)
      : null;
  }

  #servedShards(): readonly number[] {
    return this.#nodes.flatMap((node) => (node.outage === null ? node.shards : []));
  }

  /** The ends of the logs that can be read; elsewhere the cursor stands. */
  #ends(cursor: EventCursor): EventCursor {
    const next = [...cursor];
    for (const shard of this.#servedShards()) next[shard] = this.#shards[shard]!.tail;
    return next;
  }

  #hasEventsAfter(cursor: EventCursor): boolean {
    return this.#servedShards().some((shard) => this.#shards[shard]!.tail > cursor[shard]!);
  }

  #changed(node: Node, undo: readonly Undo[]): void {
    const at = this.#clock.now();
    node.changes.push({ at, undo });
    // Dropping the old ones in steps keeps it cheap: half of the list at least, or none.
    const oldest = at - this.#failoverMsMax;
    const { changes } = node;
    if (changes.length < 64 || changes[changes.length >>> 1]!.at >= oldest) return;
    node.changes = changes.filter((change) => change.at >= oldest);
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
