// The text of an event cursor: opaque to clients and bound to the epoch, since sequence numbers start anew when a store
// does. Layout before base64url: version byte, 8 bytes of the epoch's SHA-256, then one unsigned LEB128 per shard.
import { createHash } from 'node:crypto';
import { type EventCursor, shardCount } from '@symkeep/cache';
import { invalid } from '@symkeep/protocol';

const version = 1;
const epochBytes = 8;
/** 64 shards of at most 8 bytes each, in base64url. */
const textMax = Math.ceil(((1 + epochBytes + shardCount * 8) * 4) / 3);

export function formatCursor(cursor: EventCursor, epoch: string): string {
  const bytes = [version, ...epochDigest(epoch)];
  for (let sequence of cursor) {
    while (sequence >= 0x80) {
      bytes.push((sequence % 0x80) | 0x80);
      sequence = Math.floor(sequence / 0x80);
    }
    bytes.push(sequence);
  }
  return Buffer.from(bytes).toString('base64url');
}

/** The positions in a cursor; undefined if it is of another epoch. Throws `invalid_argument` on anything else. */
export function parseCursor(text: string, epoch: string): EventCursor | undefined {
  const bytes = Buffer.from(text.slice(0, textMax + 1), 'base64url');
  if (text.length > textMax || bytes[0] !== version || bytes.length < 1 + epochBytes) throw notOurs();
  if (!bytes.subarray(1, 1 + epochBytes).equals(epochDigest(epoch))) return undefined;
  const cursor: number[] = [];
  let at = 1 + epochBytes;
  while (at < bytes.length) {
    let sequence = 0;
    let scale = 1;
    let byte: number;
    do {
      byte = bytes[at++] ?? 0;
      sequence += (byte & 0x7f) * scale;
      scale *= 0x80;
    } while (byte >= 0x80);
    cursor.push(sequence);
  }
  if (cursor.length !== shardCount || !cursor.every(Number.isSafeInteger)) throw notOurs();
  return cursor;
}

function epochDigest(epoch: string): Buffer {
  return createHash('sha256').update(epoch).digest().subarray(0, epochBytes);
}

function notOurs() {
  return invalid('cursor: not one that this server gave');
}
