// A debug file or executable comes in: streamed to the disk beside the blobs, told by its bytes what it is and whose, kept
// if it makes anything better. Whoever dies on the way leaves a staged file, which is swept, or a blob that no set names,
// which is swept too.
import { readSync } from 'node:fs';
import { type Clock, type EpochSample, StoreUnavailable } from '@symkeep/cache';
import { ElfError, fileSource } from '@symkeep/elf';
import {
  canonicalIdOf,
  type ExecutableId,
  isErrorCode,
  kindOf,
  type Quality,
  SymkeepError,
} from '@symkeep/protocol';
import { type BlobStore, blobTrouble, debugFileKey } from '../blobs/blob-store.ts';
import { type Catalog, StoredRecord } from '../catalog/index.ts';
import { type IncomingBody, streamBody } from '../http/body.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { checkedAgainst, sha256In } from './content-digest.ts';
import { type FileFacts, inspectFile } from './inspect.ts';
import {
  replacedBy,
  type Source,
  type SourceKind,
  type SourceSet,
  type Trust,
  withSource,
  wouldImprove,
} from './source-set.ts';
import { StagedFile } from './staged-file.ts';

export interface ReceiveLimits {
  /** Of one file, decoded. */
  readonly fileBytesMax: number;
  /** At once in this process: each costs a socket, a file and some buffers. */
  readonly uploadsMax: number;
}

export interface ReceiverDeps {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly limits: ReceiveLimits;
}

/** A file that somebody might send. What is not known is absent. */
export interface Offer {
  readonly quality: Quality;
  readonly kind?: SourceKind;
  readonly covered?: number;
  /** SHA-256, hex. */
  readonly digest?: string;
}

export interface Upload {
  readonly id: ExecutableId;
  readonly body: IncomingBody;
  readonly contentDigest: string | undefined;
  readonly trust: Trust;
  /** Takes the place of the others of its kind, whatever they are. */
  readonly replace: boolean;
  /** Path or name of an executable, for its record. */
  readonly name: string;
  /** Called once the body is there: only then is the store touched. */
  readonly sample: () => EpochSample;
  /** Called once the body is there; throws if the file must not be filed any more. */
  readonly admit?: () => Promise<void>;
}

/** `kept`: what there was stays, for a reason. */
export type Received =
  | { readonly status: 'accepted'; readonly id: ExecutableId; readonly job: string; readonly digest: string }
  | { readonly status: 'kept'; readonly id: ExecutableId; readonly reason: Unwanted };

/** Why a file is not wanted. */
export type Unwanted = 'known' | 'not_better' | 'quarantined';

export class Receiver {
  readonly #deps: ReceiverDeps;
  #running = 0;

  constructor(deps: ReceiverDeps) {
    this.#deps = deps;
  }

  get limits(): ReceiveLimits {
    const { fileBytesMax, uploadsMax } = this.#deps.limits;
    return { fileBytesMax, uploadsMax };
  }

  /** Uploads that are on their way in this process. */
  get running(): number {
    return this.#running;
  }

  /** Why a file need not be sent; undefined: it is wanted. Throws `erased` or `unavailable`. */
  async unwanted(id: ExecutableId, offer: Offer, trust: Trust): Promise<Unwanted | undefined> {
    const record = await this.#recordOf(id);
    const set = await this.#setOf(record?.record.id ?? id);
    const known = set.sources.find(({ digest }) => digest === offer.digest);
    if (known !== undefined && withSource(set, { ...known, trust }, 0) === set) return reasonOf(known);
    return isBetter(set, offer, trust) ? undefined : 'not_better';
  }

  /**
   * Takes a file in. Throws `unprocessable` (no ELF file, cut short, not of this ID), `too_large`, `invalid_argument`,
   * `erased`, or `unavailable` (too many at once, no room, no store).
   */
  async receive(upload: Upload): Promise<Received> {
    const { blobs, limits } = this.#deps;
    if (this.#running >= limits.uploadsMax) throw busy(limits.uploadsMax);
    this.#running++;
    try {
      await using file = await stagedAt(blobs);
      const digest = await this.#write(file, upload);
      const facts = inspect(file);
      checkOwner(upload.id, facts);
      await upload.admit?.();
      return await this.#file(upload, facts, file, digest);
    } finally {
      this.#running--;
    }
  }

  async #write(file: StagedFile, { body, contentDigest }: Upload): Promise<string> {
    const { blobs, limits, clock } = this.#deps;
    const expected = sha256In(contentDigest);
    const chunks = expected === undefined ? body.chunks : checkedAgainst(expected, body.chunks);
    for await (const part of streamBody({ ...body, chunks }, limits.fileBytesMax, clock)) {
      await file.write(part).catch((error) => Promise.reject(blobTrouble(blobs.place, error)));
    }
    return file.finish();
  }

