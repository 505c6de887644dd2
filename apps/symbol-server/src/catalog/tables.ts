// Symbol tables in the store: written in pages under their digest, then made known by one flip of the record. A lookup
// costs the header (kept in this process) and at most one read for each page that it does not hold.
//
// A table is immutable, so what is cached of it is true for ever; which table an executable has is said by its record.
import {
  type EpochSample,
  type Store,
  type StoreKey,
  StoreUnavailable,
  type Swap,
  type TieredCache,
} from '@symkeep/cache';
import {
  type Address,
  type ExecutableId,
  type ExecutableRecord,
  qualityRank,
  type SymbolsSummary,
} from '@symkeep/protocol';
import {
  type DecodedPage,
  type Demangler,
  decodePage,
  locationAt,
  none,
  openSymbolTable,
  pageOf,
  relativeTo,
  SymbolsError,
  type SymbolTable,
  sourceOf,
  type WrittenTable,
} from '@symkeep/symbols';
import { tableHeaderAt, tablePageAt } from './keys.ts';
import type { Records } from './records.ts';
import { StoredRecord } from './stored-record.ts';
import { TableFrames } from './table-frames.ts';

/** Pages of one write: about half a megabyte on its way. */
const pagesPerWrite = 128;

export interface TableKey {
  readonly id: ExecutableId;
  readonly digest: string;
}
export interface PageKey extends TableKey {
  readonly table: SymbolTable;
  readonly page: number;
}
export type TableCache = TieredCache<TableKey, SymbolTable>;
export type PageCache = TieredCache<PageKey, DecodedPage>;

/** `kept`: what is there is as good or better, and stays. */
export interface Published {
  readonly status: 'published' | 'kept' | 'not_found';
  readonly generation: number;
}

export class Tables {
  readonly #store: Store;
  readonly #records: Records;
  readonly #tables: TableCache;
  readonly #pages: PageCache;

  constructor(store: Store, records: Records, tables: TableCache, pages: PageCache) {
    this.#store = store;
    this.#records = records;
    this.#tables = tables;
    this.#pages = pages;
  }

  /**
   * What the table says of each address, undefined where it says nothing; null if a part of it is not there any more: then
   * the record that named it is out of date. Each page is found, and if need be read and decoded, once.
   */
  async lookup(
    key: TableKey,
    addresses: readonly Address[],
    demangler: Demangler,
  ): Promise<(TableFrames | undefined)[] | null | StoreUnavailable> {
    const table = await this.#tables.get(key);
    if (table === null || table instanceof StoreUnavailable) return table;
    const relative = Float64Array.from(addresses, (address) => relativeTo(table.imageBase, address));
    const pageOfEach = Int32Array.from(relative, (address) => pageOf(table, address));
    const pages = await this.#pagesOf({ ...key, table }, pageOfEach);
    if (pages === null || pages instanceof StoreUnavailable) return pages;
    return Array.from(pageOfEach, (number, index) => {
      const page = pages.get(number);
      if (page === undefined) return undefined;
      const location = locationAt(page, relative[index]!);
      if (location === none) return undefined;
      return new TableFrames(sourceOf(table, page, location), page, location, demangler);
    });
  }

