// Finds rows of a fixed memory by binary key and keeps them in the order of their last use: the core that `Lru` and
// `Absences` share. Rows are numbers (0 is none); a row holds its links, words of its owner's, and its key.
//
//   heads    bucket → row ─┐
//   rows     ┌─────────────▼───────────────────────────────────────────┐
//            │ next in bucket │ newer │ older │ owner… │ key…          │  one run of Int32 for each row
//            └─────────────────────────────────────────────────────────┘
//            row 0 is the anchor of the recency ring: its newer is the oldest row, its older the newest.
//
// Buckets are chains of indexes: a removal unlinks one row and leaves nothing behind. Probing in place would leave
// tombstones, or shift rows, each of whose homes must be hashed anew.

import { randomFillSync } from 'node:crypto';

export interface KeyTableOptions {
  /** 1..64; every key is this wide. */
  keyBytes: number;
  /** Keys are followed by a 64-bit address, given as two words. */
  addressed?: boolean | undefined;
  entriesMax: number;
  /** Words of the owner's in each row. */
  ownWords: number;
  /** Fills the secret of the hash; only tests give another than the system's. */
  random?: ((words: Int32Array) => unknown) | undefined;
}

/** Place in a row of the first of the owner's words. */
export const ownWord = 3;

const nextWord = 0;
const newerWord = 1;
const olderWord = 2;

const keyBytesMax = 64;
// A row's place must fit in an Int32 with the widest keys.
const entriesLimit = 2 ** 24;
const addressBytes = 8;
// Keys of 20 bytes and more, nearly all there are, take their first five words by straight-line code.
const unrolledWords = 5;

export class KeyTable {
  readonly entriesMax: number;
  readonly stride: number;
  readonly rows: Int32Array;
  size = 0;
  /** Rows inserted into a bucket that was not empty. */
  collisions = 0;

  readonly #keyBytes: number;
  readonly #fullWords: number;
  readonly #restBytes: number;
  readonly #addressed: boolean;
  readonly #keyWord: number;
  readonly #keyWords: number;
  readonly #heads: Int32Array;
  readonly #bucketShift: number;
  /** Two odd multipliers for each word of the key. */
  readonly #secret: Int32Array;
  /** The key last looked for and not found, as words, and its bucket: what `insert` inserts. */
  readonly #sought: Int32Array;
  #soughtBucket = 0;
  #unusedRow = 1;
  #freeRow = 0;

