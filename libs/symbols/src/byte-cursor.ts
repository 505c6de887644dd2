// The two ends of symkeep's own byte format: varints (LEB128, at most 2^53 - 1), their zigzag form for signed values, and
// plain bytes.
import { SymbolsError } from './symbols-error.ts';

const bytesAtFirst = 4_096;
/** A number of 53 bits has eight groups of seven. */
const varintBytesMax = 8;

export class ByteWriter {
  #bytes: Buffer = Buffer.allocUnsafe(bytesAtFirst);
  #view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
  length = 0;

  /** The bytes written, valid until the next write. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  varint(value: number): void {
    this.#reserve(varintBytesMax);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.length++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.length++] = rest;
  }

  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.length, value, true);
    this.length += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.length, value, true);
    this.length += 4;
  }

  u64(value: bigint): void {
    this.#reserve(8);
    this.#view.setBigUint64(this.length, value, true);
    this.length += 8;
  }

  put(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.length + count));
    grown.set(this.bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer, grown.byteOffset, grown.length);
  }
}

/** Reads what a `ByteWriter` wrote; every read is checked. `what` names the structure in errors. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#what = what;
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  varint(): number {
    const first = this.#bytes[this.at];
    if (first === undefined) throw this.truncated();
    this.at++;
    return first < 0x80 ? first : this.#longVarint(first - 0x80);
  }

  #longVarint(first: number): number {
    let value = first;
    let scale = 0x80;
    for (let count = 1; count < varintBytesMax; count++) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) throw this.truncated();
      this.at++;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? value : this.fail('a number over 2^53');
      scale *= 0x80;
    }
    return this.fail('a number over 2^53');
  }

  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** A count of things that take at least `bytesEach` bytes each of what is left. */
  count(bytesEach: number): number {
    const count = this.varint();
    return count * bytesEach <= this.left ? count : this.fail(`a count of ${count} in ${this.left} bytes`);
  }

  u32(): number {
    return this.take(4).readUInt32LE(0);
  }

  u64(): bigint {
    return this.take(8).readBigUInt64LE(0);
  }

  take(length: number): Buffer {
    if (length > this.left) throw this.truncated();
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  /** UTF-8; anything else is replaced, as everywhere in JavaScript. */
  text(length: number): string {
    if (length > this.left) throw this.truncated();
    this.at += length;
    return this.#bytes.toString('utf8', this.at - length, this.at);
  }

  truncated(): SymbolsError {
    return new SymbolsError('truncated', this.#what, `ends at byte ${this.#bytes.length}`);
  }

  fail(why: string): never {
    throw new SymbolsError('malformed', this.#what, `${why}, at byte ${this.at}`);
  }
}