  /** The pages of these numbers; -1 is none. Those in this process cost no object. */
  async #pagesOf(
    key: Omit<PageKey, 'page'>,
    numbers: Int32Array,
  ): Promise<Map<number, DecodedPage> | null | StoreUnavailable> {
    const pages = new Map<number, DecodedPage>();
    const missing = new Set<number>();
    const digest = Buffer.from(key.digest, 'hex');
    for (const number of numbers) {
      if (number < 0 || pages.has(number) || missing.has(number)) continue;
      const page = this.#pages.hit(digest, 0, number);
      if (page == null) missing.add(number);
      else pages.set(number, page);
    }
    const wanted = [...missing];
    const read = await this.#pages.getMany(wanted.map((page) => ({ ...key, page })));
    for (const [index, page] of read.entries()) {
      if (page === null || page instanceof StoreUnavailable) return page;
      pages.set(wanted[index]!, page);
    }
    return pages;
  }

  /**
   * Writes a table and makes it the executable's, unless what it has is better. Dying at any point leaves the old one or
   * the new one.
   */
  async publish(
    id: ExecutableId,
    written: WrittenTable,
    sample: EpochSample,
  ): Promise<Published | StoreUnavailable> {
    const { digest } = written;
    const outage = await this.#write(id, written, sample);
    if (outage !== undefined) return outage;
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) return now;
    const symbols = summaryOf(written);
    const [changed] = await this.#records.change(
      [
        {
          id,
          next: (current) => {
            if (!(current instanceof StoredRecord) || !isBetter(symbols, current.record.symbols)) return null;
            const { record } = current;
            const generation = Math.max(record.generation + 1, now);
            const version = Math.max(record.version + 1, now);
            return { entry: StoredRecord.of({ ...record, symbols, version, generation }), event: 'symbols' };
          },
        },
      ],
      sample,
    );
    if (changed instanceof StoreUnavailable) return changed;
    const after = changed?.after;
    if (!(after instanceof StoredRecord)) return { status: 'not_found', generation: 0 };
    const { generation } = after.record;
    const isOurs = after.record.symbols.digest === digest;
    return { status: isOurs && changed?.before !== after ? 'published' : 'kept', generation };
  }

  async #write(
    id: ExecutableId,
    { header, pages, digest }: WrittenTable,
    sample: EpochSample,
  ): Promise<StoreUnavailable | undefined> {
    const values: [StoreKey, Uint8Array][] = pages.map((page, index) => [
      tablePageAt(id, digest, index),
      page,
    ]);
    // The header last: whoever finds it finds all pages.
    values.push([tableHeaderAt(id, digest), header]);
    for (let from = 0; from < values.length; from += pagesPerWrite) {
      const swaps: Swap[] = values
        .slice(from, from + pagesPerWrite)
        .map(([at, value]) => ({ at, expected: null, value }));
      for (const [index, outcome] of (await this.#store.swap(swaps)).entries()) {
        if (outcome instanceof StoreUnavailable) return outcome;
        sample.confirm(swaps[index]!.at.shard, outcome.epoch);
      }
    }
    return undefined;
  }
}

/** Reads headers for the cache in front of the store. */
export async function loadTables(
  store: Store,
  keys: readonly TableKey[],
): Promise<(SymbolTable | null | StoreUnavailable)[]> {
  const reads = await store.get(keys.map(({ id, digest }) => tableHeaderAt(id, digest)));
  return reads.map((read, index) =>
    opened(read, () => openSymbolTable(read as Uint8Array), keys[index]!.digest),
  );
}

/** Reads pages for the cache in front of the store. */
export async function loadPages(
  store: Store,
  keys: readonly PageKey[],
): Promise<(DecodedPage | null | StoreUnavailable)[]> {
  const reads = await store.get(keys.map(({ id, digest, page }) => tablePageAt(id, digest, page)));
  return reads.map((read, index) => {
    const { table, page, digest } = keys[index]!;
    return opened(read, () => decodePage(table, page, read as Uint8Array), digest);
  });
}

// A damaged value costs its own addresses: it cannot be answered, which is not the same as not being there.
function opened<T>(
  read: Uint8Array | null | StoreUnavailable,
  open: () => T,
  digest: string,
): T | null | StoreUnavailable {
  if (!(read instanceof Uint8Array)) return read;
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SymbolsError)) throw error;
    return new StoreUnavailable('damaged', `symbol table ${digest}: ${error.message}`, error);
  }
}

function summaryOf({ header, digest }: WrittenTable): SymbolsSummary {
  const { quality, functions, ranges, sources, pageOffsets } = openSymbolTable(header);
  return {
    ...{ state: 'ready', quality, functions, ranges, bytes: pageOffsets.at(-1) ?? header.length },
    ...{ sources: sources.map(({ source }) => source), digest },
  };
}

// Better replaces worse; of two of one quality, the one that covers more code.
function isBetter(next: SymbolsSummary, current: ExecutableRecord['symbols']): boolean {
  if (current.state !== 'ready') return true;
  if (next.digest === current.digest) return false;
  const gain = qualityRank(next.quality) - qualityRank(current.quality);
  return gain > 0 || (gain === 0 && next.ranges > current.ranges);
}
