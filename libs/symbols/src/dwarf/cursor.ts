// One position in one section, and the integers of DWARF read from there. Addresses come out relative to the
// image base: as such they are exact in a double wherever in the 64-bit space the image is.
import { SymbolsError } from '../symbols-error.ts';

const word = 0x1_0000_0000;
/** A 64-bit LEB128 takes 10 bytes; some assemblers pad them. Longer ones are an attack. */
const leb128BytesMax = 16;

/** Byte order of a file, and where its addresses are counted from. */
export interface Encoding {
  readonly littleEndian: boolean;
  /** Lowest `PT_LOAD` address. */
  readonly imageBase: bigint;
}

export class Cursor {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly littleEndian: boolean;
  pos = 0;
  /** Reading stops here: the end of the section, or of the unit in it. */
  end: number;
  readonly #view: DataView;
  /** The negated image base: addresses are added to it modulo 2^64. */
  readonly #biasHigh: number;
  readonly #biasLow: number;

  constructor(name: string, bytes: Uint8Array, encoding: Encoding) {
    this.name = name;
    this.bytes = bytes;
    this.littleEndian = encoding.littleEndian;
    this.end = bytes.length;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const bias = BigInt.asUintN(64, -encoding.imageBase);
    this.#biasHigh = Number(bias >> 32n);
    this.#biasLow = Number(bias & 0xffff_ffffn);
  }

  /**
   * Goes to `pos`, and lets nothing be read from `end` on. Throws `truncated` if that is not inside the
   * section.
   */
  seek(pos: number, end = this.bytes.length): this {
    if (!(pos >= 0 && pos <= end && end <= this.bytes.length)) {
      throw new SymbolsError('truncated', this.name, `no bytes ${pos} to ${end} in ${this.bytes.length}`);
    }
    this.pos = pos;
    this.end = end;
    return this;
  }

  /** The position before the next `count` bytes, which are passed. Throws `truncated`. */
  skip(count: number): number {
    const at = this.pos;
    if (!(count >= 0 && at + count <= this.end)) {
      throw new SymbolsError(
        'truncated',
        this.name,
        `${count} bytes wanted at ${at}, the end is at ${this.end}`,
      );
    }
    this.pos = at + count;
    return at;
  }

  u8(): number {
    return this.bytes[this.skip(1)]!;
  }

  s8(): number {
    return (this.u8() << 24) >> 24;
  }

  u16(): number {
    return this.#view.getUint16(this.skip(2), this.littleEndian);
  }

  u24(): number {
    const at = this.skip(3);
    const [first, middle, last] = [this.bytes[at]!, this.bytes[at + 1]!, this.bytes[at + 2]!];
    return this.littleEndian ? first | (middle << 8) | (last << 16) : last | (middle << 8) | (first << 16);
  }

  u32(): number {
    return this.#view.getUint32(this.skip(4), this.littleEndian);
  }

  /** Rounded above 2^53. */
  u64(): number {
    const at = this.skip(8);
    const high = this.#view.getUint32(this.littleEndian ? at + 4 : at, this.littleEndian);
    return high * word + this.#view.getUint32(this.littleEndian ? at : at + 4, this.littleEndian);
  }

  exactU64(): bigint {
    return this.#view.getBigUint64(this.skip(8), this.littleEndian);
  }

  unsigned(bytes: number): number {
    switch (bytes) {
      case 1:
        return this.u8();
      case 2:
        return this.u16();
      case 3:
        return this.u24();
      case 4:
        return this.u32();
      case 8:
        return this.u64();
      default:
        throw new SymbolsError('unsupported', this.name, `an integer of ${bytes} bytes`);
    }
  }

  /** An address, relative to the image base; negative or past 2^53 where it is not of this image. */
  address(bytes: number): number {
    return bytes === 8
      ? this.#address64(this.#biasHigh, this.#biasLow)
      : this.addressOf(this.unsigned(bytes));
  }

  /** The address `base` (relative) plus the next `bytes`, modulo 2^64. */
  addressPlus(base: number, bytes: number): number {
    if (bytes !== 8) return base + this.unsigned(bytes);
    const high = Math.floor(base / word);
    return this.#address64(high, base - high * word);
  }

  /** The address `value`, relative; -1 is the highest address there is. */
  addressOf(value: number, bytes = 8): number {
    const bias = (this.#biasHigh | 0) * word + this.#biasLow;
    return value < 0 && bytes === 4 ? value + word + bias : value + bias;
  }

  #address64(biasHigh: number, biasLow: number): number {
    const at = this.skip(8);
    const low = this.#view.getUint32(this.littleEndian ? at : at + 4, this.littleEndian) + biasLow;
    const carry = low >= word ? 1 : 0;
    const high = this.#view.getUint32(this.littleEndian ? at + 4 : at, this.littleEndian) + biasHigh + carry;
    return (high | 0) * word + (low - carry * word);
  }

  /** Rounded above 2^53. Throws `malformed` if it is longer than any 64-bit number needs to be. */
  uleb128(): number {
    const first = this.u8();
    return first < 0x80 ? first : this.#leb128Tail(first & 0x7f, false);
  }

  sleb128(): number {
    const first = this.u8();
    return first < 0x80 ? (first << 25) >> 25 : this.#leb128Tail(first & 0x7f, true);
  }

  #leb128Tail(first: number, signed: boolean): number {
    let value = first;
    let scale = 0x80;
    for (let count = 1; count < leb128BytesMax; count++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte < 0x80) return signed && (byte & 0x40) !== 0 ? value - scale : value;
    }
    throw new SymbolsError('malformed', this.name, `LEB128 of over ${leb128BytesMax} bytes at ${this.pos}`);
  }

  /** Passes a LEB128 of any length. */
  skipLeb128(): void {
    while (this.u8() >= 0x80);
  }

  /** The position of a string that ends with a zero byte, which is passed. */
  skipString(): number {
    const at = this.pos;
    const zero = this.bytes.indexOf(0, at);
    this.skip((zero < 0 ? this.bytes.length : zero) + 1 - at);
    return at;
  }

  /** A unit's length field. */
  initialLength(): { readonly length: number; readonly offsetBytes: 4 | 8 } {
    const length = this.u32();
    if (length === 0xffff_ffff) return { length: this.u64(), offsetBytes: 8 };
    if (length >= 0xffff_fff0) {
      throw new SymbolsError('malformed', this.name, `reserved unit length ${length} at ${this.pos - 4}`);
    }
    return { length, offsetBytes: 4 };
  }
}
