// The backfills in the store, changed by compare-and-set, and which executables each could not do. Redis alone keeps them:
// they say who asked for what, and what came of it stands in records and sets.
//
//   {00}:backfills           hash: backfill ID → the backfill
//   {00}:backfill:<id>       hash: executable ID → why it failed
import { createHash, randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type EpochSample, type Store, type StoreKey, StoreUnavailable } from '@symkeep/cache';
import { decode, type ExecutableId, encode, SymkeepError } from '@symkeep/protocol';
import { type Backfill, type BackfillSpec, isOver, type Outcome, startedBackfill } from './backfill.ts';
import { Selection, type SelectionCatalog } from './selection.ts';

/** Kept, ended ones included: the oldest ended one gives way to a new one. */
export const backfillsMax = 100;
/** Failed ones of one backfill that are listed and can be tried again; more are counted only. */
const failuresMax = 100_000;
const messageLengthMax = 200;
const roundsMax = 16;
const shard = 0;
const listKey = 'backfills';
const idDigits = 16;

export interface Failure {
  readonly id: ExecutableId;
  readonly code: string;
  readonly message: string;
  /** Unix milliseconds by the store's clock. */
  readonly at: number;
}

export class Backfills {
  readonly #store: Store;
  readonly selection: Selection;

  constructor(store: Store, catalog: SelectionCatalog) {
    this.#store = store;
    this.selection = new Selection(store, catalog);
  }

