// Go's table of functions and lines, `.gopclntab`, as the Go runtime reads it (debug/gosym and runtime/symtab.go of the
// Go sources). It is in every Go binary, stripped or not. Four layouts are in use; the magic says which:
//
//     0xfffffffb  Go 1.2    absolute addresses, one table, files by number
//     0xfffffffa  Go 1.16   as above, in parts with offsets of their own; files by compilation unit
//     0xfffffff0  Go 1.18   addresses relative to the start of the text, function data relative to `go.func.*`
//     0xfffffff1  Go 1.20   declaration lines; calls of inlined functions by address instead of line
import type { Encoding } from '@symkeep/elf';
import { SymbolsError } from './symbols-error.ts';

export type PclntabVersion = '1.2' | '1.16' | '1.18' | '1.20';

const versions: Readonly<Record<number, PclntabVersion>> = {
  4294967291: '1.2',
  4294967290: '1.16',
  4294967280: '1.18',
  4294967281: '1.20',
};
export const pclntabMagics = Object.keys(versions).map(Number);

/** A binary of 1 GB has a million functions. */
const functionsMax = 8_388_608;
/** Names of instantiated generics reach some kilobytes; what is longer is cut. */
const nameBytesMax = 65_535;
/** Before there were generics, names had no such length. */
const plainNameBytesMax = 1_024;

/**
 * Steps, calls and characters that are read in all: so many for each byte of the table, and some. Functions share parts
 * of it, but in no real table by more than a third of this; in a hostile one all of them could share all of it.
 */
const readsPerByteMax = 16;
const readsFree = 1_048_576;

/** Where things are in the record of a function, from its name on: that is 4 bytes or a pointer behind its start. */
const recordLayouts = {
  '1.2': { cu: undefined, startLine: undefined, counts: 28, pcdata: 32 },
  '1.16': { cu: 28, startLine: undefined, counts: 32, pcdata: 36 },
  '1.18': { cu: 28, startLine: undefined, counts: 32, pcdata: 36 },
  '1.20': { cu: 28, startLine: 32, counts: 36, pcdata: 40 },
} as const;

/** Where the parts of the table begin. */
interface Parts {
  /** Start of the text as the header has it; 0 in the older layouts. */
  readonly textStart: bigint;
  readonly functions: number;
  readonly names: number;
  readonly units: number;
  readonly files: number;
  readonly values: number;
}

export interface GoFunction {
  /** From the start of the text. */
  readonly entry: number;
  readonly name: string;
  /** 0 in layouts that do not have it. */
  readonly startLine: number;
  /** Offsets of step tables, 0 for none. */
  readonly files: number;
  readonly lines: number;
  /** First of the compilation unit's files. */
  readonly unit: number;
  /** Offset of pcdata table `index`, 0 for none. */
  pcdata(index: number): number;
  /** Function data `index`: an address in old layouts, an offset in `go.func.*` in new ones; undefined for none. */
  funcdata(index: number): bigint | undefined;
}

/** A function that changes with the address, as its steps: `value` holds from the step before up to `end`. */
export interface Step {
  /** From the start of the function. */
  readonly end: number;
  readonly value: number;
}

export class Pclntab {
  readonly version: PclntabVersion;
  readonly pointerBytes: 4 | 8;
  readonly functionCount: number;
  readonly textStart: bigint;
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  readonly #quantum: number;
  readonly #parts: Parts;
  readonly #strings = new Map<number, string>();
  #readsLeft: number;

