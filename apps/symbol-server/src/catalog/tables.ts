// Symbol tables in the store: written in pages under their digest, then made known by one flip of the record (symbol-states.ts). A lookup
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
  FRAME_STATUS,
  type FrameStatus,
  type FramesReplyWriter,
} from '@symkeep/protocol';
import {
  type DecodedPage,
  type Demangler,
  decodePage,
  headerLengthOf,
  headerPrefixBytes,
  locationAt,
  none,
  openSymbolTable,
  pageExtent,
  pageOf,
  relativeTo,
  relativeToWords,
  SymbolsError,
  type SymbolTable,
  sourceOf,
  wordsOf,
} from '@symkeep/symbols';
import { tableColdAt, tableHeaderAt, tablePageAt } from './keys.ts';
import { TableFrames, writeFrames } from './table-frames.ts';

/** Pages of one write: about half a megabyte on its way. */
const pagesPerWrite = 128;
/** With its header, what the store swaps in one script, all or nothing. */
const pagesWithHeaderMax = 48;
/** A table that no record names by then goes by itself: who wrote it has died before the flip. */
const unnamedMs = 3_600_000;

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

/** Where tables are beside the store, in their file form; null for what is not there. Throws what it throws. */
export type TableArchive = (
  key: TableKey,
  range: { readonly start: number; readonly end: number },
) => Promise<Uint8Array | null>;

/** Bytes `[start, end)` of a table's file form. */
export type TableBytes = (start: number, end: number) => Promise<Uint8Array>;

/** A run of addresses in columns of words. */
export interface AddressWords {
  readonly lo: Uint32Array;
  readonly hi: Uint32Array;
  readonly from: number;
  readonly to: number;
}

export class Tables {
  readonly #store: Store;
  readonly #tables: TableCache;
  readonly #pages: PageCache;

  constructor(store: Store, tables: TableCache, pages: PageCache) {
    this.#store = store;
    this.#tables = tables;
    this.#pages = pages;
  }

  /**
   * What the table says of each address, undefined where it says nothing, the outage where its page cannot be read; null if
   * a part of the table is not there any more: then the record that named it is out of date. Each page is found, and if
   * need be read and decoded, once.
   */
  async lookup(
    key: TableKey,
    addresses: readonly Address[],
    demangler: Demangler,
  ): Promise<(TableFrames | StoreUnavailable | undefined)[] | null | StoreUnavailable> {
    const table = await this.#tables.get(key);
    if (table === null || table instanceof StoreUnavailable) return table;
    const relative = Float64Array.from(addresses, (address) => relativeTo(table.imageBase, address));
    const pageOfEach = Int32Array.from(relative, (address) => pageOf(table, address));
    const pages = await this.#pagesOf({ ...key, table }, pageOfEach);
    if (pages === null) return null;
    return Array.from(pageOfEach, (number, index) => {
      const page = pages.get(number);
      if (page === undefined || page instanceof StoreUnavailable) return page;
      const location = locationAt(page, relative[index]!);
      if (location === none) return undefined;
      return new TableFrames(sourceOf(table, page, location), page, location, demangler);
    });
  }

  /**
   * Writes what the table says of each address, from what this process holds and at once; `missing` where it says nothing.
   * False if it lacks any of it, or something is missing and `missing` is undefined: then what was written is void.
   */
  writeCached(
    digest: Uint8Array,
    { lo, hi, from, to }: AddressWords,
    missing: FrameStatus | undefined,
    demangler: Demangler,
    into: FramesReplyWriter,
  ): boolean {
    const table = this.#tables.hit(digest, 0);
    if (table == null) return false;
    const base = wordsOf(table.imageBase);
    for (let index = from; index < to; index++) {
      const relative = relativeToWords(base, lo[index]!, hi[index]!);
      const number = pageOf(table, relative);
      let location: number = none;
      if (number >= 0) {
        const page = this.#pages.hit(digest, 0, number);
        if (page == null) return false;
        location = locationAt(page, relative);
        if (location !== none) {
          into.address(FRAME_STATUS.resolved, sourceOf(table, page, location));
          writeFrames(page, location, demangler, into);
          continue;
        }
      }
      if (missing === undefined) return false;
      into.address(missing, 'none');
    }
    return true;
  }

