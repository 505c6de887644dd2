// What is known of executables: looked up by any of their IDs, reported by agents, checked after a loss, searched by
// name. A record is filed under the file's canonical ID; its other IDs are aliases that lead there.
//
// Two files with one GNU ID whose code is mapped differently make that ID ambiguous. From then on each file has a
// record of its own under its htlhash, and the record under the GNU ID only says that it is ambiguous.
import { type EpochSample, type Store, StoreUnavailable } from '@symkeep/cache';
import {
  type CheckResult,
  canonicalIdOf,
  dayOf,
  type ExecutableId,
  type ExecutableRecord,
  htlhashId,
  idKeyBytes,
  idKeyOf,
  mergeRecords,
  type ReportedExecutable,
  type ReportResult,
  recordOf,
  SymkeepError,
  sameFacts,
} from '@symkeep/protocol';
import { Alias, type Entry, Tombstone } from './entry.ts';
import { tableAt } from './keys.ts';
import type { Change, Changed, EntryCache, Records } from './records.ts';
import { type SearchPage, type SearchQuery, search } from './search.ts';
import { StoredRecord } from './stored-record.ts';
import { withEarlier } from './with-earlier.ts';

export type LookupOutcome = StoredRecord | 'not_found' | 'erased' | 'unavailable';

export class Executables {
  readonly #store: Store;
  readonly #records: Records;
  readonly #cache: EntryCache;
  readonly #isRebuilding: () => boolean;
  readonly #targetKey = new Uint8Array(idKeyBytes);

  /** While `isRebuilding`, what is not there is unavailable: it may be on its way. */
  constructor(store: Store, records: Records, cache: EntryCache, isRebuilding: () => boolean = () => false) {
    this.#isRebuilding = isRebuilding;
    this.#store = store;
    this.#records = records;
    this.#cache = cache;
  }

  /** The record under an ID key if this process holds it, without allocation; undefined: ask `lookup`. */
  cached(key: Uint8Array, offset: number): StoredRecord | undefined {
    let entry = this.#cache.hit(key, offset);
    if (entry instanceof Alias && entry.targets.length === 1) {
      entry = this.#cache.hit(idKeyOf(entry.targets[0]!, this.#targetKey), 0);
    }
    return entry instanceof StoredRecord ? entry : undefined;
  }

  /** Records in the order of the IDs. */
  async lookup(ids: readonly ExecutableId[]): Promise<LookupOutcome[]> {
    const outcomes = await this.#find(ids);
    if (!this.#isRebuilding()) return outcomes;
    return outcomes.map((outcome) => (outcome === 'not_found' ? 'unavailable' : outcome));
  }

  async #find(ids: readonly ExecutableId[]): Promise<LookupOutcome[]> {
    const entries = await this.#records.read(ids);
    const targets = entries.map((entry) => (entry instanceof Alias ? entry.targets[0]! : undefined));
    const wanted = targets.filter((target) => target !== undefined);
    if (wanted.length === 0) return entries.map(outcomeOf);
    const reached = await this.#records.read(wanted);
    let next = 0;
    return entries.map((entry) =>
      entry instanceof Alias ? throughAlias(entry, reached[next++]!) : outcomeOf(entry),
    );
  }

  /** The record as the store has it now, past what this process holds. */
  async refresh(id: ExecutableId): Promise<LookupOutcome> {
    this.#cache.invalidate(id);
    const [outcome] = await this.lookup([id]);
    return outcome ?? 'not_found';
  }