  /**
   * `textStart` stands in for the header's where that has none. Throws `malformed`, `truncated` or `limit` when `bytes`
   * does not start with such a table.
   */
  constructor(bytes: Uint8Array, encoding: Encoding, textStart: bigint) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#readsLeft = readsFree + readsPerByteMax * bytes.length;
    this.#littleEndian = encoding.littleEndian;
    const version = versions[this.#u32(0)];
    const [pad, quantum, pointerBytes] = [this.#u16(4), this.#u8(6), this.#u8(7)];
    if (version === undefined || pad !== 0) throw this.#malformed('no magic');
    if (![1, 2, 4].includes(quantum)) throw this.#malformed(`an instruction quantum of ${quantum}`);
    if (pointerBytes !== encoding.class / 8) throw this.#malformed(`pointers of ${pointerBytes} bytes`);
    this.version = version;
    this.pointerBytes = pointerBytes as 4 | 8;
    this.#quantum = quantum;
    this.functionCount = Number(this.#word(8));
    if (this.functionCount > functionsMax) {
      throw new SymbolsError('limit', what, `${this.functionCount} functions, at most ${functionsMax}`);
    }
    this.#parts = this.#readParts();
    // Position-independent binaries have it filled in by the loader.
    this.textStart = this.#parts.textStart === 0n ? textStart : this.#parts.textStart;
    this.#slice(this.#parts.functions, (2 * this.functionCount + 1) * this.#fieldBytes);
  }

  #readParts(): Parts {
    const word = (index: number) => this.#word(8 + index * this.pointerBytes);
    const offset = (index: number) => Number(word(index));
    if (this.version === '1.2') {
      const functions = 8 + this.pointerBytes;
      const filesAt = functions + (2 * this.functionCount + 1) * this.pointerBytes;
      return { textStart: 0n, functions, names: 0, units: 0, files: this.#u32(filesAt), values: 0 };
    }
    const first = this.version === '1.16' ? 2 : 3;
    return {
      textStart: first === 3 ? word(2) : 0n,
      names: offset(first),
      units: offset(first + 1),
      files: offset(first + 2),
      values: offset(first + 3),
      functions: offset(first + 4),
    };
  }

  /** Old layouts have whole addresses, new ones 32-bit offsets from the start of the text. */
  get #absolute(): boolean {
    return this.version === '1.2' || this.version === '1.16';
  }

  get #fieldBytes(): number {
    return this.#absolute ? this.pointerBytes : 4;
  }

  /** Functions by ascending address. Throws `truncated` or `malformed`. */
  *functions(): Iterable<GoFunction> {
    for (let index = 0; index < this.functionCount; index++) yield this.functionAt(index);
  }

  /** From the start of the text to the end of the last function. */
  textEnd(): number {
    return this.#addressField(this.#parts.functions + 2 * this.functionCount * this.#fieldBytes);
  }

