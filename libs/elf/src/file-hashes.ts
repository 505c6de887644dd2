// The two IDs that OpenTelemetry profiles compute: htlhash of a file's content, and the file ID of a kernel, of which
// only the build ID is at hand.
import { createHash } from 'node:crypto';
import { type ByteSource, holdEnds } from './byte-source.ts';

/** The hash covers at most this many bytes of either end of the file; in a shorter one the two parts overlap. */
export const htlhashEndBytes = 4_096;
const htlhashBytes = 16;

/** htlhash of any file, ELF or not: 32 lower-case hex digits. */
export function htlhashOf(source: ByteSource): string {
  const { head, tail, size } = holdEnds(source, htlhashEndBytes);
  return htlhashOfEnds(head, tail, size);
}

/** The same from the first and last `htlhashEndBytes` (or all) of the bytes and the size of the file. */
export function htlhashOfEnds(head: Uint8Array, tail: Uint8Array, size: number): string {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(size));
  const digest = createHash('sha256').update(head).update(tail).update(length).digest();
  return digest.toString('hex', 0, htlhashBytes);
}

const fnvOffset = 0x6c62272e07bb014262b821756295c58dn;
const fnvPrime = 0x0000000001000000000000000000013bn;

/** The profiler's file ID of a kernel or module: FNV-128a of the hex *text* of its GNU build ID; 32 hex digits. */
export function kernelFileIdOf(gnuHex: string): string {
  let hash = fnvOffset;
  for (const byte of Buffer.from(gnuHex.toLowerCase(), 'latin1')) {
    hash = BigInt.asUintN(128, (hash ^ BigInt(byte)) * fnvPrime);
  }
  return hash.toString(16).padStart(32, '0');
}
