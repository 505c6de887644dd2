// What the server knows, over a store that keeps it and caches that make it quick:
//
//   Executables ─┬─ Records ── entry cache ──┐
//   Frames ──────┴─ window cache ────────────┤ Store
//   Demand (what was asked for in vain) ─────┤
//   EventFeed (drops what changed) ──────────┤
//   Epoch (drops everything) ────────────────┘
//
// A cache here holds facts, bounded in bytes, without any lifetime: an entry leaves because there is no room, because an
// event said that it changed, or because the epoch did. Negative answers are not cached in this tier at all.
import { type Clock, Epoch, type Store, StoreUnavailable, TieredCache } from '@symkeep/cache';
import { type EventKind, type ExecutableId, idKeyBytes, idKeyOf } from '@symkeep/protocol';
import { type DecodedPage, Demangler, type SymbolTable } from '@symkeep/symbols';
import { declareLifetimes } from '../lifetimes.ts';
import { Sources } from '../sources/sources.ts';
import { UpstreamAbsences } from '../upstreams/upstream-absences.ts';
import { Demand } from './demand.ts';
import { type Entry, readEntry } from './entry.ts';
import { Erasure } from './erasure.ts';
import { EventFeed } from './events.ts';
import { Executables } from './executables.ts';
import { FrameWindow } from './frame-window.ts';
import { Frames, type WindowKey } from './frames.ts';
import { framesAt, recordsAt } from './keys.ts';
import { RebuildFlag } from './rebuild-flag.ts';
import { Records } from './records.ts';
import { Roster } from './roster.ts';
import { FleetStats } from './stats.ts';
import { SymbolStates } from './symbol-states.ts';
import {
  type Damage,
  loadPages,
  loadTables,
  type PageCache,
  type PageKey,
  type TableArchive,
  type TableCache,
  type TableKey,
  Tables,
} from './tables.ts';

export type { Wanted } from './demand.ts';
export type { LookupOutcome } from './executables.ts';
export type { FramesOutcome, FramesRequest } from './frames.ts';
export type { SearchPage, SearchQuery } from './search.ts';
export { StoredRecord } from './stored-record.ts';
export type { Published, TableSummary } from './symbol-states.ts';
export type { TableArchive } from './tables.ts';
export { EventFeed, Executables, Frames, Tables };

/** How often the epoch is looked at: what a loss may stay unseen, beside every reconnect. */
const epochCheckMs = 1_000;
/** How the memory is shared out: records, symbol tables' headers and pages, readable names, agents' frames. */
const shares = { entries: 0.3, tables: 0.15, pages: 0.35, names: 0.1, windows: 0.1 };
/** A record with its place in the table; smaller ones do not exist, so the table never binds before the bytes do. */
const entryBytesMin = 256;
/** Of a name in memory: a byte a letter, and as much again for its place in a map and what V8 keeps beside it. */
const nameBytesPerChar = 2;
/** A SHA-256. */
const digestBytes = 32;

export interface CatalogDeps {
  readonly store: Store;
  readonly clock: Clock;
  /** Memory of the process cache. */
  readonly cacheBytes: number;
  /** Where pages are that the store has not; without it they are not there. */
  readonly archive?: TableArchive;
  /** Default `epochCheckMs`. */
  readonly epochEveryMs?: number;
  /** How long events may stay unheard, so that many are read at once; each read costs the same. Default 0. */
  readonly gatherMs?: number;
}

export interface Catalog {
  readonly executables: Executables;
  readonly frames: Frames;
  readonly tables: Tables;
  readonly sources: Sources;
  readonly states: SymbolStates;
  readonly demand: Demand;
  readonly roster: Roster;
  readonly stats: FleetStats;
  readonly erasure: Erasure;
  readonly rebuilding: RebuildFlag;
  readonly upstreamAbsences: UpstreamAbsences;
  readonly events: EventFeed;
  readonly epoch: Epoch;
  /** Looks at the store for the first time; it may be away. */
  start(): Promise<void>;
  stop(): Promise<void>;
  metrics(): CatalogMetrics;
}

export type CatalogMetrics = ReturnType<typeof metricsOf> & { readonly demand: Demand['counts'] };

