// Which executables a backfill is about: a walk over the index of all executables, or over a list of IDs, in bounded
// memory, which can go on from any place it was at.
import { type Store, StoreUnavailable, shardCount } from '@symkeep/cache';
import { dayOf, type ExecutableId, type ExecutableRecord, qualityRank } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import { type Catalog, type LookupOutcome, StoredRecord } from '../catalog/index.ts';
import { planOf } from '../jobs/plan.ts';
import type { SourceSet } from '../sources/source-set.ts';
import type { BackfillFilter, BackfillSource, Counts, Place } from './backfill.ts';

/** Executables read in one round trip. */
const chunk = 128;
/** Executables counted for one answer; in a greater fleet the counts are of the first ones. */
const countedMax = 200_000;

export type SelectionCatalog = Pick<Catalog, 'executables' | 'sources'>;

/** An executable that the filter chooses. */
export interface Chosen {
  readonly id: ExecutableId;
  /** Why nothing is asked for it; undefined: it is. */
  readonly skip: string | undefined;
  readonly record: ExecutableRecord | undefined;
  /** Where the walk goes on after it. */
  readonly next: Place;
}

/** The next part of a walk: a bounded number of executables looked at, and where it goes on; null at its end. */
export interface Part {
  readonly chosen: readonly Chosen[];
  readonly next: Place | null;
}

export interface Census {
  readonly total: number;
  readonly states: Counts;
  readonly qualities: Counts;
  /** Of those, the ones that nothing would be asked for, by code. */
  readonly skipped: Counts;
  /** False: there are more executables than are counted for one answer. */
  readonly complete: boolean;
}

export class Selection {
  readonly #store: Store;
  readonly #catalog: SelectionCatalog;

  constructor(store: Store, catalog: SelectionCatalog) {
    this.#store = store;
    this.#catalog = catalog;
  }

  /** What comes at a place. Throws the outage: a walk that leaves some out would look complete. */
  async part(filter: BackfillFilter, source: BackfillSource, place: Place): Promise<Part> {
    const { ids, places, next } = await this.#idsAt(filter, place);
    const [found, sets] = await Promise.all([
      this.#catalog.executables.lookup(ids),
      this.#catalog.sources.readMany(ids),
    ]);
    const chosen = ids.flatMap((id, index): Chosen[] => {
      const outcome = found[index]!;
      const set = sets[index]!;
      if (outcome === 'unavailable') throw new StoreUnavailable('unreachable', `${id} cannot be read now`);
      if (set instanceof StoreUnavailable) throw set;
      return chosenOf({ id, outcome, set, next: places[index]! }, filter, source);
    });
    return { chosen, next };
  }

  /** Counts what would be chosen, without keeping any of it. */
  async count(filter: BackfillFilter, source: BackfillSource, signal: AbortSignal): Promise<Census> {
    const counts = { states: {}, qualities: {}, skipped: {} };
    const counted: Counted = { total: 0, ...counts };
    const walks = placesOf(filter).map((place) => this.#countFrom(place, filter, source, counted, signal));
    const complete = (await Promise.all(walks)).every((isWhole) => isWhole);
    return { ...counted, complete };
  }

  async #countFrom(
    from: Place,
    filter: BackfillFilter,
    source: BackfillSource,
    counted: Counted,
    signal: AbortSignal,
  ): Promise<boolean> {
    const shard = from.kind === 'index' ? from.shard : undefined;
    for (let place: Place | null = from; place !== null; ) {
      signal.throwIfAborted();
      if (counted.total >= countedMax) return false;
      const { chosen, next }: Part = await this.part(filter, source, place);
      for (const one of chosen) countOne(one, counted);
      place = next?.kind === 'index' && next.shard !== shard ? null : next;
    }
    return true;
  }

  async #idsAt(filter: BackfillFilter, place: Place) {
    if (place.kind === 'list') return listAt(filter.ids ?? [], place.position);
    const { shard } = place;
    const members = await this.#store.scanIndex(shard, place.after, chunk);
    if (members instanceof StoreUnavailable) throw members;
    const name = filter.name?.toLowerCase() ?? '';
    const matching = members.filter((member) => nameIn(member).includes(name));
    const after = members.length < chunk ? undefined : members.at(-1)!;
    return {
      ids: matching.map(idIn),
      places: matching.map((member): Place => ({ kind: 'index', shard, after: member })),
      next: after === undefined ? nextShard(shard) : ({ kind: 'index', shard, after } as const),
    };
  }
}