  constructor(options: KeyTableOptions) {
    const { keyBytes, entriesMax, ownWords } = options;
    requireInteger('keyBytes', keyBytes, 1, keyBytesMax);
    requireInteger('entriesMax', entriesMax, 1, entriesLimit);
    this.entriesMax = entriesMax;
    this.#keyBytes = keyBytes;
    this.#fullWords = keyBytes >> 2;
    this.#restBytes = keyBytes & 3;
    this.#addressed = options.addressed === true;
    this.#keyWord = ownWord + ownWords;
    this.#keyWords = Math.ceil(keyBytes / 4) + (this.#addressed ? 2 : 0);
    this.stride = this.#keyWord + this.#keyWords;
    this.rows = new Int32Array((entriesMax + 1) * this.stride);
    const bucketBits = 32 - Math.clz32(entriesMax);
    this.#heads = new Int32Array(2 ** bucketBits);
    this.#bucketShift = 32 - bucketBits;
    this.#sought = new Int32Array(this.#keyWords);
    this.#secret = new Int32Array(2 * this.#keyWords);
    (options.random ?? randomFillSync)(this.#secret);
    for (let i = 0; i < this.#secret.length; i++) this.#secret[i]! |= 1;
  }

  get oldest(): number {
    return this.rows[newerWord]!;
  }

  /** The row used next after this one; 0 after the newest. */
  newerThan(row: number): number {
    return this.rows[row * this.stride + newerWord]!;
  }

  /** Memory of the table itself. */
  get memoryBytes(): number {
    return this.rows.byteLength + this.#heads.byteLength;
  }

  /** The row with the key at `offset`, or 0: then `insert` makes one for it. */
  find(bytes: Uint8Array, offset: number, lo: number, hi: number): number {
    if ((offset | 0) !== offset || offset < 0 || offset + this.#keyBytes > bytes.length) {
      throw new RangeError(`no key of ${this.#keyBytes} bytes at offset ${offset} of ${bytes.length} bytes`);
    }
    if (this.#fullWords < unrolledWords) return this.#findShort(bytes, offset, lo, hi);
    const secret = this.#secret;
    const a = wordAt(bytes, offset);
    const b = wordAt(bytes, offset + 4);
    const c = wordAt(bytes, offset + 8);
    const d = wordAt(bytes, offset + 12);
    const e = wordAt(bytes, offset + 16);
    let hash = mix(a, secret[0]!, secret[1]!);
    hash = (hash + mix(b, secret[2]!, secret[3]!)) | 0;
    hash = (hash + mix(c, secret[4]!, secret[5]!)) | 0;
    hash = (hash + mix(d, secret[6]!, secret[7]!)) | 0;
    hash = (hash + mix(e, secret[8]!, secret[9]!)) | 0;
    const hasRest = this.#keyWords > unrolledWords;
    if (hasRest) hash = (hash + this.#readRest(bytes, offset + 4 * unrolledWords, unrolledWords, lo, hi)) | 0;
    const bucket = bucketOf(hash, this.#bucketShift);
    const { rows, stride } = this;
    let before = 0;
    for (let row = this.#heads[bucket]!; row !== 0; row = rows[row * stride + nextWord]!) {
      const at = row * stride + this.#keyWord;
      if (
        rows[at] === a &&
        rows[at + 1] === b &&
        rows[at + 2] === c &&
        rows[at + 3] === d &&
        rows[at + 4] === e
      ) {
        if (!hasRest || this.#matches(at, unrolledWords)) {
          if (before !== 0) this.#bringToHead(row, before, bucket);
          return row;
        }
      }
      before = row;
    }
    const sought = this.#sought;
    sought[0] = a;
    sought[1] = b;
    sought[2] = c;
    sought[3] = d;
    sought[4] = e;
    this.#soughtBucket = bucket;
    return 0;
  }

  /** Makes a row, the newest, for the key that `find` has just not found. The caller sees to it that one is free. */
  insert(): number {
    const { rows, stride } = this;
    const row = this.#freeRow === 0 ? this.#unusedRow++ : this.#freeRow;
    const at = row * stride;
    if (row === this.#freeRow) this.#freeRow = rows[at + nextWord]!;
    const head = this.#heads[this.#soughtBucket]!;
    if (head !== 0) this.collisions++;
    rows[at + nextWord] = head;
    this.#heads[this.#soughtBucket] = row;
    for (let i = 0, to = at + this.#keyWord; i < this.#keyWords; i++) rows[to + i] = this.#sought[i]!;
    this.#linkNewest(row, at);
    this.size++;
    return row;
  }

  /** Makes the row the newest. */
  touch(row: number): void {
    const { rows } = this;
    if (rows[olderWord] === row) return;
    const at = row * this.stride;
    this.#unlink(at);
    this.#linkNewest(row, at);
  }

  remove(row: number): void {
    const { rows, stride } = this;
    const at = row * stride;
    const bucket = this.#bucketAt(row);
    const next = rows[at + nextWord]!;
    let before = this.#heads[bucket]!;
    if (before === row) this.#heads[bucket] = next;
    else {
      while (rows[before * stride + nextWord] !== row) before = rows[before * stride + nextWord]!;
      rows[before * stride + nextWord] = next;
    }
    this.#unlink(at);
    rows[at + nextWord] = this.#freeRow;
    this.#freeRow = row;
    this.size--;
  }

  clear(): void {
    this.#heads.fill(0);
    this.rows[newerWord] = 0;
    this.rows[olderWord] = 0;
    this.#unusedRow = 1;
    this.#freeRow = 0;
    this.size = 0;
  }

  /** A copy of the row's key, followed by its address (little-endian) in an addressed table. */
  keyAt(row: number): Uint8Array {
    const { rows } = this;
    const from = row * this.stride + this.#keyWord;
    const key = new Uint8Array(this.#keyBytes + (this.#addressed ? addressBytes : 0));
    for (let i = 0; i < this.#keyBytes; i++) key[i] = rows[from + (i >> 2)]! >>> (8 * (i & 3));
    const address = from + this.#keyWords - 2;
    for (let i = this.#keyBytes, bit = 0; i < key.length; i++, bit += 8) {
      key[i] = rows[address + (bit >> 5)]! >>> (bit & 31);
    }
    return key;
  }

  /** Most rows that a look-up of this key compares: what grows if someone knows the secret of the hash. */
  probes(bytes: Uint8Array, offset: number, lo: number, hi: number): number {
    const found = this.find(bytes, offset, lo, hi);
    const bucket = found === 0 ? this.#soughtBucket : this.#bucketAt(found);
    let count = 0;
    for (let row = this.#heads[bucket]!; row !== 0; row = this.rows[row * this.stride + nextWord]!) count++;
    return count;
  }

  /** So that what is used most is found by the first comparison: a processor foresees that one best. */
  #bringToHead(row: number, before: number, bucket: number): void {
    const { rows, stride } = this;
    rows[before * stride + nextWord] = rows[row * stride + nextWord]!;
    rows[row * stride + nextWord] = this.#heads[bucket]!;
    this.#heads[bucket] = row;
  }

  #findShort(bytes: Uint8Array, offset: number, lo: number, hi: number): number {
    const { rows, stride } = this;
    this.#soughtBucket = bucketOf(this.#readRest(bytes, offset, 0, lo, hi), this.#bucketShift);
    let row = this.#heads[this.#soughtBucket]!;
    while (row !== 0 && !this.#matches(row * stride + this.#keyWord, 0)) row = rows[row * stride + nextWord]!;
    return row;
  }

  /** Reads the words of the key from `word` on, the first of which is at `from`, into `#sought`; the sum of their mixes. */
  #readRest(bytes: Uint8Array, from: number, word: number, lo: number, hi: number): number {
    const sought = this.#sought;
    const secret = this.#secret;
    let at = from;
    let to = word;
    for (; to < this.#fullWords; to++, at += 4) sought[to] = wordAt(bytes, at);
    if (this.#restBytes !== 0) {
      let value = bytes[at]!;
      if (this.#restBytes > 1) value |= bytes[at + 1]! << 8;
      if (this.#restBytes > 2) value |= bytes[at + 2]! << 16;
      sought[to++] = value;
    }
    if (this.#addressed) {
      sought[to++] = lo;
      sought[to++] = hi;
    }
    let hash = 0;
    for (let i = word; i < to; i++) hash = (hash + mix(sought[i]!, secret[2 * i]!, secret[2 * i + 1]!)) | 0;
    return hash;
  }

  /** Whether the key at `at` is the one sought, as far as its words from `word` on. */
  #matches(at: number, word: number): boolean {
    const { rows } = this;
    const sought = this.#sought;
    for (let i = word; i < this.#keyWords; i++) if (rows[at + i] !== sought[i]) return false;
    return true;
  }

  #bucketAt(row: number): number {
    const { rows } = this;
    const secret = this.#secret;
    const at = row * this.stride + this.#keyWord;
    let hash = 0;
    for (let i = 0; i < this.#keyWords; i++)
      hash = (hash + mix(rows[at + i]!, secret[2 * i]!, secret[2 * i + 1]!)) | 0;
    return bucketOf(hash, this.#bucketShift);
  }

  #linkNewest(row: number, at: number): void {
    const { rows } = this;
    const newest = rows[olderWord]!;
    rows[at + olderWord] = newest;
    rows[at + newerWord] = 0;
    rows[newest * this.stride + newerWord] = row;
    rows[olderWord] = row;
  }

  #unlink(at: number): void {
    const { rows, stride } = this;
    const newer = rows[at + newerWord]!;
    const older = rows[at + olderWord]!;
    rows[newer * stride + olderWord] = older;
    rows[older * stride + newerWord] = newer;
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/**
 * One word of a hash: multiplied, folded and multiplied again by secrets of that word; the hash is the sum. The fold
 * makes what becomes of every bit, the top one too, depend on the second secret: with one multiplication, two words with
 * their top bits flipped cancel each other out whatever the secret is.
 */
function mix(value: number, first: number, second: number): number {
  const spread = Math.imul(value, first);
  return Math.imul(spread ^ (spread >>> 16), second);
}

/** Buckets are taken from the top bits: this brings the others up to them. */
function bucketOf(hash: number, shift: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> shift;
}

export function requireInteger(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`${name} is ${value}, not an integer within ${min} and ${max}`);
}
