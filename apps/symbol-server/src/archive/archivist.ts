// Writes the journal: follows the event logs and states, every few seconds, what is known by then of each executable that
// changed. When it has lost the thread (a new epoch, trimmed logs, a first start) it states everything anew.
// One process of the fleet does this at a time; two would only repeat each other.
import {
  type Clock,
  type Epoch,
  type EventPage,
  type Store,
  StoreUnavailable,
  shardCount,
} from '@symkeep/cache';
import { decode, type ExecutableId, type SymkeepEvent } from '@symkeep/protocol';
import type { BlobStore } from '../blobs/blob-store.ts';
import { readEntry } from '../catalog/entry.ts';
import { allFramesAt, recordAt, sourcesAt } from '../catalog/keys.ts';
import { StoredRecord } from '../catalog/stored-record.ts';
import type { Lease } from '../jobs/lease.ts';
import { erasedIds } from './erasures.ts';
import {
  framesBytesMax,
  type JournalEntry,
  type JournalHead,
  joinedEntries,
  readSegment,
  segmentKeys,
  writeSegment,
} from './journal.ts';

/** What a lost Redis may lose of what agents cannot report again. */
const flushMs = 2_000;
const eventsPerRead = 1_000;
/** Executables read at once: a few hundred kilobytes. */
const batchMax = 200;
/** Of a segment, before it is compressed; a single entry may exceed it. */
const segmentBytes = 4 * 1024 * 1024;
/** Segments that are folded into few: about a day of a quiet fleet's. */
const compactAt = 2_000;
/** Of a segment that other segments of the same step follow. */
const unheard: JournalHead = { epoch: '', cursor: [] };

export interface ArchivistDeps {
  readonly store: Store;
  readonly epoch: Epoch;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  /** Whoever holds it writes the journal. */
  readonly lease: Pick<Lease, 'take' | 'release'>;
  readonly onTrouble: (error: Error) => void;
}

export class Archivist {
  readonly #deps: ArchivistDeps;
  #position: JournalHead | undefined;
  #lastAt = 0;
  /** Since the last compaction: earlier segments still speak of it. */
  #hasErased = false;
  #working: Promise<void> = Promise.resolve();
  #cancel = (): void => undefined;
  readonly counts = { segments: 0, entries: 0, fullPasses: 0, compactions: 0, failures: 0, framesLeftOut: 0 };

  constructor(deps: ArchivistDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#cancel = this.#deps.clock.setRepeating(flushMs, () => void this.advance());
  }

  /** Writes what is still to be written, and ends. */
  async stop(): Promise<void> {
    this.#cancel();
    await this.advance();
    await this.#deps.lease.release();
  }

