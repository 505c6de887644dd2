// One fixed width for IDs of every length, so that they can be keys of a table of fixed memory.

import { hash } from 'node:crypto';

/** Width of what `keyOf` makes: a tag and 20 bytes, the length of most build IDs. */
export const idKeyBytes = 21;

const bodyBytes = 20;
const hashedTag = bodyBytes + 1;
const kindMax = 7;

/**
 * The key of an ID: a tag of 3 bits of `kind` (0..7) and 5 bits of length, then the ID itself padded with zeros, or,
 * beyond 20 bytes, its SHA-256 cut to 20 bytes with a length no short ID has. So two IDs share a key only if SHA-256
 * collides, never by padding, nor across kinds. Computed once, at the edge.
 */
export function keyOf(id: Uint8Array, kind = 0): Uint8Array {
  if (!Number.isInteger(kind) || kind < 0 || kind > kindMax) {
    throw new RangeError(`the kind ${kind} of an ID is not within 0 and ${kindMax}`);
  }
  const key = new Uint8Array(idKeyBytes);
  const isLong = id.length > bodyBytes;
  key[0] = (kind << 5) | (isLong ? hashedTag : id.length);
  key.set(isLong ? hash('sha256', id, 'buffer').subarray(0, bodyBytes) : id, 1);
  return key;
}
