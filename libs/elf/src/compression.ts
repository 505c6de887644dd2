// Compressed sections: SHF_COMPRESSED with zlib or zstd (gABI, "Section Compression"), and GNU's older `.zdebug_*`. What
// a section claims to inflate to is checked against what its bytes can before anything is allocated for it.
import { constants, inflateSync, zstdDecompressSync } from 'node:zlib';
import { ElfError } from './elf-error.ts';
import { type Encoding, Fields } from './fields.ts';

/** How a section is compressed: `headerBytes` before the stream, which inflates to `size` bytes. */
export interface Compression {
  readonly format: 'zlib' | 'zstd';
  readonly headerBytes: number;
  readonly size: number;
}

/** No deflate stream reaches more (a match of 258 bytes takes two bits): a larger claim is a lie. */
export const zlibRatioMax = 1_032;
/** zstd has no such bound; debug sections of real files stay under 200. */
export const zstdRatioMax = 4_096;
/** Small sections of zeros have any ratio, and harm nobody. */
export const freeInflationBytesMax = 1_048_576;
/** 8 MiB: what zstd uses up to level 19; windows of its `ultra` levels cost a reader up to 2 GiB. */
const zstdWindowLogMax = 23;
/** zlib counts output in 32 bits. */
const inflateChunkBytesMax = 0x4000_0000;

/** Bytes of the longest compression header. */
export const compressionHeaderBytesMax = 24;

/** Reads the header at the start of a section with SHF_COMPRESSED. Throws `truncated` or `unsupported`. */
export function compressionOf(start: Uint8Array, encoding: Encoding, what: string): Compression {
  const headerBytes = encoding.class === 64 ? 24 : 12;
  if (start.length < headerBytes)
    throw new ElfError('truncated', what, 'shorter than its compression header');
  const fields = new Fields(start, encoding);
  const type = fields.u32(0);
  if (type !== 1 && type !== 2) throw new ElfError('unsupported', what, `compression type ${type}`);
  return {
    format: type === 1 ? 'zlib' : 'zstd',
    headerBytes,
    size: fields.word(encoding.class === 64 ? 8 : 4),
  };
}

/** The same of a `.zdebug_*` section: `ZLIB` and the size, big-endian in every file. */
export function zdebugCompressionOf(start: Uint8Array, what: string): Compression {
  if (start.length < 12) throw new ElfError('truncated', what, 'shorter than its compression header');
  const fields = new Fields(start, { class: 64, littleEndian: false });
  if (fields.u32(0) !== 0x5a4c4942) throw new ElfError('malformed', what, 'no ZLIB at its start');
  return { format: 'zlib', headerBytes: 12, size: fields.u64(4) };
}

/** Throws `malformed` or `limit` if `streamBytes` bytes cannot, or should not, inflate to what the header claims. */
export function checkInflation({ format, size }: Compression, streamBytes: number, what: string): void {
  const claim = `claims ${size} bytes from ${streamBytes}`;
  if (format === 'zlib' && size > zlibRatioMax * streamBytes) throw new ElfError('malformed', what, claim);
  if (format === 'zstd' && size > Math.max(freeInflationBytesMax, zstdRatioMax * streamBytes)) {
    throw new ElfError('limit', what, claim);
  }
}

const noMemoryCodes: readonly unknown[] = [
  ...['ERR_MEMORY_ALLOCATION_FAILED', 'ERR_WORKER_OUT_OF_MEMORY', 'ENOMEM'],
  ...['Z_MEM_ERROR', 'ZSTD_error_memory_allocation'],
];

/** Whether an error says that there was no memory, which says nothing of the file: in the ways that Node, V8 and zlib do. */
export function isOutOfMemory(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  if (noMemoryCodes.includes(code)) return true;
  return error instanceof RangeError && error.message.includes('allocation failed');
}

/**
 * Inflates the stream behind the header to exactly the size it claims. Throws `malformed` or `limit`; what Node throws when
 * there is no memory for it passes through.
 */
export function inflate(section: Uint8Array, compression: Compression, what: string): Uint8Array {
  const { format, headerBytes, size } = compression;
  const stream = section.subarray(headerBytes);
  checkInflation(compression, stream.length, what);
  // One chunk of the whole size, and a little to see the end in: the output is not copied together from pieces.
  const chunkSize = Math.min(size + 64, inflateChunkBytesMax);
  const options = { chunkSize, maxOutputLength: Math.max(1, size) };
  let bytes: Uint8Array;
  try {
    bytes =
      format === 'zlib'
        ? inflateSync(stream, options)
        : zstdDecompressSync(stream, {
            ...options,
            params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax },
          });
  } catch (error) {
    if (isOutOfMemory(error)) throw error;
    throw new ElfError(
      'malformed',
      what,
      `its ${format} stream is broken or longer than ${size} bytes`,
      error,
    );
  }
  if (bytes.length !== size)
    throw new ElfError('malformed', what, `inflates to ${bytes.length} bytes, not ${size}`);
  return bytes;
}
