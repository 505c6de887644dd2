// Reads the MessagePack body of a lookup, `{ids: […]}`, straight into ID keys: no object, no string, no allocation.
// It accepts exactly what the general path (decode, validate, parse) would accept without a complaint, and answers -1 to
// anything else, which then takes the general path and gets its errors there.
import {
  type ExecutableId,
  gnuBytesMin,
  hexValues,
  idKeyBytes,
  idKeyOf,
  parseExecutableId,
  sharedGnuIds,
} from './ids.ts';
import { itemsMax } from './messages.ts';

/** Bytes of an ID that its key holds as they are; longer ones are hashed. */
const plainBytesMax = 20;
const htlhashHexDigits = 32;
const gnuCode = 1;
const htlhashCode = 2;

// A bit per value that many files share, set where its first and where its second byte stand.
const firstBytes = new Uint8Array(256);
const secondBytes = new Uint8Array(256);
for (const [index, hex] of ['0000', 'ffff', ...sharedGnuIds].entries()) {
  firstBytes[Number.parseInt(hex.slice(0, 2), 16)]! |= 1 << index;
  secondBytes[Number.parseInt(hex.slice(2, 4), 16)]! |= 1 << index;
}

// `{"ids": …` as it begins: a map of one, a string of three. msgpackr writes every map with a length of 16 bits.
const preludes = [
  Buffer.from([0x81, 0xa3, 0x69, 0x64, 0x73]),
  Buffer.from([0xde, 0, 1, 0xa3, 0x69, 0x64, 0x73]),
];
const gnuPrefix = Buffer.from('gnu:');
const htlhashPrefix = Buffer.from('htlhash:');

/** IDs of one message, read from MessagePack strings into keys. It serves one message at a time. */
export class IdReader {
  /** `idKeyBytes` per ID, in the order of the message. */
  readonly keys = new Uint8Array(itemsMax * idKeyBytes);
  readonly #starts = new Uint32Array(itemsMax);
  readonly #ends = new Uint32Array(itemsMax);
  /** Whether the ID was read without the strict parser: then its text only lacks its kind and its case. */
  readonly #plain = new Uint8Array(itemsMax);
  #body: Buffer = Buffer.alloc(0);

  begin(body: Buffer): void {
    this.#body = body;
  }

  /** Reads the string at `from` as the ID `index`; returns where it ends, or -1 if it is no ID. */
  read(from: number, index: number): number {
    const bytes = this.#body;
    const type = bytes[from];
    if (type === undefined) return -1;
    let start = from + 1;
    let length: number;
    if ((type & 0xe0) === 0xa0) length = type & 0x1f;
    else if (type === 0xd9 && bytes.length > start) length = bytes[start++]!;
    else return -1;
    const end = start + length;
    if (end > bytes.length) return -1;
    this.#starts[index] = start;
    this.#ends[index] = end;
    const offset = index * idKeyBytes;
    const plain = readKey(bytes, start, end, this.keys, offset);
    this.#plain[index] = plain ? 1 : 0;
    return plain || this.#parseKey(index, offset) ? end : -1;
  }

  /** As it was sent. */
  textAt(index: number): string {
    return this.#body.toString('latin1', this.#starts[index]!, this.#ends[index]!);
  }

  idAt(index: number): ExecutableId {
    const text = this.textAt(index);
    if (this.#plain[index] !== 1) return parseExecutableId(text);
    const lower = text.toLowerCase();
    return (lower.includes(':') ? lower : `gnu:${lower}`) as ExecutableId;
  }

  // What is rare or needs hashing: Go IDs, long digests, and whatever might be a placeholder.
  #parseKey(index: number, offset: number): boolean {
    try {
      idKeyOf(this.idAt(index), this.keys, offset);
      return true;
    } catch {
      return false; // not clean: the general path names the mistake
    }
  }
}

/** One reader serves one request at a time: `keys` and `idAt` belong to the body last read. */
export class LookupReader {
  readonly #ids = new IdReader();
  /** `idKeyBytes` per ID, in request order. */
  readonly keys = this.#ids.keys;

  /** The number of IDs in the body, or -1 if it is anything but a clean lookup. */
  read(body: Uint8Array): number {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    this.#ids.begin(bytes);
    const prelude = preludes.find((begin) => startsWith(bytes, begin, 0, bytes.length));
    if (prelude === undefined) return -1;
    let at = prelude.length + 1;
    const type = bytes[at - 1] ?? 0;
    let count: number;
    if ((type & 0xf0) === 0x90) count = type & 0x0f;
    else if (type === 0xdc && bytes.length >= at + 2) {
      count = bytes.readUInt16BE(at);
      at += 2;
    } else return -1;
    if (count > itemsMax) return -1;
    for (let index = 0; index < count; index++) {
      at = this.#ids.read(at, index);
      if (at < 0) return -1;
    }
    return at === bytes.length ? count : -1;
  }

  /** The ID at an index of the body last read. */
  idAt(index: number): ExecutableId {
    return this.#ids.idAt(index);
  }
}

/**
 * Writes the key of a GNU ID or htlhash in text form. False if this is no plain case: then ask `parseExecutableId`.
 */
export function readKey(
  text: Uint8Array,
  start: number,
  end: number,
  keys: Uint8Array,
  offset: number,
): boolean {
  let from = start;
  let kind = gnuCode;
  if (startsWith(text, gnuPrefix, start, end)) from += gnuPrefix.length;
  else if (startsWith(text, htlhashPrefix, start, end)) {
    from += htlhashPrefix.length;
    kind = htlhashCode;
  }
  const digits = end - from;
  const length = digits >> 1;
  if ((digits & 1) !== 0 || length > plainBytesMax || length < gnuBytesMin) return false;
  if (kind === htlhashCode && digits !== htlhashHexDigits) return false;
  const to = offset + 4;
  let wrong = 0;
  for (let byte = 0; byte < length; byte++, from += 2) {
    const high = hexValues[text[from]!]!;
    const low = hexValues[text[from + 1]!]!;
    wrong |= high | low;
    keys[to + byte] = (high << 4) | low;
  }
  if (wrong > 0x0f || mayBePlaceholder(keys, to)) return false;
  keys[offset] = kind;
  keys[offset + 1] = length;
  keys[offset + 2] = 0;
  keys[offset + 3] = 0;
  if (length < plainBytesMax) keys.fill(0, to + length, to + plainBytesMax);
  return true;
}

// All zeros, all ones, or the start of an ID that is refused by name: the strict parser decides.
function mayBePlaceholder(keys: Uint8Array, at: number): boolean {
  return (firstBytes[keys[at]!]! & secondBytes[keys[at + 1]!]!) !== 0;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array, start: number, end: number): boolean {
  if (end - start < prefix.length) return false;
  for (let index = 0; index < prefix.length; index++)
    if (bytes[start + index] !== prefix[index]) return false;
  return true;
}
