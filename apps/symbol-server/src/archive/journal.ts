// The journal: what Redis holds of executables, kept in the blob store so that an empty Redis can be filled again. It is a
// row of segments that are never changed; each entry states all that was known of one executable at that time. The last one
// says it all unless the store had lost something by then; so what counts is all entries of an executable, joined.
//
//   journal/<Unix ms, 15 digits>-<random>   "SKJ1", then one zstd frame with a checksum, which holds
//     a head     u32 length, MessagePack {cursor, epoch}: how far the event log is in this segment and those before
//     entries    u32 length, MessagePack {id, record, frames, sources}
//
// Lengths are little-endian. docs/formats.md says why a version changed.
import { randomBytes } from 'node:crypto';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { decode, type ExecutableId, encode } from '@symkeep/protocol';
import type { BlobStore } from '../blobs/blob-store.ts';
import { joinEntries } from './join-entries.ts';

const magic = 'SKJ1';
const prefix = 'journal/';
/** Of a segment, decompressed: what a reader holds at once. Usual ones have four megabytes. */
export const segmentBytesMax = 256 * 1024 * 1024;
/** Of the agents' frames in one entry: over a million frames. */
export const framesBytesMax = 128 * 1024 * 1024;
const windowLogMax = 24;
/** Of segments, compressed, whose entries may be in memory at once: some hundred megabytes. */
const partBytesUsual = 32 * 1024 * 1024;

/** How far the journal follows the event log. */
export interface JournalHead {
  readonly epoch: string;
  /** Sequence numbers by shard. */
  readonly cursor: readonly number[];
}

export interface JournalEntry {
  readonly id: ExecutableId;
  /** The record as stored. */
  readonly record: Uint8Array;
  /** Agents' frames as stored, by window. */
  readonly frames: readonly (readonly [window: string, value: Uint8Array])[];
  /** The set of sources as stored; null if there is none. */
  readonly sources: Uint8Array | null;
}

export class JournalDamage extends Error {
  override readonly name = 'JournalDamage';
  constructor(key: string, what: string, cause?: unknown) {
    super(`${key}: ${what}`, cause === undefined ? undefined : { cause });
  }
}

/** Writes a segment and returns its key once it is durable. `at` is the store's time, Unix milliseconds. */
export async function writeSegment(
  blobs: BlobStore,
  at: number,
  head: JournalHead,
  entries: readonly JournalEntry[],
): Promise<string> {
  const key = `${prefix}${String(at).padStart(15, '0')}-${randomBytes(6).toString('hex')}`;
  await blobs.keepBytes(key, encodeSegment(head, entries));
  return key;
}

export function encodeSegment(head: JournalHead, entries: readonly JournalEntry[]): Uint8Array {
  const parts = [head, ...entries].flatMap((value) => {
    const bytes = encode(value, 'msgpack');
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  });
  const plain = Buffer.concat(parts);
  if (plain.length > segmentBytesMax) throw new RangeError(`a segment of ${plain.length} bytes`);
  const packed = zstdCompressSync(plain, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
  return Buffer.concat([Buffer.from(magic), packed]);
}

/** Throws `JournalDamage` with `key` in its message. */
export function decodeSegment(
  key: string,
  bytes: Uint8Array,
): { head: JournalHead; entries: JournalEntry[] } {
  if (Buffer.from(bytes.subarray(0, 4)).toString('latin1') !== magic)
    throw new JournalDamage(key, 'is no segment');
  const plain = decompress(key, bytes.subarray(4));
  const values: unknown[] = [];
  for (let at = 0; at < plain.length; ) {
    if (at + 4 > plain.length) throw new JournalDamage(key, `is cut at byte ${at}`);
    const length = plain.readUInt32LE(at);
    if (at + 4 + length > plain.length)
      throw new JournalDamage(key, `has an entry that is cut at byte ${at}`);
    values.push(decode(plain.subarray(at + 4, at + 4 + length), 'msgpack'));
    at += 4 + length;
  }
  if (values.length === 0) throw new JournalDamage(key, 'has no head');
  return { head: values[0] as JournalHead, entries: values.slice(1) as JournalEntry[] };
}

function decompress(key: string, packed: Uint8Array): Buffer {
  try {
    const params = { [constants.ZSTD_d_windowLogMax]: windowLogMax };
    return zstdDecompressSync(packed, { params, maxOutputLength: segmentBytesMax });
  } catch (error) {
    throw new JournalDamage(key, (error as Error).message, error);
  }
}

/** Keys of all segments, oldest first. */
export async function segmentKeys(blobs: BlobStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of blobs.list(prefix)) keys.push(key);
  return keys;
}

/**
 * What the segments say of each executable, all its entries joined. Executables are taken in parts, so that only some are
 * in memory at a time; the segments are read once for each part.
 */
export async function* joinedEntries(
  blobs: BlobStore,
  keys: readonly string[],
  partBytes = partBytesUsual,
): AsyncGenerator<JournalEntry> {
  const parts = Math.max(1, Math.ceil((await bytesOf(blobs, new Set(keys))) / partBytes));
  for (let part = 0; part < parts; part++) {
    const joined = new Map<ExecutableId, JournalEntry>();
    for (const key of keys) {
      for (const entry of (await readSegment(blobs, key))?.entries ?? []) {
        if (partOf(entry.id, parts) !== part) continue;
        const earlier = joined.get(entry.id);
        joined.set(entry.id, earlier === undefined ? entry : joinEntries(earlier, entry));
      }
    }
    yield* joined.values();
  }
}

async function bytesOf(blobs: BlobStore, keys: ReadonlySet<string>): Promise<number> {
  let sum = 0;
  for await (const { key, bytes } of blobs.list(prefix)) if (keys.has(key)) sum += bytes;
  return sum;
}

function partOf(id: ExecutableId, parts: number): number {
  return crc32(id) % parts;
}

export async function readSegment(
  blobs: BlobStore,
  key: string,
): Promise<{ head: JournalHead; entries: JournalEntry[] } | null> {
  const bytes = await blobs.read(key);
  return bytes === null ? null : decodeSegment(key, bytes);
}