  /** One step: states what changed since the last. One at a time; a failure is counted and tried again by the next. */
  advance(): Promise<void> {
    this.#working = this.#working.then(async () => {
      try {
        await this.#step();
      } catch (error) {
        this.counts.failures++;
        this.#deps.onTrouble(error as Error);
      }
    });
    return this.#working;
  }

  async #step(): Promise<void> {
    const { store, epoch } = this.#deps;
    const current = epoch.current;
    if (current === undefined) return;
    if (!(await this.#deps.lease.take())) {
      // Another one writes: where it is by then is in what it wrote.
      this.#position = undefined;
      return;
    }
    this.#position ??= await this.#lastPosition();
    if (this.#position?.epoch !== current) return this.#passOverAll(current);
    for (;;) {
      const page: EventPage | StoreUnavailable = await store.readEvents(this.#position.cursor, eventsPerRead);
      if (page instanceof StoreUnavailable) throw page;
      if (page.reset) return this.#passOverAll(current);
      if (page.events.length === 0) break;
      const events = page.events.map(({ payload }) => decode(payload, 'msgpack') as SymkeepEvent);
      const ids = new Set(events.map(({ id }) => id));
      await this.#state([...ids], { epoch: current, cursor: page.cursor });
      this.#hasErased ||= events.some(({ kind }) => kind === 'erased');
    }
    await this.compact(this.#hasErased);
    this.#hasErased = false;
  }

  /** What the newest segment says that the journal has heard. */
  async #lastPosition(): Promise<JournalHead | undefined> {
    const newest = (await segmentKeys(this.#deps.blobs)).at(-1);
    if (newest === undefined) return undefined;
    return (await readSegment(this.#deps.blobs, newest))?.head;
  }

  // From the end of the logs as it was before: what changes meanwhile is stated again.
  async #passOverAll(epoch: string): Promise<void> {
    const { store } = this.#deps;
    this.counts.fullPasses++;
    const cursor = await store.eventTail();
    if (cursor instanceof StoreUnavailable) throw cursor;
    const segments = this.#segments();
    for (let shard = 0; shard < shardCount; shard++) {
      for (let after = ''; ; ) {
        const members = await store.scanIndex(shard, after, batchMax);
        if (members instanceof StoreUnavailable) throw members;
        if (members.length === 0) break;
        after = members.at(-1)!;
        for (const entry of await this.#read(members.map(idIn))) await segments.add(entry);
      }
    }
    await segments.end({ epoch, cursor });
    this.#position = { epoch, cursor };
  }

  async #state(ids: readonly ExecutableId[], head: JournalHead): Promise<void> {
    const segments = this.#segments();
    for (let from = 0; from < ids.length; from += batchMax) {
      for (const entry of await this.#read(ids.slice(from, from + batchMax))) await segments.add(entry);
    }
    // Aliases and erasures have no entry: that they were heard needs no segment.
    if (!segments.isEmpty) await segments.end(head);
    this.#position = head;
  }

  /** What the store holds of each; aliases and erased ones have no entry. */
  async #read(ids: readonly ExecutableId[]): Promise<JournalEntry[]> {
    const { store } = this.#deps;
    const read = await store.get(ids.flatMap((id) => [recordAt(id), sourcesAt(id)]));
    const entries: JournalEntry[] = [];
    for (const [index, id] of ids.entries()) {
      const [record, sources] = [read[2 * index]!, read[2 * index + 1]!];
      if (record instanceof StoreUnavailable) throw record;
      if (sources instanceof StoreUnavailable) throw sources;
      if (record === null) continue;
      const entry = readEntry(record);
      if (!(entry instanceof StoredRecord)) continue;
      const frames = entry.record.agentFrames ? await this.#framesOf(id) : [];
      entries.push({
        id,
        record: new Uint8Array(record),
        frames,
        sources: sources && new Uint8Array(sources),
      });
    }
    return entries;
  }

  async #framesOf(id: ExecutableId): Promise<[string, Uint8Array][]> {
    const { store } = this.#deps;
    const at = allFramesAt(id);
    const windows = await store.listFields(at);
    if (windows instanceof StoreUnavailable) throw windows;
    const values = await store.get(windows.map((field) => ({ ...at, field })));
    let bytes = 0;
    return windows.flatMap((window, index): [string, Uint8Array][] => {
      const value = values[index]!;
      if (value instanceof StoreUnavailable) throw value;
      if (value === null) return [];
      bytes += value.length;
      if (bytes <= framesBytesMax) return [[window, new Uint8Array(value)]];
      this.counts.framesLeftOut++;
      return [];
    });
  }

  #segments(): Segments {
    return new Segments(async (entries, head) => {
      const { store, blobs } = this.#deps;
      const now = await store.now();
      if (now instanceof StoreUnavailable) throw now;
      // Their order is that of their names.
      this.#lastAt = Math.max(this.#lastAt + 1, now);
      await writeSegment(blobs, this.#lastAt, head, entries);
      this.counts.segments++;
      this.counts.entries += entries.length;
    });
  }

  /**
   * Folds the segments into few once they are many, or at once after an erasure, whose traces are to go: writes what they
   * say of each executable anew, then removes the segments that were there before.
   */
  async compact(force = false): Promise<void> {
    const { blobs } = this.#deps;
    const keys = await segmentKeys(blobs);
    if (keys.length === 0 || (keys.length < compactAt && !force)) return;
    const erased = await erasedIds(blobs);
    const head = (await readSegment(blobs, keys.at(-1)!))?.head ?? unheard;
    const segments = this.#segments();
    for await (const entry of joinedEntries(blobs, keys))
      if (!erased.has(entry.id)) await segments.add(entry);
    await segments.end(head);
    for (const key of keys) await blobs.remove(key);
    this.counts.compactions++;
  }
}

/** Gathers entries into segments of some size; only the last of them says how far the event log was heard. */
class Segments {
  readonly #write: (entries: readonly JournalEntry[], head: JournalHead) => Promise<void>;
  #entries: JournalEntry[] = [];
  #bytes = 0;

  constructor(write: (entries: readonly JournalEntry[], head: JournalHead) => Promise<void>) {
    this.#write = write;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  async add(entry: JournalEntry): Promise<void> {
    if (this.#bytes >= segmentBytes) await this.end(unheard);
    this.#entries.push(entry);
    this.#bytes += sizeOf(entry);
  }

  async end(head: JournalHead): Promise<void> {
    await this.#write(this.#entries, head);
    this.#entries = [];
    this.#bytes = 0;
  }
}

function sizeOf({ record, frames, sources }: JournalEntry): number {
  const framesBytes = frames.reduce((sum, [, value]) => sum + value.length + 16, 0);
  return record.length + framesBytes + (sources?.length ?? 0) + 64;
}

function idIn(member: string): ExecutableId {
  return member.slice(member.lastIndexOf('\0') + 1) as ExecutableId;
}