  async #file(upload: Upload, facts: FileFacts, file: StagedFile, digest: string): Promise<Received> {
    const { blobs, jobs } = this.#deps;
    const sample = upload.sample();
    const id = await this.#homeOf(upload, facts, sample);
    const set = await this.#setOf(id);
    const { kind, quality, covered, size, alt } = facts;
    const source: Omit<Source, 'at'> = {
      ...{ digest, bytes: size, kind, quality, covered, trust: upload.trust },
      ...(alt === undefined ? {} : { alt }),
    };
    const reason = upload.replace ? undefined : await this.#reasonToKeep(id, set, source);
    if (reason !== undefined) return { status: 'kept', id, reason };
    await blobs.keepFile(debugFileKey(id, digest), file.path);
    const after = await this.#add(id, source, upload.replace, sample);
    return { status: 'accepted', id, digest, job: await jobs.enqueue(id, after) };
  }

  // A file that is known may still be missed: its bytes may be lost, or the work on it never have begun.
  async #reasonToKeep(
    id: ExecutableId,
    set: SourceSet,
    source: Omit<Source, 'at'>,
  ): Promise<Unwanted | undefined> {
    const known = set.sources.find(({ digest }) => digest === source.digest);
    if (known === undefined) return wouldImprove(set, source) ? undefined : 'not_better';
    if (withSource(set, { ...source, at: 0 }, 0) !== set) return undefined;
    if (known.quarantined !== undefined) return 'quarantined';
    const record = await this.#recordOf(id);
    const state = record?.record.symbols.state ?? 'none';
    if (state === 'none' || state === 'wanted') return undefined;
    return (await this.#deps.blobs.info(debugFileKey(id, source.digest))) === null ? undefined : 'known';
  }

  async #add(
    id: ExecutableId,
    source: Omit<Source, 'at'>,
    replace: boolean,
    sample: EpochSample,
  ): Promise<SourceSet> {
    const changed = await this.#deps.catalog.sources.change(
      id,
      (set, now) => (replace ? replacedBy : withSource)(set, { ...source, at: now }, now),
      sample,
    );
    if (changed instanceof StoreUnavailable) throw changed;
    return changed.after;
  }

  // The executable that the file belongs to, by its canonical ID. Who sends a file has read it, so it is as good as an
  // agent's report.
  async #homeOf(upload: Upload, facts: FileFacts, sample: EpochSample): Promise<ExecutableId> {
    const { catalog } = this.#deps;
    const record = await this.#recordOf(upload.id);
    if (facts.kind === 'debug' && record !== undefined) {
      if (!record.record.ambiguous) return record.record.id;
      const message = `${upload.id} names two different files, and a debug file does not say of which it is`;
      throw new SymkeepError('unprocessable', message, { details: { reason: 'ambiguous' } });
    }
    const { ids, arch, type, load } = facts;
    const size = facts.kind === 'debug' ? 0 : facts.size;
    const [filed] = await catalog.executables.report(
      [{ ids, name: facts.kind === 'debug' ? '' : upload.name, arch, type, size, load }],
      sample,
    );
    if (filed?.error !== undefined) {
      const { code, message } = filed.error;
      throw new SymkeepError(isErrorCode(code) ? code : 'internal', message, { retryAfterSeconds: 1 });
    }
    return filed?.id ?? canonicalIdOf(ids);
  }

  async #recordOf(id: ExecutableId): Promise<StoredRecord | undefined> {
    const [outcome] = await this.#deps.catalog.executables.lookup([id]);
    if (outcome instanceof StoredRecord) return outcome;
    if (outcome === 'erased') throw new SymkeepError('erased', `${id} was erased`);
    if (outcome === 'not_found' || outcome === undefined) return undefined;
    throw new SymkeepError('unavailable', 'the store cannot be asked now', { retryAfterSeconds: 1 });
  }

  async #setOf(id: ExecutableId): Promise<SourceSet> {
    const set = await this.#deps.catalog.sources.read(id);
    if (set instanceof StoreUnavailable) throw set;
    return set;
  }
}

async function stagedAt(blobs: BlobStore): Promise<StagedFile> {
  const path = await blobs.stagingPath();
  return StagedFile.create(path).catch((error) => Promise.reject(blobTrouble(blobs.place, error)));
}

function inspect(file: StagedFile): FileFacts {
  const source = fileSource(file.size, (buffer, offset) =>
    readSync(file.fd, buffer, 0, buffer.length, offset),
  );
  try {
    return inspectFile(source);
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    const details = { reason: error.code };
    throw new SymkeepError('unprocessable', `no ELF file that can be used: ${error.message}`, { details });
  }
}

function checkOwner(id: ExecutableId, { ids }: FileFacts): void {
  const own = ids[kindOf(id)];
  if (own === id) return;
  const found = own === undefined ? 'has no such ID' : `is ${own}`;
  throw new SymkeepError('unprocessable', `the file is not of ${id}: it ${found}`, {
    details: { reason: 'wrong_id', ...(own === undefined ? {} : { found: own }) },
  });
}

// Of an offer that leaves out what it is, only what is better than everything is surely better.
function isBetter(set: SourceSet, offer: Offer, trust: Trust): boolean {
  const { quality, kind, covered = 0 } = offer;
  if (kind !== undefined) return wouldImprove(set, { kind, quality, covered, trust });
  const ofOneKind = { ...set, sources: set.sources.map((source) => ({ ...source, kind: 'debug' as const })) };
  return wouldImprove(ofOneKind, { kind: 'debug', quality, covered, trust });
}

function reasonOf({ quarantined }: Source): Unwanted {
  return quarantined === undefined ? 'known' : 'quarantined';
}

function busy(uploadsMax: number): SymkeepError {
  return new SymkeepError('unavailable', `${uploadsMax} uploads are on their way already`, {
    details: { reason: 'busy' },
    retryAfterSeconds: 1,
  });
}
