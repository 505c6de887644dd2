// The least that an LRU of 20-byte keys in typed arrays can be: no lifetime, weight, callback, metrics, nor any other
// width of key, and a hash that anyone can flood. What the features of `Lru` cost is measured against it.

const stride = 8;
const nextWord = 0;
const newerWord = 1;
const olderWord = 2;
const keyWord = 3;

export class BareTable<V> {
  readonly #rows: Int32Array;
  readonly #heads: Int32Array;
  readonly #shift: number;
  readonly #values: (V | undefined)[];
  readonly #entriesMax: number;
  #size = 0;
  #soughtBucket = 0;
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;
  #e = 0;

  constructor(entriesMax: number) {
    const bits = 32 - Math.clz32(entriesMax);
    this.#entriesMax = entriesMax;
    this.#rows = new Int32Array((entriesMax + 1) * stride);
    this.#heads = new Int32Array(2 ** bits);
    this.#shift = 32 - bits;
    this.#values = new Array<V | undefined>(entriesMax + 1).fill(undefined);
  }

  get(bytes: Uint8Array, offset: number): V | undefined {
    const row = this.#find(bytes, offset);
    if (row === 0) return undefined;
    if (this.#rows[olderWord] !== row) this.#touch(row);
    return this.#values[row];
  }

  set(bytes: Uint8Array, value: V, offset: number): void {
    const found = this.#find(bytes, offset);
    const row = found === 0 ? this.#insert() : found;
    if (found !== 0 && this.#rows[olderWord] !== row) this.#touch(row);
    this.#values[row] = value;
  }

  #find(bytes: Uint8Array, at: number): number {
    const rows = this.#rows;
    const a = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    const b = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
    const c = bytes[at + 8]! | (bytes[at + 9]! << 8) | (bytes[at + 10]! << 16) | (bytes[at + 11]! << 24);
    const d = bytes[at + 12]! | (bytes[at + 13]! << 8) | (bytes[at + 14]! << 16) | (bytes[at + 15]! << 24);
    const e = bytes[at + 16]! | (bytes[at + 17]! << 8) | (bytes[at + 18]! << 16) | (bytes[at + 19]! << 24);
    const bucket = hash(a, b, c, d, e) >>> this.#shift;
    for (let row = this.#heads[bucket]!; row !== 0; row = rows[row * stride + nextWord]!) {
      const key = row * stride + keyWord;
      if (rows[key] !== a || rows[key + 1] !== b || rows[key + 2] !== c) continue;
      if (rows[key + 3] === d && rows[key + 4] === e) return row;
    }
    this.#soughtBucket = bucket;
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
    this.#e = e;
    return 0;
  }

  #insert(): number {
    const rows = this.#rows;
    const isFull = this.#size === this.#entriesMax;
    const row = isFull ? rows[newerWord]! : ++this.#size;
    const at = row * stride;
    if (isFull) {
      this.#unchain(row);
      this.#touch(row);
    } else this.#linkNewest(row);
    rows[at + nextWord] = this.#heads[this.#soughtBucket]!;
    this.#heads[this.#soughtBucket] = row;
    rows[at + keyWord] = this.#a;
    rows[at + keyWord + 1] = this.#b;
    rows[at + keyWord + 2] = this.#c;
    rows[at + keyWord + 3] = this.#d;
    rows[at + keyWord + 4] = this.#e;
    return row;
  }

  #unchain(row: number): void {
    const rows = this.#rows;
    const key = row * stride + keyWord;
    const bucket =
      hash(rows[key]!, rows[key + 1]!, rows[key + 2]!, rows[key + 3]!, rows[key + 4]!) >>> this.#shift;
    const next = rows[row * stride + nextWord]!;
    let before = this.#heads[bucket]!;
    if (before === row) {
      this.#heads[bucket] = next;
      return;
    }
    while (rows[before * stride + nextWord] !== row) before = rows[before * stride + nextWord]!;
    rows[before * stride + nextWord] = next;
  }

  #touch(row: number): void {
    const rows = this.#rows;
    const newer = rows[row * stride + newerWord]!;
    const older = rows[row * stride + olderWord]!;
    rows[newer * stride + olderWord] = older;
    rows[older * stride + newerWord] = newer;
    this.#linkNewest(row);
  }

  #linkNewest(row: number): void {
    const rows = this.#rows;
    const newest = rows[olderWord]!;
    rows[row * stride + olderWord] = newest;
    rows[row * stride + newerWord] = 0;
    rows[newest * stride + newerWord] = row;
    rows[olderWord] = row;
  }
}

function hash(a: number, b: number, c: number, d: number, e: number): number {
  let sum = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35);
  sum ^= Math.imul(d, 0x27d4eb2f) ^ Math.imul(e, 0x165667b1);
  return Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d);
}
