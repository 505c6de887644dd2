// Applies relocations to a section of a relocatable file, as a linker that puts the sections where `placeSections` has
// them would. Sums are kept as two 32-bit halves: exact modulo 2^64, and no bigint per relocation.

import { ElfError } from './elf-error.ts';
import type { ElfSection } from './elf-image.ts';
import { machines } from './header.ts';
import {
  knowsRelocations,
  type RelocationKind,
  type RelocationWidth,
  relocationKind,
} from './relocation-kinds.ts';
import { sectionTypes } from './sections.ts';
import { extendedIndexesOf } from './symbols.ts';

const word = 0x1_0000_0000;
/** Section indexes from here on have meanings of their own: absolute, common, extended. */
const reservedIndex = 0xff00;
/** `SHN_XINDEX`: in the table beside the symbols. */
const extendedIndex = 0xffff;
/** Ten bytes hold 64 bits. */
const ulebBytesMax = 10;

/** A copy of `bytes`, the contents of `target`, with all of `relocations` applied in order. Throws `ElfError`. */
export function relocate(
  target: ElfSection,
  bytes: Uint8Array,
  relocations: readonly ElfSection[],
): Uint8Array {
  if (!knowsRelocations(target.header.machine)) {
    throw new ElfError('unsupported', target.what, `relocations of ${target.header.arch}`);
  }
  const relocated = Uint8Array.from(bytes);
  for (const section of relocations) {
    if (section.hasContents) new Relocator(target, relocated, section).run();
  }
  return relocated;
}

/** One relocation section: where it is in both tables, and the sum under way. */
class Relocator {
  readonly #target: ElfSection;
  readonly #place: DataView;
  readonly #section: ElfSection;
  readonly #entries: DataView;
  readonly #symbols: SymbolValues;
  readonly #littleEndian: boolean;
  readonly #wide: boolean;
  readonly #hasAddends: boolean;
  #low = 0;
  #high = 0;

  constructor(target: ElfSection, bytes: Uint8Array, section: ElfSection) {
    const { header } = target;
    this.#target = target;
    this.#place = viewOf(bytes);
    this.#section = section;
    this.#entries = viewOf(section.raw(0, section.size));
    this.#symbols = new SymbolValues(section);
    this.#littleEndian = header.littleEndian;
    this.#wide = header.class === 64;
    this.#hasAddends = section.type === sectionTypes.rela;
  }

