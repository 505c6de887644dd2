// Integer fields of ELF structures in the file's byte order, and the two struct layouts (32 and 64 bit) of each table.
import type { VirtualAddress } from './address-space.ts';
import type { ByteSource } from './byte-source.ts';
import { readExact } from './byte-source.ts';

/** Word size and byte order of a file: what is needed to read any of its integers. */
export interface Encoding {
  readonly class: 32 | 64;
  readonly littleEndian: boolean;
}

/** Reads integers at offsets of `bytes`. An offset outside is a bug of the caller, not of the input. */
export class Fields {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  readonly #wide: boolean;

  constructor(bytes: Uint8Array, encoding: Encoding) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#littleEndian = encoding.littleEndian;
    this.#wide = encoding.class === 64;
  }

  u16(at: number): number {
    return this.#view.getUint16(at, this.#littleEndian);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, this.#littleEndian);
  }

  /** 64 bits as a double: rounded above 2^53, where it is past the end of any file. */
  u64(at: number): number {
    const high = this.u32(this.#littleEndian ? at + 4 : at);
    return high * 0x1_0000_0000 + this.u32(this.#littleEndian ? at : at + 4);
  }

  /** Low and high half of an address: exact without a bigint. */
  low(at: number): number {
    return this.u32(this.#wide && !this.#littleEndian ? at + 4 : at);
  }

  high(at: number): number {
    return this.#wide ? this.u32(this.#littleEndian ? at + 4 : at) : 0;
  }

  /** An `Elf_Off` or size field: 32 or 64 bits, by the class of the file. */
  word(at: number): number {
    return this.#wide ? this.u64(at) : this.u32(at);
  }

  exactWord(at: number): bigint {
    return this.#wide ? this.#view.getBigUint64(at, this.#littleEndian) : BigInt(this.u32(at));
  }

  address(at: number): VirtualAddress {
    return this.exactWord(at) as VirtualAddress;
  }
}

/** Tables are read in pieces, so that a count in a header cannot make us allocate what it names. */
const tableReadBytes = 65_536;

/** Calls `visit` for each of `count` entries of `entryBytes` bytes from `offset` on, in order. */
export function readTable(
  source: ByteSource,
  encoding: Encoding,
  table: {
    readonly offset: number;
    readonly count: number;
    readonly entryBytes: number;
    readonly what: string;
  },
  visit: (fields: Fields, at: number, index: number) => void,
): void {
  const { offset, count, entryBytes, what } = table;
  const perRead = Math.max(1, Math.floor(tableReadBytes / entryBytes));
  for (let first = 0; first < count; first += perRead) {
    const entries = Math.min(perRead, count - first);
    const bytes = readExact(source, offset + first * entryBytes, entries * entryBytes, what);
    const fields = new Fields(bytes, encoding);
    for (let entry = 0; entry < entries; entry++) visit(fields, entry * entryBytes, first + entry);
  }
}