  /** The pages of these numbers; -1 is none. Those in this process cost no object. Null if one is not there. */
  async #pagesOf(
    key: Omit<PageKey, 'page'>,
    numbers: Int32Array,
  ): Promise<Map<number, DecodedPage | StoreUnavailable> | null> {
    const pages = new Map<number, DecodedPage | StoreUnavailable>();
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
      if (page === null) return null;
      pages.set(wanted[index]!, page);
    }
    return pages;
  }

  /**
   * Puts a table into the store, where nobody finds it until a record names it, and where it goes by itself if none does.
   * Writing what is there changes nothing; what is damaged is mended.
   */
  async write(
    { id, digest }: TableKey,
    bytes: TableBytes,
    sample: EpochSample,
  ): Promise<StoreUnavailable | undefined> {
    const length = headerLengthOf(await bytes(0, headerPrefixBytes));
    const header = await bytes(0, length);
    const table = openSymbolTable(header);
    const headerValue: [StoreKey, Uint8Array] = [tableHeaderAt(id, digest), header];
    for (let from = 0; from < table.pageCount; from += pagesPerWrite) {
      const to = Math.min(from + pagesPerWrite, table.pageCount);
      const start = table.pageOffsets[from]!;
      const chunk = await bytes(start, table.pageOffsets[to]!);
      const pages = Array.from({ length: to - from }, (_, index): [StoreKey, Uint8Array] => {
        const { offset, length: pageBytes } = pageExtent(table, from + index);
        const at = offset - start;
        return [tablePageAt(id, digest, from + index), chunk.subarray(at, at + pageBytes)];
      });
      // Few enough for one step of the store.
      if (table.pageCount <= pagesWithHeaderMax) return this.#put([...pages, headerValue], sample);
      const outage = await this.#put(pages, sample);
      if (outage !== undefined) return outage;
    }
    // The header last: whoever finds it finds all pages.
    return this.#put([headerValue], sample);
  }

  async #put(
    values: readonly [StoreKey, Uint8Array][],
    sample: EpochSample,
  ): Promise<StoreUnavailable | undefined> {
    let swaps: Swap[] = values.map(([at, value]) => ({ at, expected: null, value, ...leaving(at) }));
    while (swaps.length > 0) {
      const others: Swap[] = [];
      for (const [index, outcome] of (await this.#store.swap(swaps)).entries()) {
        const swap = swaps[index]!;
        if (outcome instanceof StoreUnavailable) return outcome;
        sample.confirm(swap.at.shard, outcome.epoch);
        if (outcome.swapped || isSame(outcome.current, swap.value)) continue;
        others.push({ at: swap.at, expected: outcome.current, value: swap.value });
      }
      swaps = others;
    }
    return undefined;
  }

  /** Whether all of a table is in the store, or as much as is meant to be. */
  async isWhole({ id, digest }: TableKey): Promise<boolean | StoreUnavailable> {
    const at = tableHeaderAt(id, digest);
    const [header, cold] = await this.#store.get([at, tableColdAt(id, digest)]);
    if (header instanceof StoreUnavailable) return header;
    if (header === null) return false;
    if (cold instanceof Uint8Array) return true;
    const count = await this.#store.countFields(at);
    if (count instanceof StoreUnavailable) return count;
    return count === openSymbolTable(header!).pageCount + 1;
  }

  /**
   * Takes a table's pages out of the store; its header stays. For the moment in between the table is not there, which
   * readers answer as unavailable.
   */
  async cool({ id, digest }: TableKey, sample: EpochSample): Promise<StoreUnavailable | undefined> {
    const at = tableHeaderAt(id, digest);
    const [header] = await this.#store.get([at]);
    if (header instanceof StoreUnavailable) return header;
    if (header === null || header === undefined) return undefined;
    const kept: [StoreKey, Uint8Array][] = [
      [tableColdAt(id, digest), Uint8Array.of(1)],
      [at, new Uint8Array(header)],
    ];
    return (await this.#store.drop([at])) ?? this.#put(kept, sample);
  }

  /** Forgets a table that no record names any more. */
  drop(keys: readonly TableKey[]): Promise<StoreUnavailable | undefined> {
    return this.#store.drop(keys.map(({ id, digest }) => tableHeaderAt(id, digest)));
  }
}

/** The first page is the first that is written: with it the table's time begins, unless it is there already. */
function leaving({ key, field }: StoreKey): Pick<Swap, 'leave'> {
  return field === '0' ? { leave: { key, ms: unnamedMs } } : {};
}

function isSame(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a !== null && b !== null && Buffer.compare(a, b) === 0;
}

/** Headers and pages that could not be read, since start. */
export interface Damage {
  damaged: number;
}

/** Reads headers for the cache in front of the store. */
export async function loadTables(
  store: Store,
  keys: readonly TableKey[],
  damage: Damage,
): Promise<(SymbolTable | null | StoreUnavailable)[]> {
  const reads = await store.get(keys.map(({ id, digest }) => tableHeaderAt(id, digest)));
  return reads.map((read, index) =>
    opened(read, () => openSymbolTable(read as Uint8Array), keys[index]!.digest, damage),
  );
}

/** Reads pages for the cache in front of the store; those that it has not from the archive, if there is one. */
export async function loadPages(
  store: Store,
  keys: readonly PageKey[],
  damage: Damage,
  archive: TableArchive | undefined,
): Promise<(DecodedPage | null | StoreUnavailable)[]> {
  const reads = await store.get(keys.map(({ id, digest, page }) => tablePageAt(id, digest, page)));
  const missing = keys.filter((_, index) => reads[index] === null);
  const thawed = archive === undefined || missing.length === 0 ? [] : await thaw(store, missing, archive);
  const byKey = new Map(missing.map((key, index) => [key, thawed[index] ?? null]));
  return keys.map((key, index) => {
    const { table, page, digest } = key;
    const read = reads[index] === null ? (byKey.get(key) ?? null) : reads[index]!;
    return opened(read, () => decodePage(table, page, read as Uint8Array), digest, damage);
  });
}

/** Pages from the archive. Those of a table that is cold are put back into the store: they are wanted there again. */
async function thaw(
  store: Store,
  keys: readonly PageKey[],
  archive: TableArchive,
): Promise<(Uint8Array | null | StoreUnavailable)[]> {
  const pages = await Promise.all(keys.map((key) => archivedPage(key, archive)));
  const colds = await store.get(keys.map(({ id, digest }) => tableColdAt(id, digest)));
  const swaps = keys.flatMap(({ id, digest, page }, index): Swap[] => {
    const value = pages[index];
    if (!(colds[index] instanceof Uint8Array) || !(value instanceof Uint8Array)) return [];
    return [{ at: tablePageAt(id, digest, page), expected: null, value }];
  });
  // If the store does not take them they are read from the archive once more.
  if (swaps.length > 0) await store.swap(swaps);
  return pages;
}

async function archivedPage(
  { id, digest, table, page }: PageKey,
  archive: TableArchive,
): Promise<Uint8Array | null | StoreUnavailable> {
  const { offset, length } = pageExtent(table, page);
  try {
    return await archive({ id, digest }, { start: offset, end: offset + length });
  } catch (error) {
    return new StoreUnavailable('unreachable', `the archive: ${(error as Error).message}`, error);
  }
}

// A damaged value costs its own addresses: it cannot be answered, which is not the same as not being there.
function opened<T>(
  read: Uint8Array | null | StoreUnavailable,
  open: () => T,
  digest: string,
  damage: Damage,
): T | null | StoreUnavailable {
  if (!(read instanceof Uint8Array)) return read;
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SymbolsError)) throw error;
    damage.damaged++;
    return new StoreUnavailable('damaged', `symbol table ${digest}: ${error.message}`, error);
  }
}
