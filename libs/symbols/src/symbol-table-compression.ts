// How headers and pages of symbol tables are compressed: zstd, which for these is as small as deflate, and whose output
// does not depend on the CPU as zlib's does, so that a table has one digest wherever it is made.
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { SymbolsError } from './symbols-error.ts';

/** Within 3 % of level 19 in a thirteenth of its time. */
const compressionLevel = 6;
/** Windows beyond the largest page; without a bound a frame may ask its reader for 128 MB. */
const windowLogMax = 20;

export function compress(content: Uint8Array): Buffer {
  return zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: compressionLevel } });
}

/** Throws `malformed` when `stored` is no single zstd frame of at most `bytesMax`. */
export function decompress(stored: Uint8Array, bytesMax: number, what: string): Buffer {
  try {
    return zstdDecompressSync(stored, {
      maxOutputLength: bytesMax,
      params: { [constants.ZSTD_d_windowLogMax]: windowLogMax },
    });
  } catch (error) {
    throw new SymbolsError('malformed', what, `not zstd of at most ${bytesMax} bytes`, error);
  }
}