  functionAt(index: number): GoFunction {
    const { functions, names } = this.#parts;
    const entryAt = functions + 2 * index * this.#fieldBytes;
    const recordAt = this.#field(entryAt + this.#fieldBytes) + (this.version === '1.2' ? 0 : functions);
    const at = recordAt + this.#fieldBytes;
    const layout = recordLayouts[this.version];
    const [pcdataCount, funcdataCount] = [this.#u32(at + 24), this.#funcdataCount(at + layout.counts)];
    const pcdata = at + layout.pcdata;
    this.#slice(pcdata, 4 * pcdataCount);
    return {
      entry: this.#addressField(entryAt),
      name: this.#string(names + this.#u32(at)),
      startLine: layout.startLine === undefined ? 0 : this.#u32(at + layout.startLine),
      files: this.#u32(at + 16),
      lines: this.#u32(at + 20),
      unit: layout.cu === undefined ? 0 : this.#u32(at + layout.cu),
      pcdata: (wanted) => (wanted < pcdataCount ? this.#u32(pcdata + 4 * wanted) : 0),
      funcdata: (wanted) => {
        return wanted < funcdataCount ? this.#funcdata(pcdata + 4 * pcdataCount, wanted) : undefined;
      },
    };
  }

  /** One byte, the last of four; before Go 1.12 all four. */
  #funcdataCount(at: number): number {
    return this.#u8(at + 3) || (this.version === '1.2' ? this.#u8(this.#littleEndian ? at : at + 3) : 0);
  }

  #funcdata(start: number, index: number): bigint | undefined {
    if (!this.#absolute) {
      const offset = this.#u32(start + 4 * index);
      return offset === 0xffff_ffff ? undefined : BigInt(offset);
    }
    const address = this.#word(
      Math.ceil(start / this.pointerBytes) * this.pointerBytes + index * this.pointerBytes,
    );
    return address === 0n ? undefined : address;
  }

  /** The steps of the table at `offset`; none for offset 0. Throws `truncated`. */
  *steps(offset: number): Iterable<Step> {
    if (offset === 0) return;
    const cursor = { at: this.#parts.values + offset };
    let value = -1;
    let end = 0;
    for (let first = true; ; first = false) {
      const delta = this.#varint(cursor);
      if (delta === 0 && !first) return;
      value += delta % 2 === 0 ? delta / 2 : -(delta + 1) / 2;
      end += this.#varint(cursor) * this.#quantum;
      this.spend(1);
      yield { end, value };
    }
  }

  /** Takes from what may be read of this table in all. Throws `limit`. */
  spend(reads: number): void {
    this.#readsLeft -= reads;
    if (this.#readsLeft < 0) throw new SymbolsError('limit', what, 'its functions share too much');
  }

  /** Path of file `number` of a compilation unit; undefined if it has none. */
  filePath(unit: number, number: number): string | undefined {
    if (number < 0) return undefined;
    const { files, units } = this.#parts;
    if (this.version === '1.2') return number === 0 ? undefined : this.#string(this.#u32(files + 4 * number));
    const offset = this.#u32(units + 4 * (unit + number));
    return offset === 0xffff_ffff ? undefined : this.#string(files + offset);
  }

  functionName(offset: number): string {
    return this.#string(this.#parts.names + offset);
  }

  /** Whether a function's name starts at this offset: what tells real records from arbitrary bytes. */
  isNameStart(offset: number): boolean {
    const at = this.#parts.names + offset;
    if (offset === 0 || at >= this.#bytes.length || (this.#bytes[at] as number) < 0x20) return false;
    // In the oldest layout names stand among other things, else each follows the end of another.
    if (this.version !== '1.2') return this.#bytes[at - 1] === 0;
    const name = this.#bytes.subarray(at, at + plainNameBytesMax);
    const end = name.indexOf(0);
    return end >= 0 && name.subarray(0, end).every((byte) => byte >= 0x20);
  }

  #varint(cursor: { at: number }): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#u8(cursor.at++);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw this.#malformed(`an over-long number at ${cursor.at}`);
  }

  #string(at: number): string {
    const known = this.#strings.get(at);
    if (known !== undefined) return known;
    if (at >= this.#bytes.length) throw this.#truncated(at);
    const bytes = this.#bytes.subarray(at, at + nameBytesMax);
    const end = bytes.indexOf(0);
    const text = bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
    this.spend(text.length);
    this.#strings.set(at, text);
    return text;
  }

  /** A word of the table of functions. */
  #field(at: number): number {
    return this.#absolute ? Number(this.#word(at)) : this.#u32(at);
  }

  #addressField(at: number): number {
    if (!this.#absolute) return this.#u32(at);
    return Number(BigInt.asIntN(64, this.#word(at) - this.textStart));
  }

  #word(at: number): bigint {
    if (this.pointerBytes !== 8) return BigInt(this.#u32(at));
    this.#slice(at, 8);
    return this.#view.getBigUint64(at, this.#littleEndian);
  }

  #u32(at: number): number {
    this.#slice(at, 4);
    return this.#view.getUint32(at, this.#littleEndian);
  }

  #u16(at: number): number {
    this.#slice(at, 2);
    return this.#view.getUint16(at, this.#littleEndian);
  }

  #u8(at: number): number {
    this.#slice(at, 1);
    return this.#bytes[at] as number;
  }

  #slice(at: number, length: number): void {
    if (!(at >= 0 && at + length <= this.#bytes.length)) throw this.#truncated(at);
  }

  #truncated(at: number): SymbolsError {
    return new SymbolsError('truncated', what, `asks for byte ${at} of ${this.#bytes.length}`);
  }

  #malformed(why: string): SymbolsError {
    return new SymbolsError('malformed', what, why);
  }
}

const what = '.gopclntab';