interface Counted {
  total: number;
  readonly states: Record<string, number>;
  readonly qualities: Record<string, number>;
  readonly skipped: Record<string, number>;
}

function countOne({ record, skip }: Chosen, counted: Counted): void {
  const { state, quality } = record?.symbols ?? { state: 'unknown', quality: 'none' };
  counted.total++;
  counted.states[state] = (counted.states[state] ?? 0) + 1;
  counted.qualities[quality] = (counted.qualities[quality] ?? 0) + 1;
  if (skip !== undefined) counted.skipped[skip] = (counted.skipped[skip] ?? 0) + 1;
}

interface Candidate {
  readonly id: ExecutableId;
  readonly outcome: LookupOutcome;
  readonly set: SourceSet;
  readonly next: Place;
}

function chosenOf(
  { id, outcome, set, next }: Candidate,
  filter: BackfillFilter,
  source: BackfillSource,
): Chosen[] {
  if (!(outcome instanceof StoredRecord)) {
    // The index may still have what was erased; who names an ID is told what became of it.
    const skip = outcome === 'erased' ? 'erased' : 'unknown';
    return filter.ids === undefined ? [] : [{ id, skip, record: undefined, next }];
  }
  const { record } = outcome;
  if (filter.ids === undefined && record.id !== id) return [];
  if (!matches(record, set, filter)) return [];
  return [{ id: record.id, skip: skipOf(record, set, source), record, next }];
}

function matches(
  { fileName, lastSeen, symbols }: ExecutableRecord,
  set: SourceSet,
  { name, state, qualityBelow, lastSeenAfter, formatBelow }: BackfillFilter,
): boolean {
  if (name !== undefined && !fileName.toLowerCase().includes(name.toLowerCase())) return false;
  if (state !== undefined && symbols.state !== state) return false;
  if (qualityBelow !== undefined && qualityRank(symbols.quality) >= qualityRank(qualityBelow)) return false;
  if (lastSeenAfter !== undefined && lastSeen < dayOf(Date.parse(lastSeenAfter))) return false;
  if (formatBelow === undefined) return true;
  const table = set.tables.find(({ digest }) => digest === symbols.digest);
  return table !== undefined && table.format < formatBelow;
}

function skipOf(record: ExecutableRecord, set: SourceSet, source: BackfillSource): string | undefined {
  if (source !== 'stored') return record.symbols.quality === 'dwarf' ? 'has_dwarf' : undefined;
  if (set.version === 0 || planOf(set).length === 0) return 'no_sources';
  const { attempt } = set;
  const isMade = attempt?.version === set.version && attempt.format === symbolTableVersion;
  return isMade && attempt.failure === undefined && record.symbols.state === 'ready'
    ? 'up_to_date'
    : undefined;
}

/** Shards are counted at once, since each is a row of round trips. */
function placesOf({ ids }: BackfillFilter): Place[] {
  if (ids !== undefined) return [{ kind: 'list', position: 0 }];
  return Array.from({ length: shardCount }, (_, shard) => ({ kind: 'index', shard, after: '' }));
}

function listAt(all: readonly ExecutableId[], position: number) {
  const ids = all.slice(position, position + chunk);
  const end = position + ids.length;
  return {
    ids,
    places: ids.map((_, index): Place => ({ kind: 'list', position: position + index + 1 })),
    next: end < all.length ? ({ kind: 'list', position: end } as const) : null,
  };
}

function nextShard(shard: number): Place | null {
  return shard + 1 < shardCount ? { kind: 'index', shard: shard + 1, after: '' } : null;
}

function nameIn(member: string): string {
  return member.slice(0, member.lastIndexOf('\0'));
}

function idIn(member: string): ExecutableId {
  return member.slice(member.lastIndexOf('\0') + 1) as ExecutableId;
}
