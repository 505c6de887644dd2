// Fills a store from the blob store: every record with its aliases, agents' frames, sources and symbol tables, as the
// journal states them. What the store has already is joined, never overwritten, so it can run beside agents
// that report again, be interrupted, and be run twice.
import { type Clock, type EpochSample, type Store, type StoreKey, StoreUnavailable } from '@symkeep/cache';
import type { ExecutableId } from '@symkeep/protocol';
import type { BlobStore } from '../blobs/blob-store.ts';
import { tableKey } from '../blobs/blob-store.ts';
import type { Catalog } from '../catalog/index.ts';
import { framesAt, sourcesAt } from '../catalog/keys.ts';
import { StoredRecord } from '../catalog/stored-record.ts';
import type { TableBytes } from '../catalog/tables.ts';
import { erasedIds } from './erasures.ts';
import { joinSets, joinWindows } from './join-entries.ts';
import { type JournalEntry, joinedEntries, segmentKeys } from './journal.ts';

/** Executables restored at once. */
const batchMax = 100;
/** Rounds of compare-and-set on one value. */
const roundsMax = 16;
/** Longer than a server takes to see the flag. */
const flagSeenMs = 2_500;
/** The flag outlives a rebuild that was killed by this. */
const flagMs = 30_000;
const flagEveryMs = 10_000;

export interface RebuildDeps {
  readonly store: Store;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly onProgress: (progress: Rebuilt) => void;
}

export interface Rebuilt {
  readonly records: number;
  readonly frameWindows: number;
  readonly tables: number;
  readonly tombstones: number;
  /** Tables that their record names and the blob store has not. */
  readonly missingTables: number;
}

/** Throws `StoreUnavailable`, and what the blob store throws; then it is to be run again. */
export async function rebuild(deps: RebuildDeps): Promise<Rebuilt> {
  const { catalog, clock } = deps;
  const { rebuilding } = catalog;
  await rebuilding.raise(flagMs);
  const cancel = clock.setRepeating(flagEveryMs, () => void rebuilding.raise(flagMs).catch(() => undefined));
  try {
    await clock.sleep(flagSeenMs);
    return await new Rebuild(deps).run();
  } finally {
    cancel();
    await rebuilding.lower();
  }
}

class Rebuild {
  readonly #deps: RebuildDeps;
  readonly #done = { records: 0, frameWindows: 0, tables: 0, tombstones: 0, missingTables: 0 };

  constructor(deps: RebuildDeps) {
    this.#deps = deps;
  }

  async run(): Promise<Rebuilt> {
    const { blobs } = this.#deps;
    const erased = await erasedIds(blobs);
    await this.#bury([...erased.keys()]);
    let batch: JournalEntry[] = [];
    for await (const entry of joinedEntries(blobs, await segmentKeys(blobs))) {
      if (erased.has(entry.id)) continue;
      batch.push(entry);
      if (batch.length < batchMax) continue;
      await this.#restore(batch);
      batch = [];
    }
    await this.#restore(batch);
    return { ...this.#done };
  }

  async #bury(ids: readonly ExecutableId[]): Promise<void> {
    for (let from = 0; from < ids.length; from += batchMax) {
      const batch = ids.slice(from, from + batchMax);
      await this.#deps.catalog.executables.restoreTombstones(batch, this.#sample());
      this.#done.tombstones += batch.length;
    }
  }

  // The record last: whoever finds it finds what it speaks of.
  async #restore(entries: readonly JournalEntry[]): Promise<void> {
    const { catalog, onProgress } = this.#deps;
    for (const entry of entries) await this.#restoreTable(entry);
    await this.#restoreValues(entries);
    const records = entries.map(({ record }) => StoredRecord.read(record).record);
    await catalog.executables.restore(records, this.#sample());
    this.#done.records += records.length;
    onProgress({ ...this.#done });
  }

  async #restoreTable({ id, record }: JournalEntry): Promise<void> {
    const { digest, state } = StoredRecord.read(record).record.symbols;
    if (state !== 'ready' || digest === undefined) return;
    const { tables } = this.#deps.catalog;
    const isWhole = await tables.isWhole({ id, digest });
    if (isWhole instanceof StoreUnavailable) throw isWhole;
    if (isWhole) return;
    const key = tableKey(id, digest);
    if ((await this.#deps.blobs.info(key)) === null) {
      this.#done.missingTables++;
      return;
    }
    const outage = await tables.write({ id, digest }, tableBytes(this.#deps.blobs, key), this.#sample());
    if (outage !== undefined) throw outage;
    this.#done.tables++;
  }

  /** Agents' frames and sources, joined with what came meanwhile. */
  async #restoreValues(entries: readonly JournalEntry[]): Promise<void> {
    const { store } = this.#deps;
    let open = entries.flatMap(valuesOf);
    for (let round = 0; open.length > 0; round++) {
      if (round === roundsMax) throw new StoreUnavailable('contended', 'too many writers at once');
      const read = await store.get(open.map(({ at }) => at));
      const swaps = open.map(({ at, value, join }, index) => {
        const current = known(read[index]!);
        const expected = current === null ? null : new Uint8Array(current);
        return { at, expected, value: expected === null ? value : join(value, expected) };
      });
      const swapped = (await store.swap(swaps)).map(known);
      open = open.filter((_, index) => !swapped[index]!.swapped);
    }
    this.#done.frameWindows += entries.reduce((sum, { frames }) => sum + frames.length, 0);
  }

  #sample(): EpochSample {
    const sample = this.#deps.catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw sample;
    return sample;
  }
}

/** A value as the journal has it, and the rule by which it joins a later one. */
interface Value {
  readonly at: StoreKey;
  readonly value: Uint8Array;
  readonly join: (earlier: Uint8Array, later: Uint8Array) => Uint8Array;
}

function valuesOf({ id, frames, sources }: JournalEntry): Value[] {
  const windows = frames.map(([window, value]) => ({
    ...{ at: framesAt(id, BigInt(`0x${window}`)), value },
    join: joinWindows,
  }));
  return sources === null ? windows : [...windows, { at: sourcesAt(id), value: sources, join: joinSets }];
}

function known<T>(value: T | StoreUnavailable): T {
  if (value instanceof StoreUnavailable) throw value;
  return value;
}

/** The file form of an archived table, in ranges. */
function tableBytes(blobs: BlobStore, key: string): TableBytes {
  return async (start, end) => {
    const bytes = await blobs.read(key, { start, end });
    if (bytes === null) throw new Error(`${key} was removed while it was read`);
    return bytes;
  };
}
