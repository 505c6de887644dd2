// The sets of sources in the store, changed by compare-and-set: read, decide in TypeScript, swap only if nothing changed
// meanwhile, else decide again on what is there now. They are read at uploads and by jobs alone, so nothing caches them.
import { type EpochSample, type Store, StoreUnavailable } from '@symkeep/cache';
import { decode, type ExecutableId, encode } from '@symkeep/protocol';
import { sourcesAt } from '../catalog/keys.ts';
import { emptySet, type Source, type SourceSet, withSource } from './source-set.ts';

/** Rounds of compare-and-set before a writer gives up: each round one of the rivals has won. */
const roundsMax = 16;

/** The same object twice: nothing changed. */
export interface SetChange {
  readonly before: SourceSet;
  readonly after: SourceSet;
}

export class Sources {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** The set of an executable, by its canonical ID; `emptySet` if nothing ever came for it. */
  async read(id: ExecutableId): Promise<SourceSet | StoreUnavailable> {
    const [set] = await this.readMany([id]);
    return set!;
  }

  /** Sets in the order of the IDs. */
  async readMany(ids: readonly ExecutableId[]): Promise<(SourceSet | StoreUnavailable)[]> {
    const read = await this.#store.get(ids.map(sourcesAt));
    return read.map((bytes) => (bytes instanceof StoreUnavailable ? bytes : setOf(bytes)));
  }

  /** Adds a file that came, with the store's time as its `at`. Repeating it changes nothing. */
  add(
    id: ExecutableId,
    source: Omit<Source, 'at'>,
    sample: EpochSample,
  ): Promise<SetChange | StoreUnavailable> {
    return this.change(id, (set, now) => withSource(set, { ...source, at: now }, now), sample);
  }

  /**
   * Changes a set. `next` is given the set and the store's time in Unix milliseconds, returns the same set to leave it,
   * and is called again after each lost swap. What it throws comes back. A changed set without a greater `version` is
   * one whose sources are the same: no table has to follow.
   */
  async change(
    id: ExecutableId,
    next: (set: SourceSet, now: number) => SourceSet,
    sample: EpochSample,
  ): Promise<SetChange | StoreUnavailable> {
    const at = sourcesAt(id);
    const [now, [read]] = await Promise.all([this.#store.now(), this.#store.get([at])]);
    if (now instanceof StoreUnavailable) return now;
    if (read instanceof StoreUnavailable) return read;
    // Copied: a read may be a part of the client's receive buffer, which the next reply overwrites.
    let expected: Uint8Array | null = read === null ? null : new Uint8Array(read!);
    for (let round = 0; round < roundsMax; round++) {
      const before = setOf(expected);
      const after = next(before, now);
      if (after === before) return { before, after };
      const [outcome] = await this.#store.swap([{ at, expected, value: encode(after, 'msgpack') }]);
      if (outcome instanceof StoreUnavailable) return outcome;
      sample.confirm(at.shard, outcome!.epoch);
      if (outcome!.swapped) return { before, after };
      expected = outcome!.current;
    }
    return new StoreUnavailable('contended', 'too many writers at once');
  }
}

// What this process or its like encoded; the version of the format is part of the key.
function setOf(bytes: Uint8Array | null): SourceSet {
  return bytes === null ? emptySet : (decode(bytes, 'msgpack') as SourceSet);
}