  /**
   * Starts one. `key` makes the ID, so that who asks again with it gets the same one. Throws `conflict` for a key that was
   * used for another, and when too many are under way.
   */
  async start(
    spec: Omit<BackfillSpec, 'id'>,
    key: string | undefined,
    sample: EpochSample,
  ): Promise<Backfill> {
    const id = key === undefined ? randomBytes(idDigits / 2).toString('hex') : idOfKey(key);
    const now = known(await this.#store.now());
    const earlier = key === undefined ? undefined : await this.find(id);
    if (earlier !== undefined) return sameOr(earlier, spec);
    await this.#makeRoom();
    const backfill = startedBackfill({ ...spec, id }, now);
    const value = encode(backfill, 'msgpack');
    const [outcome] = await this.#store.swap([{ at: backfillAt(id), expected: null, value }]);
    const { swapped, epoch } = known(outcome!);
    sample.confirm(shard, epoch);
    return swapped ? backfill : sameOr(await this.get(id), spec);
  }

  async find(id: string): Promise<Backfill | undefined> {
    const [read] = await this.#store.get([backfillAt(id)]);
    const bytes = known(read!);
    return bytes === null ? undefined : (decode(bytes, 'msgpack') as Backfill);
  }

  /** Throws `not_found`. */
  async get(id: string): Promise<Backfill> {
    const found = await this.find(id);
    if (found === undefined) throw new SymkeepError('not_found', `there is no backfill ${id}`);
    return found;
  }

  /** Newest first. */
  async list(): Promise<Backfill[]> {
    const ids = known(await this.#store.listFields({ shard, key: listKey }));
    const reads = ids.length === 0 ? [] : await this.#store.get(ids.map(backfillAt));
    return reads
      .map(known)
      .flatMap((bytes) => (bytes === null ? [] : [decode(bytes, 'msgpack') as Backfill]))
      .sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
  }

  /** `next` is called again after each lost swap, and returns the same object to leave things as they are. */
  async change(id: string, next: (backfill: Backfill, now: number) => Backfill): Promise<Backfill> {
    const at = backfillAt(id);
    const now = known(await this.#store.now());
    const [read] = await this.#store.get([at]);
    let expected = copied(known(read!));
    for (let round = 0; round < roundsMax; round++) {
      if (expected === null) throw new SymkeepError('not_found', `there is no backfill ${id}`);
      const before = decode(expected, 'msgpack') as Backfill;
      const after = next(before, now);
      if (after === before) return before;
      const [outcome] = await this.#store.swap([{ at, expected, value: encode(after, 'msgpack') }]);
      const swapped = known(outcome!);
      if (swapped.swapped) return after;
      expected = copied(swapped.current);
    }
    throw new StoreUnavailable('contended', 'too many writers at once');
  }

  /** The failed ones after an ID, in the order of the IDs. */
  async failures(backfill: string, after: string, limit: number): Promise<Failure[]> {
    const ids = known(await this.#store.listFields(failuresAt(backfill)));
    const page = ids
      .filter((id) => id > after)
      .sort()
      .slice(0, limit) as ExecutableId[];
    const reads = page.length === 0 ? [] : await this.#store.get(page.map((id) => failureAt(backfill, id)));
    return reads.map(known).flatMap((bytes, index) => {
      if (bytes === null) return [];
      return [{ id: page[index]!, ...(decode(bytes, 'msgpack') as Omit<Failure, 'id'>) }];
    });
  }

  /** Notes which failed, and forgets those of them that did not; comes before their counts change. */
  async noteOutcomes(
    backfill: string,
    outcomes: ReadonlyMap<ExecutableId, Outcome>,
    now: number,
  ): Promise<void> {
    if (outcomes.size === 0) return;
    const count = known(await this.#store.countFields(failuresAt(backfill)));
    const hasFailed = [...outcomes.values()].some(({ kind }) => kind === 'failed');
    if (count === 0 && !hasFailed) return;
    const places = [...outcomes.keys()].map((id) => failureAt(backfill, id));
    const reads = await this.#store.get(places);
    const isFull = count >= failuresMax;
    const swaps = [...outcomes.values()].flatMap((outcome, index) => {
      const expected = copied(known(reads[index]!));
      const value = outcome.kind === 'failed' && !isFull ? failureBytes(outcome, now) : null;
      return expected === null && value === null ? [] : [{ at: places[index]!, expected, value }];
    });
    if (swaps.length > 0) for (const outcome of await this.#store.swap(swaps)) known(outcome);
  }

  async #makeRoom(): Promise<void> {
    const all = await this.list();
    if (all.length < backfillsMax) return;
    const oldest = all.findLast(isOver);
    if (oldest === undefined)
      throw new SymkeepError('conflict', `${backfillsMax} backfills are under way: cancel one first`);
    const at = backfillAt(oldest.id);
    const [read] = await this.#store.get([at]);
    const expected = copied(known(read!));
    const outage = await this.#store.drop([failuresAt(oldest.id)]);
    if (outage !== undefined) throw outage;
    const [outcome] = await this.#store.swap([{ at, expected, value: null }]);
    known(outcome!);
  }
}

function sameOr(backfill: Backfill, spec: Omit<BackfillSpec, 'id'>): Backfill {
  const { filter, source, priority, rate } = backfill;
  const { total: _, ...asked } = spec;
  if (isDeepStrictEqual({ filter, source, priority, rate }, asked)) return backfill;
  throw new SymkeepError('conflict', 'this idempotency-key was used for another backfill');
}

function idOfKey(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, idDigits);
}

function failureBytes({ code, message }: { code: string; message: string }, at: number): Uint8Array {
  return encode({ code, message: message.slice(0, messageLengthMax), at }, 'msgpack');
}

function backfillAt(id: string): StoreKey {
  return { shard, key: listKey, field: id };
}

function failuresAt(id: string): { shard: number; key: string } {
  return { shard, key: `backfill:${id}` };
}

function failureAt(backfill: string, id: ExecutableId): StoreKey {
  return { ...failuresAt(backfill), field: id };
}

// A read may be a part of the client's receive buffer, which the next reply overwrites.
function copied(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null ? null : new Uint8Array(bytes);
}

function known<T>(value: T | StoreUnavailable): T {
  if (value instanceof StoreUnavailable) throw value;
  return value;
}
