// Where files are kept: debug files, symbol tables, the journal. A directory or an S3 bucket, one contract. A blob is
// there whole or not at all, and never changes: its key names its content or its place in a journal.
//
// What goes wrong is thrown as `unavailable` with a reason: `disk_full`, or `blobs` for a place that cannot be reached.
import type { Readable } from 'node:stream';
import { type ExecutableId, SymkeepError } from '@symkeep/protocol';

export interface BlobInfo {
  readonly key: string;
  readonly bytes: number;
  /** When it was written, Unix milliseconds; what is younger than an upload takes is never swept as an orphan. */
  readonly writtenAt: number;
}

/** Bytes `[start, end)` of a blob. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface BlobStore {
  /** For people: a directory or a bucket, without secrets. */
  readonly place: string;
  /**
   * Keeps the bytes of a local file under a key and returns once they are durable. The file is consumed: moved where that
   * is possible, else copied and removed. Writing what is there already renews `writtenAt` and nothing else.
   */
  keepFile(key: string, path: string): Promise<void>;
  keepBytes(key: string, bytes: Uint8Array): Promise<void>;
  /** Null if there is no such blob. */
  info(key: string): Promise<BlobInfo | null>;
  /** A range of a blob; null if there is none. */
  read(key: string, range?: ByteRange): Promise<Uint8Array | null>;
  /** The bytes as they come, never in memory as a whole; null if there is no such blob. */
  stream(key: string, range?: ByteRange): Promise<Readable | null>;
  /** Makes the blob a local file for as long as `use` runs: in place, or a copy that is removed after. */
  withFile<T>(key: string, use: (path: string) => Promise<T>): Promise<T | null>;
  /** Nothing happens if it is not there. */
  remove(key: string): Promise<void>;
  /** In the order of the keys. */
  list(prefix: string): AsyncIterable<BlobInfo>;
  /** A path for a new file on the disk where `keepFile` would move it, removed by `sweep` if it is left behind. */
  stagingPath(): Promise<string>;
  /** Removes what crashes left in staging, older than `olderThanMs`. Returns how many. */
  sweep(olderThanMs: number): Promise<number>;
}

/** A key in two parts or more, of which none can leave the place or hide in it. Throws on any other. */
export function checkedKey(key: string): string {
  if (!/^[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)+$/.test(key))
    throw new Error(`${JSON.stringify(key.slice(0, 80))} is no key of a blob`);
  return key;
}

/** The funnel from what a file system or a bucket throws. */
export function blobTrouble(place: string, thrown: unknown): SymkeepError {
  if (thrown instanceof SymkeepError) return thrown;
  const { code, message } = thrown as NodeJS.ErrnoException;
  const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
  const text = full ? `no room is left in ${place}` : `${place} cannot be used now: ${message}`;
  const details = { reason: full ? 'disk_full' : 'blobs' };
  return new SymkeepError('unavailable', text, { cause: thrown, details, retryAfterSeconds: full ? 60 : 5 });
}

/**
 * Everything of one executable is under one prefix, so that an erasure finds it all, and what two executables share is not
 * lost with one of them.
 */
export function executablePrefix(id: ExecutableId): string {
  const [kind, value = ''] = id.split(':', 2);
  return `executables/${value.slice(0, 2)}/${kind}-${value}/`;
}

/** A debug file or executable by its SHA-256, hex. */
export function debugFileKey(id: ExecutableId, digest: string): string {
  return `${executablePrefix(id)}files/${digest}`;
}

/** A symbol table by its digest: header, then pages, as `symkeep extract -o` writes it. */
export function tableKey(id: ExecutableId, digest: string): string {
  return `${executablePrefix(id)}tables/${digest}`;
}
