// What lies behind the caches: values for ever, written by compare-and-set, with an event published in the
// same step. It knows nothing of executables. Everything of one thing lives in one shard, since one step may
// touch one shard only; a shard is a hash slot, so the same code runs on one Redis, behind Sentinel, and on a
// Cluster.
//
// An outage is a value, never an absence: whatever could not be asked answers `StoreUnavailable`, per item,
// because in a Cluster one master can be away while the others serve.

/**
 * Shards of every store: enough to spread over a large Cluster, few enough to poll each one's epoch and
 * events.
 */
export const shardCount = 64;

/** Where a value is: a key of a shard, or one field of a key that holds many. */
export interface StoreKey {
  readonly shard: number;
  readonly key: string;
  readonly field?: string;
}

/**
 * The store did not answer, refused (`store_full`, `wrong_role`), may have lost something meanwhile
 * (`epoch_changed`), or was not even asked because too much waits for it (`overloaded`); or too many writers
 * kept changing a value (`contended`), or what is there cannot be read (`damaged`). Ask again later; never
 * cache it.
 */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
  readonly reason:
    | 'unreachable'
    | 'store_full'
    | 'wrong_role'
    | 'epoch_changed'
    | 'contended'
    | 'overloaded'
    | 'damaged';
  constructor(reason: StoreUnavailable['reason'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

/** Bytes, null for nothing there, or the outage. */
export type Read = Uint8Array | null | StoreUnavailable;

/** One compare-and-set. Value, event and index change in one step or not at all. */
export interface Swap {
  readonly at: StoreKey;
  /** What must be there: the bytes as they were read, or null for nothing. */
  readonly expected: Uint8Array | null;
  /** What is there afterwards; null removes it. */
  readonly value: Uint8Array | null;
  /** Appended to the shard's event log if the swap happens. */
  readonly event?: Uint8Array;
  /** Members added to and removed from the shard's ordered index if the swap happens. */
  readonly index?: { readonly add: readonly string[]; readonly remove: readonly string[] };
  /** If the swap happens, this key of the shard stays for good, whatever was said before. */
  readonly keep?: string;
  /**
   * If the swap happens, this key of the shard goes by itself after `ms`, unless it is kept before. For what nothing refers
   * to yet, or any more: a fact that is referred to has no lifetime.
   */
  readonly leave?: { readonly key: string; readonly ms: number };
}

/**
 * `epoch` is the shard's epoch value, read in the same step; null if it is missing: the store has lost
 * something.
 */
export type Swapped =
  | { readonly swapped: true; readonly epoch: string | null }
  | { readonly swapped: false; readonly current: Uint8Array | null; readonly epoch: string | null };

/** Something that counts: a member of one of a shard's rankings. */
export interface RankingMember {
  readonly shard: number;
  readonly ranking: string;
  readonly member: string;
}
export interface Ranked {
  readonly member: string;
  readonly score: number;
}

/** One entry of a shard's event log. Sequence numbers of a shard are contiguous from 1. */
export interface StoreEvent {
  readonly shard: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** Position in the event logs: the last sequence number seen of each shard. */
export type EventCursor = readonly number[];

export interface EventPage {
  readonly events: readonly StoreEvent[];
  readonly cursor: EventCursor;
  /**
   * Entries after the asked cursor are gone (trimmed, or a log went back): what they said is unknown. Such a
   * page has no events, and its cursor is the end of the logs as it was before the answer: drop what is
   * cached, then read on.
   */
  readonly reset: boolean;
  /** Some shards could not be read: their part of the cursor stands where it was. Null if all were. */
  readonly outage: StoreUnavailable | null;
}

/** A server process behind some shards. Its identity changes whenever it may have lost something. */
export interface StoreNode {
  readonly identity: string;
  readonly shards: readonly number[];
}

export interface Store {
  /**
   * Reads in one round trip per node. Results in order. Bytes may be a view of a larger buffer: copy what is
   * kept.
   */
  get(keys: readonly StoreKey[]): Promise<Read[]>;
  /**
   * Each swap is atomic in itself; they are independent of each other. One round trip per node. Results in
   * order.
   */
  swap(swaps: readonly Swap[]): Promise<(Swapped | StoreUnavailable)[]>;
  /** Removes keys whole, with all fields that they hold. */
  drop(
    keys: readonly { readonly shard: number; readonly key: string }[],
  ): Promise<StoreUnavailable | undefined>;
  /** How long ago each key that holds many was last read or written, seconds, as the store knows it; null for none. */
  idleSeconds(
    keys: readonly { readonly shard: number; readonly key: string }[],
  ): Promise<(number | null | StoreUnavailable)[]>;
  /** The fields of a key that holds many, in no order. */
  listFields(at: {
    readonly shard: number;
    readonly key: string;
  }): Promise<readonly string[] | StoreUnavailable>;
  /** Number of fields of a key that holds many. */
  countFields(at: { readonly shard: number; readonly key: string }): Promise<number | StoreUnavailable>;
  /**
   * Members of a shard's ordered index after `after` (exclusive; "" from the start), in code unit order of
   * UTF-8.
   */
  scanIndex(shard: number, after: string, limit: number): Promise<readonly string[] | StoreUnavailable>;
  /**
   * Adds to scores; answers the new ones, in order. A ranking that holds `membersMax` gives the place of its lowest member
   * to a new one, which takes over that score (Space-Saving, Metwally et al. 2005): so a newcomer can rise, and a score is
   * too high by no more than the lowest, never too low.
   */
  raise(
    rises: readonly (RankingMember & { readonly by: number })[],
    membersMax: number,
  ): Promise<(number | StoreUnavailable)[]>;
  /** The highest members of a ranking, highest first. */
  highest(shard: number, ranking: string, limit: number): Promise<readonly Ranked[] | StoreUnavailable>;
  /** Null for what is not in its ranking. */
  scores(members: readonly RankingMember[]): Promise<(number | null | StoreUnavailable)[]>;
  withdraw(members: readonly RankingMember[]): Promise<StoreUnavailable | undefined>;
  /** The store's own clock, Unix milliseconds. */
  now(): Promise<number | StoreUnavailable>;

  /** The end of every shard's event log. */
  eventTail(): Promise<EventCursor | StoreUnavailable>;
  /** Events after a cursor, at most `limit`, in order within each shard. */
  readEvents(cursor: EventCursor, limit: number): Promise<EventPage | StoreUnavailable>;
  /** Resolves when some shard has events after the cursor, or after `waitMs`, or when aborted. */
  waitForEvents(
    cursor: EventCursor,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<StoreUnavailable | undefined>;

  /**
   * The nodes and which shards each serves. Throws nothing: an unreachable node makes the answer an outage.
   */
  nodes(): Promise<readonly StoreNode[] | StoreUnavailable>;
  /** Each shard's epoch value, null where missing. */
  epochs(): Promise<readonly (string | null)[] | StoreUnavailable>;
  /** Sets a shard's epoch value if it is still `expected`. True if it is now `value`. */
  swapEpoch(shard: number, expected: string | null, value: string): Promise<boolean | StoreUnavailable>;
  close(): Promise<void>;
}
