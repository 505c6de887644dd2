// Clears the blob store of what is no longer needed: files that no set names (an upload that died between its file and its
// set), and, where debug files are not to be kept, those whose symbols are extracted.
//
// A store that lost its sets looks just like files that nobody names. So a file goes only if it was written after this
// epoch began, as far as sweeps have seen: what the store may have lost is left for a rebuild.
import { type Clock, type EpochSample, type Store, type StoreKey, StoreUnavailable } from '@symkeep/cache';
import { decode, type ExecutableId, encode } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import type { Logger } from 'pino';
import { type BlobInfo, type BlobStore, debugFileKey, tableKey } from '../blobs/blob-store.ts';
import type { Catalog } from '../catalog/index.ts';
import type { Lease } from '../jobs/lease.ts';
import { type Source, type SourceSet, usableSources } from './source-set.ts';

const everyMs = 3_600_000;
/** Longer than any upload is between its file and its set, or between two clocks. */
export const orphanMsMin = 3_600_000;
/** Sets read in one round trip. */
const batchMax = 128;
const prefix = 'executables/';
const fileForm = /^executables\/[0-9a-f]{2}\/(gnu|htlhash)-([0-9a-f]+)\/files\/([0-9a-f]{64})$/;
const markAt: StoreKey = { shard: 0, key: 'sweep' };

export interface BlobSweeperDeps {
  readonly store: Store;
  readonly catalog: Pick<Catalog, 'epoch' | 'sources'>;
  readonly blobs: BlobStore;
  /** One worker does it at a time. */
  readonly lease: Lease;
  /** Whether debug files stay once their symbols are extracted. */
  readonly retain: 'keep' | 'drop';
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Swept {
  readonly files: number;
  readonly orphans: number;
  readonly dropped: number;
}

/** Since when sweeps have seen one epoch, Unix milliseconds by the store's clock. */
interface Mark {
  readonly epoch: string;
  readonly since: number;
}

interface KeptFile extends BlobInfo {
  readonly id: ExecutableId;
  readonly digest: string;
}

export class BlobSweeper {
  readonly #deps: BlobSweeperDeps;
  #cancel = (): void => undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(deps: BlobSweeperDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#cancel = this.#deps.clock.setRepeating(everyMs, () => this.#soon());
    this.#soon();
  }

  async stop(): Promise<void> {
    this.#cancel();
    await this.#running;
    await this.#deps.lease.release();
  }

  #soon(): void {
    this.#running = this.#running.then(async () => {
      try {
        if (await this.#deps.lease.take()) this.#deps.log.debug(await this.pass(), 'blobs swept');
      } catch (error) {
        this.#deps.log.warn({ err: error }, 'sweeping the blobs was cut short');
      }
    });
  }

  /** Looks at every file once. Throws what the stores throw. */
  async pass(): Promise<Swept> {
    const sample = known(this.#deps.catalog.epoch.sample());
    const before = await this.#orphansBefore(sample);
    const swept = { files: 0, orphans: 0, dropped: 0 };
    let batch: KeptFile[] = [];
    for await (const info of this.#deps.blobs.list(prefix)) {
      const [, kind, hex, digest] = fileForm.exec(info.key) ?? [];
      if (digest === undefined) continue;
      batch.push({ ...info, id: `${kind}:${hex}` as ExecutableId, digest });
      if (batch.length < batchMax) continue;
      await this.#look(batch, before, sample, swept);
      batch = [];
      if (!(await this.#deps.lease.take())) return swept;
    }
    await this.#look(batch, before, sample, swept);
    return swept;
  }

  // Sets are read after the files were listed, and a file that is put again is young again.
  async #look(
    files: readonly KeptFile[],
    before: { readonly from: number; readonly to: number },
    sample: EpochSample,
    swept: { -readonly [K in keyof Swept]: number },
  ): Promise<void> {
    if (files.length === 0) return;
    const sets = await this.#deps.catalog.sources.readMany(files.map(({ id }) => id));
    const outage = sample.outage();
    if (outage !== null) throw outage;
    for (const [index, file] of files.entries()) {
      swept.files++;
      const set = known(sets[index]!);
      const source = set.sources.find(({ digest }) => digest === file.digest);
      const isOld = file.writtenAt > before.from && file.writtenAt < before.to;
      if (source === undefined ? isOld && (await this.#isStill(file)) : source.dropped === true && isOld) {
        await this.#deps.blobs.remove(file.key);
        swept.orphans++;
      } else if (source !== undefined && this.#deps.retain === 'drop') {
        if (await this.#drop(file.id, set, source, sample)) swept.dropped++;
      }
    }
  }

  async #isStill({ key, writtenAt }: KeptFile): Promise<boolean> {
    return (await this.#deps.blobs.info(key))?.writtenAt === writtenAt;
  }

  /** When a file must have been written that no set names, to be an orphan. */
  async #orphansBefore({ epoch, confirm }: EpochSample): Promise<{ from: number; to: number }> {
    const { store } = this.#deps;
    const now = known(await store.now());
    const [read] = await store.get([markAt]);
    const expected = known(read) == null ? null : new Uint8Array(read as Uint8Array);
    const mark = expected === null ? undefined : (decode(expected, 'msgpack') as Mark);
    const to = now - orphanMsMin;
    // Two clocks are at work, and the first sweep of an epoch comes after its beginning, never before.
    if (mark?.epoch === epoch) return { from: mark.since, to };
    const value = encode({ epoch, since: now } satisfies Mark, 'msgpack');
    const swapped = known((await store.swap([{ at: markAt, expected, value }]))[0]!);
    confirm(markAt.shard, swapped.epoch);
    return { from: now, to };
  }

  // Known to the set first: a set that names a file which is gone would ask for it for ever.
  async #drop(id: ExecutableId, set: SourceSet, source: Source, sample: EpochSample): Promise<boolean> {
    if (
      !isExtracted(set, source) ||
      (await this.#deps.blobs.info(tableKey(id, set.tables[0]!.digest))) === null
    )
      return false;
    const changed = known(
      await this.#deps.catalog.sources.change(
        id,
        (current) => (isExtracted(current, source) ? withoutBytes(current, source.digest) : current),
        sample,
      ),
    );
    if (changed.before === changed.after) return false;
    const outage = sample.outage();
    if (outage !== null) throw outage;
    await this.#deps.blobs.remove(debugFileKey(id, source.digest));
    return true;
  }
}

/**
 * Whether a table has all that a file says. A stripped executable stays, for the debug file that may come for it; so does a
 * file that others refer to.
 */
function isExtracted(set: SourceSet, { digest, kind, quality, covered }: Source): boolean {
  const [table] = set.tables;
  const { attempt } = set;
  if (table === undefined || attempt?.version !== set.version || attempt.failure !== undefined) return false;
  if (table.format !== symbolTableVersion || table.partial !== undefined) return false;
  if (covered === 0 || (kind === 'executable' && quality !== 'dwarf')) return false;
  return table.from.includes(digest) && usableSources(set).some((source) => source.digest === digest);
}

function withoutBytes(set: SourceSet, digest: string): SourceSet {
  const sources = set.sources.map((source) =>
    source.digest === digest ? { ...source, dropped: true as const } : source,
  );
  return { ...set, sources };
}

function known<T>(value: T | StoreUnavailable): T {
  if (value instanceof StoreUnavailable) throw value;
  return value;
}