  run(): void {
    const entryBytes = (this.#wide ? 8 : 4) * (this.#hasAddends ? 3 : 2);
    const count = Math.floor(this.#entries.byteLength / entryBytes);
    for (let index = 0; index < count; index++) this.#applyEntry(index, index * entryBytes);
  }

  #applyEntry(index: number, at: number): void {
    const type = this.#typeAt(at);
    const kind = relocationKind(this.#target.header.machine, type);
    if (kind === undefined) throw this.#error('unsupported', index, `type ${type}`);
    if (kind.operation === 'none') return;
    const offset = this.#wide ? this.#u64(this.#entries, at) : this.#u32(this.#entries, at);
    if (offset + bytesOf(kind.width) > this.#place.byteLength) {
      throw this.#error('malformed', index, `applies at ${offset}`);
    }
    this.#low = 0;
    this.#high = 0;
    if (!this.#symbols.add(this.#symbolAt(at), this.#sum)) {
      throw this.#error('malformed', index, 'names no symbol');
    }
    if (this.#hasAddends) this.#addAddend(at);
    this.#write(kind, offset);
  }

  readonly #sum = (low: number, high: number): void => {
    this.#low += low;
    this.#high += high;
  };

  /** MIPS64 alone splits `r_info` otherwise: a 32-bit symbol, then four bytes of which the last is the type. */
  #typeAt(at: number): number {
    if (!this.#wide) return this.#u32(this.#entries, at + 4) & 0xff;
    if (this.#target.header.machine === machines.mips) return this.#entries.getUint8(at + 15);
    return this.#u32(this.#entries, this.#littleEndian ? at + 8 : at + 12);
  }

  #symbolAt(at: number): number {
    if (!this.#wide) return this.#u32(this.#entries, at + 4) >>> 8;
    const mips = this.#target.header.machine === machines.mips;
    return this.#u32(this.#entries, this.#littleEndian && !mips ? at + 12 : at + 8);
  }

  #addAddend(at: number): void {
    if (!this.#wide) {
      const addend = this.#u32(this.#entries, at + 8);
      this.#sum(addend, addend >= 0x8000_0000 ? 0xffff_ffff : 0);
      return;
    }
    const [low, high] = this.#littleEndian ? [at + 16, at + 20] : [at + 20, at + 16];
    this.#sum(this.#u32(this.#entries, low), this.#u32(this.#entries, high));
  }

  /** Makes the sum what `operation` says, from S + A and what stands at the place, and writes it there. */
  #write({ operation, width }: RelocationKind, offset: number): void {
    if (operation === 'subtract') {
      this.#low = -this.#low;
      this.#high = -this.#high;
    }
    if (operation === 'relative') this.#sum(-offset, 0);
    // `REL` entries have their addend there.
    if (!this.#hasAddends || operation === 'add' || operation === 'subtract') this.#addPlace(offset, width);
    this.#store(offset, width);
  }

  #addPlace(offset: number, width: RelocationWidth): void {
    const place = this.#place;
    if (width === 1) this.#sum(place.getUint8(offset), 0);
    else if (width === 2) this.#sum(place.getUint16(offset, this.#littleEndian), 0);
    else if (width === 4) this.#sum(this.#u32(place, offset), 0);
    else if (width === 'six bits') this.#sum(place.getUint8(offset) & 0x3f, 0);
    else if (width === 'uleb') this.#sum(this.#ulebAt(offset), 0);
    else {
      const [low, high] = this.#littleEndian ? [offset, offset + 4] : [offset + 4, offset];
      this.#sum(this.#u32(place, low), this.#u32(place, high));
    }
  }

  /** Writes the sum, cut to the width: DataView takes a number modulo what it writes. */
  #store(offset: number, width: RelocationWidth): void {
    const place = this.#place;
    const [low, little] = [this.#low, this.#littleEndian];
    if (width === 1) place.setUint8(offset, low);
    else if (width === 2) place.setUint16(offset, low, little);
    else if (width === 4) place.setUint32(offset, low, little);
    else if (width === 'six bits') place.setUint8(offset, (place.getUint8(offset) & 0xc0) | (low & 0x3f));
    else if (width === 'uleb') this.#storeUleb(offset, low);
    else {
      place.setUint32(little ? offset : offset + 4, low, little);
      place.setUint32(little ? offset + 4 : offset, this.#high + Math.floor(low / word), little);
    }
  }

  /** Values are distances within a section, so 32 bits hold them. */
  #storeUleb(offset: number, value: number): void {
    const length = this.#ulebLength(offset);
    let rest = value >>> 0;
    for (let byte = 0; byte < length; byte++) {
      this.#place.setUint8(offset + byte, (rest & 0x7f) | (byte < length - 1 ? 0x80 : 0));
      rest >>>= 7;
    }
  }

  #ulebAt(offset: number): number {
    let value = 0;
    for (let byte = this.#ulebLength(offset) - 1; byte >= 0; byte--) {
      value = value * 128 + (this.#place.getUint8(offset + byte) & 0x7f);
    }
    return value;
  }

  #ulebLength(offset: number): number {
    for (let length = 1; length <= ulebBytesMax && offset + length <= this.#place.byteLength; length++) {
      if (this.#place.getUint8(offset + length - 1) < 0x80) return length;
    }
    throw new ElfError('malformed', this.#section.what, `a relocation applies to no ULEB128 at ${offset}`);
  }

  #u32(view: DataView, at: number): number {
    return view.getUint32(at, this.#littleEndian);
  }

  #u64(view: DataView, at: number): number {
    const [low, high] = this.#littleEndian ? [at, at + 4] : [at + 4, at];
    return this.#u32(view, high) * word + this.#u32(view, low);
  }

  #error(code: 'malformed' | 'unsupported', index: number, why: string): ElfError {
    return new ElfError(code, `${this.#section.what}: relocation ${index}`, why);
  }
}

/** Values of the symbols that a relocation section refers to. */
class SymbolValues {
  readonly #symbols: DataView;
  readonly #wide: boolean;
  readonly #littleEndian: boolean;
  readonly #count: number;
  readonly #sectionAddresses: readonly bigint[];
  readonly #extendedIndexes: DataView | undefined;

  constructor(relocations: ElfSection) {
    const table = relocations.linked();
    if (table === undefined || !table.hasContents) {
      throw new ElfError('malformed', relocations.what, 'refers to no symbol table');
    }
    const { header } = relocations;
    this.#symbols = viewOf(table.raw(0, table.size));
    this.#wide = header.class === 64;
    this.#littleEndian = header.littleEndian;
    this.#count = Math.floor(this.#symbols.byteLength / (this.#wide ? 24 : 16));
    this.#sectionAddresses = relocations.fileSections.map(({ address }) => address);
    const extension = extendedIndexesOf(table);
    this.#extendedIndexes = extension && viewOf(extension.raw(0, extension.size));
  }

  /** Passes the halves of the value of a symbol to `sum`; false if there is no such symbol. */
  add(index: number, sum: (low: number, high: number) => void): boolean {
    if (index >= this.#count) return false;
    const at = index * (this.#wide ? 24 : 16);
    const little = this.#littleEndian;
    if (this.#wide) {
      sum(
        this.#symbols.getUint32(little ? at + 8 : at + 12, little),
        this.#symbols.getUint32(little ? at + 12 : at + 8, little),
      );
    } else sum(this.#symbols.getUint32(at + 4, little), 0);
    const address = this.#sectionAddresses[this.#sectionOf(index, at)] ?? 0n;
    if (address !== 0n) sum(Number(address & 0xffff_ffffn), Number(address >> 32n));
    return true;
  }

  /** -1 for a symbol that is in no section. */
  #sectionOf(index: number, at: number): number {
    const section = this.#symbols.getUint16(this.#wide ? at + 6 : at + 14, this.#littleEndian);
    if (section < reservedIndex) return section;
    const extended = this.#extendedIndexes;
    if (section !== extendedIndex || extended === undefined || 4 * index + 4 > extended.byteLength) return -1;
    return extended.getUint32(4 * index, this.#littleEndian);
  }
}

function bytesOf(width: RelocationWidth): number {
  return typeof width === 'number' ? width : 1;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