export function createCatalog({
  store,
  clock,
  cacheBytes,
  archive,
  epochEveryMs = epochCheckMs,
  gatherMs = 0,
}: CatalogDeps): Catalog {
  declareLifetimes();
  const epoch = new Epoch(store);
  const entries = entryCache(store, clock, Math.floor(cacheBytes * shares.entries));
  const windows = windowCache(store, clock, Math.floor(cacheBytes * shares.windows));
  const damage = { damaged: 0 };
  const headers = tableCache(store, clock, Math.floor(cacheBytes * shares.tables), damage);
  const pages = pageCache(store, clock, Math.floor(cacheBytes * shares.pages), damage, archive);
  const demangler = new Demangler(Math.floor((cacheBytes * shares.names) / nameBytesPerChar));
  const records = new Records(store, entries);
  const rebuilding = new RebuildFlag(store);
  const executables = new Executables(store, records, entries, () => rebuilding.isUp);
  const tables = new Tables(store, headers, pages);
  const all = () => {
    entries.dropAll();
    windows.dropAll();
    headers.dropAll();
    pages.dropAll();
  };
  const caches = {
    // What was erased may be in any of them, under keys that are not at hand; it happens rarely.
    one: (id: ExecutableId, kind: EventKind) => (kind === 'erased' ? all() : entries.invalidate(id)),
    all,
  };
  epoch.onChange(caches.all);
  const events = new EventFeed(store, epoch, clock, caches, gatherMs);
  const sources = new Sources(store);
  const roster = new Roster(store, clock);
  const demand = new Demand(store, clock, async (ids) => {
    const sample = epoch.sample();
    if (!(sample instanceof StoreUnavailable)) await executables.markWanted(ids, sample);
  });
  let stopChecking = (): void => undefined;
  return {
    executables,
    frames: new Frames(store, executables, records, windows, tables, demangler),
    tables,
    sources,
    states: new SymbolStates(store, records),
    demand,
    roster,
    stats: new FleetStats(store, clock, executables),
    erasure: new Erasure(store, executables, sources, demand),
    rebuilding,
    upstreamAbsences: new UpstreamAbsences(store, Math.random),
    events,
    epoch,
    start: async () => {
      const check = () => Promise.all([epoch.check(), rebuilding.look()]);
      await check();
      stopChecking = clock.setRepeating(epochEveryMs, () => void check());
      await events.start();
      demand.start();
      roster.start();
    },
    stop: async () => {
      stopChecking();
      await demand.stop();
      await roster.stop();
      await events.stop();
    },
    metrics: () => ({
      ...metricsOf({ entries, windows, headers, pages, damage }, epoch, events),
      demand: demand.counts,
    }),
  };
}

function entryCache(store: Store, clock: Clock, bytes: number): TieredCache<ExecutableId, Entry> {
  return new TieredCache({
    clock,
    keyBytes: idKeyBytes,
    keyOf: idKeyOf,
    entriesMax: Math.max(1_024, Math.floor(bytes / entryBytesMin)),
    weightMax: bytes,
    weigh: (entry) => entry.weight,
    load: async (ids: readonly ExecutableId[], keys: Uint8Array) => {
      const reads = await store.get(recordsAt(ids, keys));
      return reads.map((read) => (read instanceof Uint8Array ? readEntry(read) : read));
    },
  });
}

function windowCache(store: Store, clock: Clock, bytes: number): TieredCache<WindowKey, FrameWindow> {
  return new TieredCache({
    clock,
    keyBytes: idKeyBytes,
    keyOf: ({ id }: WindowKey) => idKeyOf(id),
    addressOf: ({ window }: WindowKey) => window,
    entriesMax: Math.max(1_024, Math.floor(bytes / entryBytesMin)),
    weightMax: bytes,
    weigh: (window) => window.weight,
    isCurrent: (window: FrameWindow, { generation }: WindowKey) => window.generation >= generation,
    load: async (keys: readonly WindowKey[]) => {
      const reads = await store.get(keys.map(({ id, window }) => framesAt(id, window)));
      return reads.map((read, index) => {
        if (read instanceof StoreUnavailable) return read;
        const { generation } = keys[index]!;
        // That nothing is there is a fact of this generation too.
        return read === null ? new FrameWindow(0, new Map(), generation) : FrameWindow.read(read, generation);
      });
    },
  });
}

// A header stands for its pages, which are some thousand bytes of memory each; small tables are the rule.
function tableCache(store: Store, clock: Clock, bytes: number, damage: Damage): TableCache {
  return new TieredCache({
    ...{ clock, keyBytes: digestBytes, keyOf: ({ digest }: TableKey) => Buffer.from(digest, 'hex') },
    ...{ weightMax: bytes, weigh: (table: SymbolTable) => table.weight },
    load: (keys: readonly TableKey[]) => loadTables(store, keys, damage),
  });
}

function pageCache(
  store: Store,
  clock: Clock,
  bytes: number,
  damage: Damage,
  archive: TableArchive | undefined,
): PageCache {
  return new TieredCache({
    ...{ clock, keyBytes: digestBytes, keyOf: ({ digest }: PageKey) => Buffer.from(digest, 'hex') },
    addressOf: ({ page }: PageKey) => BigInt(page),
    ...{ weightMax: bytes, weigh: (page: DecodedPage) => page.weight },
    load: (keys: readonly PageKey[]) => loadPages(store, keys, damage, archive),
  });
}

interface Caches {
  readonly entries: TieredCache<ExecutableId, Entry>;
  readonly windows: TieredCache<WindowKey, FrameWindow>;
  readonly headers: TableCache;
  readonly pages: PageCache;
  readonly damage: Damage;
}

function metricsOf({ entries, windows, headers, pages, damage }: Caches, epoch: Epoch, events: EventFeed) {
  return {
    records: entries.metrics(),
    frames: windows.metrics(),
    tables: { ...headers.metrics(), ...damage },
    pages: pages.metrics(),
    epoch: epoch.counts,
    events: events.counts,
  };
}
