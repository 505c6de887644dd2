// What a record says of its symbols: `queued`, `running`, `ready` or `failed`, each by one compare-and-set. A state follows
// from a version of the executable's set of sources, and never replaces one that follows from a later version. A record
// that is `ready` stays so until there is another table: what is known goes on being served.
import { type EpochSample, type Store, StoreUnavailable } from '@symkeep/cache';
import {
  type ExecutableId,
  type ExecutableRecord,
  noSymbols,
  type SymbolsSummary,
  unseenRecordOf,
} from '@symkeep/protocol';
import { tableAt } from './keys.ts';
import type { Next, Records } from './records.ts';
import { StoredRecord } from './stored-record.ts';

/** The last table stays this long: for readers that have found the record, and have not read its pages yet. */
const lastTableMs = 600_000;

/** A table to be given out. */
export type TableSummary = Omit<SymbolsSummary, 'state' | 'setVersion'> & { readonly digest: string };

/** `kept`: what follows from a later set is there, and stays. `erased`: nothing of it is to be known any more. */
export interface Published {
  readonly status: 'published' | 'unchanged' | 'kept' | 'erased';
  readonly generation: number;
}

export class SymbolStates {
  readonly #store: Store;
  readonly #records: Records;

  constructor(store: Store, records: Records) {
    this.#store = store;
    this.#records = records;
  }

  /**
   * Makes the record if no agent has reported the executable yet: who brought a file of it has read it too. `reason`: why
   * it is tried again.
   */
  queued(
    id: ExecutableId,
    setVersion: number,
    sample: EpochSample,
    reason?: string,
  ): Promise<StoreUnavailable | undefined> {
    return this.#mark(id, (symbols) => working('queued', symbols, setVersion, reason), sample);
  }

  running(id: ExecutableId, setVersion: number, sample: EpochSample): Promise<StoreUnavailable | undefined> {
    return this.#mark(id, (symbols) => working('running', symbols, setVersion), sample);
  }

  /** There is no table, or no newer one, for a reason. */
  failed(
    id: ExecutableId,
    setVersion: number,
    reason: string,
    sample: EpochSample,
  ): Promise<StoreUnavailable | undefined> {
    const next = (symbols: SymbolsSummary): SymbolsSummary => {
      if ((symbols.setVersion ?? 0) > setVersion) return symbols;
      if (symbols.state === 'ready') return { ...symbols, reason };
      return { ...noSymbols, state: 'failed', reason, setVersion };
    };
    return this.#mark(id, next, sample);
  }

  /** No source is left, so nothing is known any more; the generation tells everyone. */
  async withdrawn(
    id: ExecutableId,
    setVersion: number,
    sample: EpochSample,
  ): Promise<StoreUnavailable | undefined> {
    const flipped = await this.#flip(id, setVersion, () => ({ ...noSymbols, setVersion }), sample);
    return flipped instanceof StoreUnavailable ? flipped : undefined;
  }

  /** Makes a table, of which every page is in the store, the executable's. */
  ready(
    id: ExecutableId,
    table: TableSummary,
    setVersion: number,
    sample: EpochSample,
  ): Promise<Published | StoreUnavailable> {
    return this.#flip(id, setVersion, () => ({ ...table, state: 'ready', setVersion }), sample);
  }

  async #flip(
    id: ExecutableId,
    setVersion: number,
    next: () => SymbolsSummary,
    sample: EpochSample,
  ): Promise<Published | StoreUnavailable> {
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) return now;
    const symbols = next();
    let status: Published['status'] = 'erased';
    const changed = await this.#change(id, sample, now, (record) => {
      const current = record.symbols;
      status = 'kept';
      if ((current.setVersion ?? 0) > setVersion) return null;
      status = current.digest === symbols.digest && current.state !== 'failed' ? 'unchanged' : 'published';
      const tables = tablesOf(id, current.digest, symbols.digest);
      // The table may have been written anew, where a part of it was lost: then it must be kept again.
      if (status === 'unchanged' && current.setVersion === setVersion && current.reason === symbols.reason)
        return symbols.digest === undefined ? null : { record, ...tables };
      const version = Math.max(record.version + 1, now);
      // The same table under another version of the set says nothing new.
      if (status === 'unchanged')
        return { record: { ...record, symbols, version }, event: 'record', ...tables };
      const generation = Math.max(record.generation + 1, now);
      return { record: { ...record, symbols, version, generation }, event: 'symbols', ...tables };
    });
    if (changed instanceof StoreUnavailable) return changed;
    return { status, generation: changed.generation };
  }

  async #mark(
    id: ExecutableId,
    next: (symbols: SymbolsSummary) => SymbolsSummary,
    sample: EpochSample,
  ): Promise<StoreUnavailable | undefined> {
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) return now;
    const changed = await this.#change(id, sample, now, (record) => {
      const symbols = next(record.symbols);
      if (symbols === record.symbols) return null;
      return { record: { ...record, symbols, version: Math.max(record.version + 1, now) }, event: 'record' };
    });
    return changed instanceof StoreUnavailable ? changed : undefined;
  }

  async #change(
    id: ExecutableId,
    sample: EpochSample,
    now: number,
    next: (record: ExecutableRecord) => (Omit<Next, 'entry'> & { record: ExecutableRecord }) | null,
  ): Promise<ExecutableRecord | StoreUnavailable> {
    const [changed] = await this.#records.change(
      [
        {
          id,
          next: (current) => {
            // An alias is no canonical ID, and what was erased stays so.
            if (current !== null && !(current instanceof StoredRecord)) return null;
            const made = next(current === null ? unseenRecordOf(id, now) : current.record);
            if (made === null) return null;
            const { record, ...rest } = made;
            return { entry: StoredRecord.of(record), ...rest };
          },
        },
      ],
      sample,
    );
    if (changed instanceof StoreUnavailable) return changed;
    return changed?.after instanceof StoredRecord ? changed.after.record : unseenRecordOf(id, now);
  }
}

/** In the same step as the record's change: its table stays for good, the one before goes after a while. */
function tablesOf(
  id: ExecutableId,
  before: string | undefined,
  after: string | undefined,
): Pick<Next, 'keep' | 'leave'> {
  const keep = after === undefined ? {} : { keep: tableAt(id, after).key };
  if (before === undefined || before === after) return keep;
  return { ...keep, leave: { key: tableAt(id, before).key, ms: lastTableMs } };
}

function working(
  state: 'queued' | 'running',
  symbols: SymbolsSummary,
  setVersion: number,
  reason?: string,
): SymbolsSummary {
  if (symbols.state === 'ready' || (symbols.setVersion ?? 0) > setVersion) return symbols;
  if (symbols.state === state && symbols.setVersion === setVersion && symbols.reason === reason)
    return symbols;
  return { ...noSymbols, state, setVersion, ...(reason === undefined ? {} : { reason }) };
}
