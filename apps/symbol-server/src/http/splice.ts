// Replies that hold stored records, put together from the bytes that the store holds: nothing is decoded or encoded
// again, in MessagePack nor (once a record's JSON was made) in JSON.
import { type Encoding, encode, type LookupResult } from '@symkeep/protocol';
import type { StoredRecord } from '../catalog/index.ts';

export type LookupItem = StoredRecord | 'not_found' | 'unavailable' | 'erased' | 'invalid_argument';
type ItemError = Exclude<LookupItem, StoredRecord>;

const itemErrors: readonly ItemError[] = ['not_found', 'unavailable', 'erased', 'invalid_argument'];
const errorBytes = Object.fromEntries(
  itemErrors.map((code) => {
    const result: LookupResult = { error: { code } };
    return [code, { json: encode(result, 'json'), msgpack: encode(result, 'msgpack') }];
  }),
) as Record<ItemError, Record<Encoding, Uint8Array>>;

// {"results": … and {"record": … as MessagePack: a map of one, a string of seven or six.
const resultsKey = Buffer.from('\x81\xa7results', 'latin1');
const recordKey = Buffer.from('\x81\xa6record', 'latin1');
const arrayHeadBytesMax = 3;

/** Size of `{results:[…]}` in MessagePack, at most. */
export function lookupReplyBytes(items: readonly LookupItem[], count: number): number {
  let size = resultsKey.length + arrayHeadBytesMax;
  for (let index = 0; index < count; index++) {
    const item = items[index]!;
    size +=
      typeof item === 'string' ? errorBytes[item].msgpack.length : recordKey.length + item.wireText.length;
  }
  return size;
}

/** Writes `{results:[{record} or {error}…]}` in MessagePack; returns its length. */
export function writeLookupReply(items: readonly LookupItem[], count: number, into: Buffer): number {
  into.set(resultsKey, 0);
  let at = writeArrayHead(into, resultsKey.length, count);
  for (let index = 0; index < count; index++) {
    const item = items[index]!;
    if (typeof item === 'string') {
      into.set(errorBytes[item].msgpack, at);
      at += errorBytes[item].msgpack.length;
      continue;
    }
    // A loop: a call of `set` costs more than these eight bytes.
    for (let byte = 0; byte < recordKey.length; byte++) into[at++] = recordKey[byte]!;
    at += into.write(item.wireText, at, 'latin1');
  }
  return at;
}

/** `{results:[{record} or {error}…]}`. */
export function lookupReply(items: readonly LookupItem[], encoding: Encoding): Uint8Array {
  if (encoding === 'msgpack') {
    const bytes = Buffer.allocUnsafe(lookupReplyBytes(items, items.length));
    return bytes.subarray(0, writeLookupReply(items, items.length, bytes));
  }
  const parts = items.map((item) =>
    typeof item === 'string'
      ? [errorBytes[item].json]
      : [Buffer.from('{"record":'), item.json, Buffer.from('}')],
  );
  return Buffer.concat([Buffer.from('{"results":['), ...commaSeparated(parts), Buffer.from(']}')]);
}

/** `{items:[record…], nextCursor}`. */
export function listReply(
  items: readonly StoredRecord[],
  nextCursor: string | null,
  encoding: Encoding,
): Uint8Array {
  const cursor = encode(nextCursor, encoding);
  if (encoding === 'json') {
    const parts = commaSeparated(items.map((item) => [item.json]));
    return Buffer.concat([
      Buffer.from('{"items":['),
      ...parts,
      Buffer.from('],"nextCursor":'),
      cursor,
      Buffer.from('}'),
    ]);
  }
  const head = Buffer.alloc(arrayHeadBytesMax);
  const headBytes = writeArrayHead(head, 0, items.length);
  return Buffer.concat([
    Buffer.from('\x82\xa5items', 'latin1'),
    head.subarray(0, headBytes),
    ...items.map((item) => item.wire),
    Buffer.from('\xaanextCursor', 'latin1'),
    cursor,
  ]);
}

function writeArrayHead(into: Buffer, at: number, count: number): number {
  if (count < 16) return into.writeUInt8(0x90 | count, at);
  into[at] = 0xdc;
  return into.writeUInt16BE(count, at + 1);
}

function commaSeparated(parts: readonly (readonly Uint8Array[])[]): Uint8Array[] {
  const comma = Buffer.from(',');
  return parts.flatMap((part, index) => (index === 0 ? part : [comma, ...part]));
}
