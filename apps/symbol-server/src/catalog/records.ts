// Reading and changing what stands under an ID. Changes are made by compare-and-set: read (from this process' cache if
// it is there), decide in TypeScript, swap only if nothing changed meanwhile, else decide again on what is there now.
// So there is one merge rule, and a cached entry that is stale costs a round, never a lost write.
import { type EpochSample, type Store, StoreUnavailable, type Swap, type TieredCache } from '@symkeep/cache';
import { type EventKind, type ExecutableId, encode, type SymkeepEvent } from '@symkeep/protocol';
import { Alias, type Entry, readEntry, Tombstone } from './entry.ts';
import { recordAt } from './keys.ts';
import { memberOf } from './search.ts';
import { StoredRecord } from './stored-record.ts';

/** Rounds of compare-and-set before a writer gives up: merges converge, so each round leaves fewer rivals. */
const roundsMax = 16;

export type EntryCache = TieredCache<ExecutableId, Entry>;

export interface Change {
  readonly id: ExecutableId;
  /** What should stand there, given what does; null to leave it. Called again after each lost swap. */
  next(current: Entry | null): Next | null;
}

/** What should stand under an ID, and what becomes of the tables that it, or what was there before, names. */
export interface Next extends Pick<Swap, 'keep' | 'leave'> {
  readonly entry: Entry;
  readonly event?: EventKind;
  /** Says in the event that its symbols are missed: whoever has a file of it may be asked now. */
  readonly wanted?: true;
}

export interface Changed {
  readonly before: Entry | null;
  readonly after: Entry | null;
}

export class Records {
  readonly #store: Store;
  readonly #cache: EntryCache;

  constructor(store: Store, cache: EntryCache) {
    this.#store = store;
    this.#cache = cache;
  }

  read(ids: readonly ExecutableId[]): Promise<(Entry | null | StoreUnavailable)[]> {
    return this.#cache.getMany(ids);
  }

  /**
   * Applies changes of distinct IDs, each on its own. Results in order. What the swaps say of the epoch goes to `sample`,
   * which is to be asked before anything is acknowledged.
   */
  async change(changes: readonly Change[], sample: EpochSample): Promise<(Changed | StoreUnavailable)[]> {
    const results: (Changed | StoreUnavailable)[] = [];
    const found = await this.read(changes.map(({ id }) => id));
    let open = found.map((current, index) => ({ index, current }));
    for (let round = 0; open.length > 0; round++) {
      if (round === roundsMax) {
        for (const { index } of open)
          results[index] = new StoreUnavailable('contended', 'too many writers at once');
        break;
      }
      open = await this.#round(changes, open, results, sample);
    }
    return results;
  }

  async #round(
    changes: readonly Change[],
    open: readonly { index: number; current: Entry | null | StoreUnavailable }[],
    results: (Changed | StoreUnavailable)[],
    sample: EpochSample,
  ): Promise<{ index: number; current: Entry | null }[]> {
    const writes: { index: number; before: Entry | null; after: Entry; swap: Swap }[] = [];
    for (const { index, current } of open) {
      if (current instanceof StoreUnavailable) {
        results[index] = current;
        continue;
      }
      const change = changes[index]!;
      const next = change.next(current);
      if (next === null) results[index] = { before: current, after: current };
      else writes.push({ index, before: current, after: next.entry, swap: swapOf(change.id, current, next) });
    }
    if (writes.length === 0) return [];
    const swapped = await this.#store.swap(writes.map(({ swap }) => swap));
    return writes.flatMap(({ index, before, after, swap }, at) => {
      const outcome = swapped[at]!;
      // Before anything is acknowledged: a reader of this process must not see what was there before.
      this.#cache.invalidate(changes[index]!.id);
      if (outcome instanceof StoreUnavailable) results[index] = outcome;
      else {
        sample.confirm(swap.at.shard, outcome.epoch);
        if (!outcome.swapped)
          return [{ index, current: outcome.current === null ? null : readEntry(outcome.current) }];
        results[index] = { before, after };
      }
      return [];
    });
  }
}

function swapOf(id: ExecutableId, current: Entry | null, next: Next): Swap {
  const { entry, event, wanted, keep, leave } = next;
  const index = indexChange(current, entry);
  return {
    at: recordAt(id),
    expected: current === null ? null : current.wire,
    value: entry.wire,
    ...(event === undefined ? {} : { event: encode(eventOf(id, entry, event, wanted), 'msgpack') }),
    ...(index === undefined ? {} : { index }),
    ...(keep === undefined ? {} : { keep }),
    ...(leave === undefined ? {} : { leave }),
  };
}

function eventOf(id: ExecutableId, entry: Entry, kind: EventKind, wanted?: true): SymkeepEvent {
  return { id, generation: generationOf(entry), kind, ...(wanted === undefined ? {} : { wanted }) };
}

function indexChange(current: Entry | null, entry: Entry): Swap['index'] | undefined {
  const before = current instanceof StoredRecord ? memberOf(current.record) : undefined;
  const after = entry instanceof StoredRecord ? memberOf(entry.record) : undefined;
  if (before === after) return undefined;
  return { add: after === undefined ? [] : [after], remove: before === undefined ? [] : [before] };
}

function generationOf(entry: Entry): number {
  if (entry instanceof Tombstone) return entry.at;
  return entry instanceof Alias ? 0 : entry.record.generation;
}