  /** Files what agents read from files. Each item stands for itself; repeating a report changes nothing. */
  async report(reported: readonly ReportedExecutable[], sample: EpochSample): Promise<ReportResult[]> {
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) return reported.map(() => failed(now));
    const homes = await this.#homesOf(reported);
    const groups = groupBy(reported, (_, index) => homes[index]!);
    const filed = await this.#records.change(
      [...groups].map(([id, items]) => ({
        id,
        next: (current: Entry | null) => joined(id, current, items, now),
      })),
      sample,
    );
    const outcomes = new Map([...groups.keys()].map((id, index) => [id, filed[index]!]));
    const second = await this.#fileAliases(reported, homes, outcomes, now, sample);
    return homes.map((id, index) => resultOf(id, reported[index]!, outcomes.get(id)!, second));
  }

  /** Whether the store still has what an agent knows, by any ID. Also mends aliases that a partial loss took. */
  async check(
    items: readonly { id: ExecutableId; generation: number }[],
    sample: EpochSample,
  ): Promise<CheckResult[]> {
    const found = await this.lookup(items.map(({ id }) => id));
    const now = await this.#store.now();
    const records = found.filter((outcome) => outcome instanceof StoredRecord);
    if (!(now instanceof StoreUnavailable)) await this.#confirm(records, now, sample);
    return found.map((outcome, index) => {
      if (outcome === 'unavailable') return 'unavailable';
      if (outcome === 'not_found') return 'missing';
      if (outcome === 'erased') return 'erased';
      return outcome.record.generation === items[index]!.generation ? 'ok' : 'changed';
    });
  }

  /** Notes in the records that symbols were asked for in vain. Of no consequence to who has cached them. */
  async markWanted(ids: readonly ExecutableId[], sample: EpochSample): Promise<void> {
    await this.#records.change(
      ids.map((id) => ({ id, next: wantedFrom })),
      sample,
    );
  }

  /** Says again that symbols of these are missed: who was asked for a file did not send it. */
  async announceWanted(ids: readonly ExecutableId[], sample: EpochSample): Promise<void> {
    await this.#records.change(
      ids.map((id) => ({ id, next: announced })),
      sample,
    );
  }

  /** Files records of an earlier store, joined with what is there, and their aliases. Throws the outage. */
  async restore(records: readonly ExecutableRecord[], sample: EpochSample): Promise<void> {
    const changes = new ChangeSet();
    for (const record of records) {
      changes.add({ id: record.id, next: (current) => restored(current, record) });
      if (!record.ambiguous) changes.addAll(aliasChanges(record.id, knownAliases(record)));
    }
    assertDone(await changes.apply(this.#records, sample));
  }

  /** Sees to it that what was erased from an earlier store stays so. Throws the outage. */
  async restoreTombstones(ids: readonly ExecutableId[], sample: EpochSample): Promise<void> {
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) throw now;
    const changes = new ChangeSet();
    const tombstone = { entry: new Tombstone(now), event: 'erased' } as const;
    for (const id of ids) {
      changes.add({ id, next: (current) => (current instanceof Tombstone ? null : tombstone) });
    }
    assertDone(await changes.apply(this.#records, sample));
  }

  /**
   * Puts a tombstone in the place of a record, for ever. Of an ambiguous one, in those of its files as well. Returns what
   * was there; nothing for what is not known, or was erased already.
   */
  async bury(id: ExecutableId, sample: EpochSample): Promise<ExecutableRecord[]> {
    const found = await this.refresh(id);
    if (!(found instanceof StoredRecord)) return [];
    const { record } = found;
    const ids = record.ambiguous ? [record.id, ...record.ids.htlhash.map(htlhashId)] : [record.id];
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) throw unavailable(now);
    const changed = await this.#records.change(
      ids.map((one) => ({ id: one, next: (current) => buried(current, now) })),
      sample,
    );
    return changed.flatMap((outcome) => {
      if (outcome instanceof StoreUnavailable) throw unavailable(outcome);
      return outcome.before instanceof StoredRecord ? [outcome.before.record] : [];
    });
  }

  /** Throws `unavailable` when a shard cannot be read: a search that leaves some out would look complete. */
  async search(query: SearchQuery): Promise<SearchPage> {
    const page = await search(this.#store, (ids) => this.lookup(ids), query);
    if (page instanceof StoreUnavailable) throw unavailable(page);
    return page;
  }

  // A file reported without its GNU ID is filed where its hash already leads.
  async #homesOf(reported: readonly ReportedExecutable[]): Promise<ExecutableId[]> {
    const ids = reported.map((item) => canonicalIdOf(item.ids));
    const entries = await this.#records.read(ids);
    return ids.map((id, index) => {
      const entry = entries[index];
      return entry instanceof Alias ? entry.targets[0]! : id;
    });
  }

  async #fileAliases(
    reported: readonly ReportedExecutable[],
    homes: readonly ExecutableId[],
    outcomes: ReadonlyMap<ExecutableId, Changed | StoreUnavailable>,
    now: number,
    sample: EpochSample,
  ): Promise<Map<ExecutableId, Changed | StoreUnavailable>> {
    const changes = new ChangeSet();
    for (const [index, item] of reported.entries()) {
      const id = homes[index]!;
      const outcome = outcomes.get(id)!;
      if (outcome instanceof StoreUnavailable || !(outcome.after instanceof StoredRecord)) continue;
      if (!outcome.after.record.ambiguous) {
        changes.addAll(aliasChanges(id, aliasesOf(item)));
        continue;
      }
      if (outcome.before instanceof StoredRecord && !outcome.before.record.ambiguous) {
        changes.addAll(splitChanges(outcome.before.record));
      }
      changes.add(ownChange(recordOf(item, now, item.ids.htlhash)));
      changes.addAll(aliasChanges(id, item.ids.go === undefined ? [] : [item.ids.go]));
    }
    return changes.apply(this.#records, sample);
  }

  // `lastSeen` is true to the day: at most one write per executable and day, without event and version. A partial loss
  // can take an alias and leave the record.
  async #confirm(found: readonly StoredRecord[], now: number, sample: EpochSample): Promise<void> {
    const changes = new ChangeSet();
    const today = dayOf(now);
    for (const { record } of found) {
      if (record.lastSeen < today) changes.add({ id: record.id, next: (current) => seenOn(current, today) });
      if (!record.ambiguous) changes.addAll(aliasChanges(record.id, knownAliases(record)));
    }
    await changes.apply(this.#records, sample);
  }
}

