// Erasing an executable: a tombstone in the place of its record, which no report undoes, and nothing left of it in the
// store. What belongs to it goes before and after the tombstone is set: before, so that whoever dies in between
// leaves a record by which to try again; after, because reports and jobs may have written meanwhile.
import { type EpochSample, type Store, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, htlhashId } from '@symkeep/protocol';
import type { Sources } from '../sources/sources.ts';
import type { Demand } from './demand.ts';
import { type Executables, unavailable } from './executables.ts';
import { allFramesAt, sourcesAt, tableAt, uploadLeaseAt, upstreamAbsencesAt } from './keys.ts';
import { StoredRecord } from './stored-record.ts';

export interface Erased {
  /** Every ID that has a tombstone now: those of an ambiguous ID's files too. */
  readonly ids: readonly ExecutableId[];
  /** Those of them that had none before. */
  readonly erased: readonly ExecutableId[];
}

export class Erasure {
  readonly #store: Store;
  readonly #executables: Executables;
  readonly #sources: Sources;
  readonly #demand: Demand;

  constructor(store: Store, executables: Executables, sources: Sources, demand: Demand) {
    this.#store = store;
    this.#executables = executables;
    this.#sources = sources;
    this.#demand = demand;
  }

  /**
   * Erases what is known under an ID. Null if nothing is. Again on what was erased: clears what writers on their way had
   * left. Throws `unavailable`; then it is to be tried again.
   */
  async erase(id: ExecutableId, sample: EpochSample): Promise<Erased | null> {
    const found = await this.#executables.refresh(id);
    if (found === 'unavailable') throw unavailable(new StoreUnavailable('unreachable', 'the store is away'));
    if (found === 'not_found') return null;
    const ids = found instanceof StoredRecord ? idsOf(found) : [id];
    const digests = found instanceof StoredRecord ? [found.record.symbols.digest] : [];
    await this.#clear(ids, digests);
    const buried = await this.#executables.bury(id, sample);
    await this.#clear(ids, digests);
    return { ids, erased: buried.map((record) => record.id) };
  }

  async #clear(ids: readonly ExecutableId[], digests: readonly (string | undefined)[]): Promise<void> {
    for (const id of ids) {
      const set = await this.#sources.read(id);
      if (set instanceof StoreUnavailable) throw unavailable(set);
      const tables = [...set.tables.map(({ digest }) => digest), ...digests].filter(
        (digest) => digest !== undefined,
      );
      // The set last: it is what names the tables.
      const keys = [
        ...tables.map((digest) => tableAt(id, digest)),
        allFramesAt(id),
        upstreamAbsencesAt(id),
        uploadLeaseAt(id),
        sourcesAt(id),
      ];
      const outage = (await this.#store.drop(keys)) ?? (await this.#demand.satisfied([id]));
      if (outage !== undefined) throw unavailable(outage);
    }
  }
}

function idsOf({ record }: StoredRecord): ExecutableId[] {
  return record.ambiguous ? [record.id, ...record.ids.htlhash.map(htlhashId)] : [record.id];
}