/** Changes of distinct IDs: those of one ID are applied one after the other in one swap. */
class ChangeSet {
  readonly #byId = new Map<ExecutableId, Change['next']>();

  add({ id, next }: Change): void {
    const earlier = this.#byId.get(id);
    this.#byId.set(id, earlier === undefined ? next : (current) => both(earlier, next, current));
  }

  addAll(changes: readonly Change[]): void {
    for (const change of changes) this.add(change);
  }

  async apply(records: Records, sample: EpochSample): Promise<Map<ExecutableId, Changed | StoreUnavailable>> {
    const changes = [...this.#byId].map(([id, next]) => ({ id, next }));
    const changed = changes.length === 0 ? [] : await records.change(changes, sample);
    return new Map(changes.map(({ id }, index) => [id, changed[index]!]));
  }
}

function both(
  first: Change['next'],
  second: Change['next'],
  current: Entry | null,
): ReturnType<Change['next']> {
  const one = first(current);
  const two = second(one === null ? current : one.entry);
  if (one === null || two === null) return two ?? one;
  return { ...one, ...two };
}

function joined(
  id: ExecutableId,
  current: Entry | null,
  items: readonly ReportedExecutable[],
  now: number,
): ReturnType<Change['next']> {
  const reported = items.map((item) => recordOf(item, now, id)).reduce(mergeRecords);
  return joinRecord(current, reported);
}

// What is filed under the ID, joined with another account of it. An alias in its place gives way: the file's own
// record says more.
function joinRecord(current: Entry | null, account: ExecutableRecord): ReturnType<Change['next']> {
  if (current instanceof Tombstone) return null;
  if (!(current instanceof StoredRecord)) return { entry: StoredRecord.of(account), event: 'record' };
  const before = current.record;
  // A report says nothing of symbols, so it can't be the later word on them.
  const { symbols, generation: knownAt } = account.symbols.state === 'none' ? before : account;
  const merged = mergeRecords(before, { ...account, symbols, generation: knownAt });
  if (sameFacts(merged, before)) {
    if (merged.lastSeen === before.lastSeen) return null;
    const { version, generation, firstSeen } = before;
    return { entry: StoredRecord.of({ ...merged, version, generation, firstSeen }) };
  }
  const version = Math.max(before.version + 1, account.version);
  // What an ID's symbols mean changes only when it turns out to be two files.
  const generation =
    merged.ambiguous === before.ambiguous
      ? before.generation
      : Math.max(before.generation + 1, account.generation);
  return { entry: StoredRecord.of({ ...merged, version, generation }), event: 'record' };
}

function wantedFrom(current: Entry | null): ReturnType<Change['next']> {
  if (!(current instanceof StoredRecord) || current.record.symbols.state !== 'none') return null;
  const { record } = current;
  const symbols = { ...record.symbols, state: 'wanted' } as const;
  const entry = StoredRecord.of({ ...record, symbols, version: record.version + 1 });
  return { entry, event: 'record', wanted: true };
}

function announced(current: Entry | null): ReturnType<Change['next']> {
  return current instanceof StoredRecord ? { entry: current, event: 'record', wanted: true } : null;
}

function restored(current: Entry | null, earlier: ExecutableRecord): ReturnType<Change['next']> {
  if (current instanceof Tombstone) return null;
  if (!(current instanceof StoredRecord))
    return { entry: StoredRecord.of(earlier), event: 'record', ...keepTable(earlier) };
  const joined = withEarlier(current.record, earlier);
  const keep = keepTable(joined);
  if (joined === current.record) return keep.keep === undefined ? null : { entry: current, ...keep };
  return { entry: StoredRecord.of(joined), event: 'symbols', ...keep };
}

// Until a record names it, a table goes by itself.
function keepTable({ id, symbols: { digest } }: ExecutableRecord): { keep?: string } {
  return digest === undefined ? {} : { keep: tableAt(id, digest).key };
}

function assertDone(outcomes: ReadonlyMap<ExecutableId, Changed | StoreUnavailable>): void {
  for (const outcome of outcomes.values()) if (outcome instanceof StoreUnavailable) throw outcome;
}

function buried(current: Entry | null, now: number): ReturnType<Change['next']> {
  if (!(current instanceof StoredRecord)) return null;
  return { entry: new Tombstone(Math.max(now, current.record.generation + 1)), event: 'erased' };
}

function seenOn(current: Entry | null, day: string): ReturnType<Change['next']> {
  if (!(current instanceof StoredRecord) || current.record.lastSeen >= day) return null;
  return { entry: StoredRecord.of({ ...current.record, lastSeen: day }) };
}

function ownChange(record: ExecutableRecord): Change {
  return { id: record.id, next: (current) => joinRecord(current, record) };
}

// When an ID becomes ambiguous, each file filed under it so far gets what was known as a record of its own.
function splitChanges(record: ExecutableRecord): Change[] {
  return record.ids.htlhash.map((hash) =>
    ownChange({ ...record, id: htlhashId(hash), ids: { ...record.ids, htlhash: [hash] }, ambiguous: false }),
  );
}

function aliasChanges(id: ExecutableId, aliases: readonly ExecutableId[]): Change[] {
  return aliases
    .filter((alias) => alias !== id)
    .map((alias) => ({
      id: alias,
      next: (current) => {
        if (current instanceof StoredRecord || current instanceof Tombstone) return null;
        const next = current === null ? new Alias([id]) : current.with(id);
        return next === current ? null : { entry: next, event: 'record' };
      },
    }));
}

function aliasesOf({ ids }: ReportedExecutable): ExecutableId[] {
  return ids.go === undefined ? [ids.htlhash] : [ids.htlhash, ids.go];
}

function knownAliases({ ids }: ExecutableRecord): ExecutableId[] {
  return [...ids.htlhash.map(htlhashId), ...ids.go.map((go) => `go:${go}` as ExecutableId)];
}

function throughAlias(alias: Alias, target: Entry | null | StoreUnavailable): LookupOutcome {
  const outcome = target instanceof Alias ? 'not_found' : outcomeOf(target);
  if (alias.targets.length === 1 || !(outcome instanceof StoredRecord)) return outcome;
  return StoredRecord.of({ ...outcome.record, ambiguous: true });
}

function outcomeOf(entry: Entry | null | StoreUnavailable): LookupOutcome {
  if (entry instanceof StoreUnavailable) return 'unavailable';
  if (entry instanceof Tombstone) return 'erased';
  return entry instanceof StoredRecord ? entry : 'not_found';
}

function resultOf(
  id: ExecutableId,
  item: ReportedExecutable,
  filed: Changed | StoreUnavailable,
  second: ReadonlyMap<ExecutableId, Changed | StoreUnavailable>,
): ReportResult {
  if (filed instanceof StoreUnavailable) return failed(filed);
  if (filed.after instanceof Tombstone) return erasedResult(id);
  const record = (filed.after as StoredRecord).record;
  const aliases = aliasesOf(item).map((alias) => second.get(alias));
  const outage = aliases.find((outcome) => outcome instanceof StoreUnavailable);
  if (outage !== undefined) return failed(outage);
  if (!record.ambiguous) return { status: statusOf(filed), id, generation: record.generation };
  const own = second.get(item.ids.htlhash) as Changed;
  if (own.after instanceof Tombstone) return erasedResult(item.ids.htlhash);
  return {
    status: statusOf(own),
    id: item.ids.htlhash,
    generation: (own.after as StoredRecord).record.generation,
  };
}

function erasedResult(id: ExecutableId): ReportResult {
  return { status: 'error', id, error: { code: 'erased', message: `${id} was erased` } };
}

function statusOf({ before, after }: Changed): 'created' | 'merged' | 'unchanged' {
  if (!(before instanceof StoredRecord)) return 'created';
  const same = before === after || sameFacts(before.record, (after as StoredRecord).record);
  return same ? 'unchanged' : 'merged';
}

/** The result of an item that the store did not take, with why. */
export function failed({ message, reason }: StoreUnavailable): ReportResult {
  return { status: 'error', error: { code: 'unavailable', message, details: { reason } } };
}

export function unavailable(outage: StoreUnavailable): SymkeepError {
  return new SymkeepError('unavailable', outage.message, { cause: outage, retryAfterSeconds: 1 });
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T, index: number) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const [index, item] of items.entries()) {
    const key = keyOf(item, index);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
