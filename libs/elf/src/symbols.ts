// Symbol tables as columns: no object per symbol, names by offset and only on demand.
import { type VirtualAddress, virtualAddress } from './address-space.ts';
import { ElfError } from './elf-error.ts';
import type { ElfImage, ElfSection } from './elf-image.ts';
import { Fields } from './fields.ts';
import { machines } from './header.ts';
import { sectionTypes } from './sections.ts';

export const symbolTypes = {
  none: 0,
  object: 1,
  function: 2,
  section: 3,
  file: 4,
  common: 5,
  tls: 6,
  ifunc: 10,
} as const;
export const symbolBindings = { local: 0, global: 1, weak: 2, unique: 10 } as const;
export const sectionIndexes = { undefined: 0, absolute: 0xfff1, common: 0xfff2 } as const;

/** A browser with all of its symbols has three million; columns cost 26 bytes each. */
export const symbolsMax = 16_777_216;
/** Names of C++ templates reach 50 KB; what is longer is cut. */
export const symbolNameBytesMax = 65_536;

/** Entries are read in pieces, so that a table costs its columns and not its bytes as well. */
const symbolsPerRead = 16_384;

export class ElfSymbols {
  /** Which of the two tables it is. `.symtab` has all symbols, `.dynsym` those that other files may use. */
  readonly source: 'symtab' | 'dynsym';
  readonly count: number;
  /** Relative to `base`: the difference in 64 bits, read as signed; exact within 2^53, which holds for all within the image. */
  readonly address: Float64Array;
  /** 0 is common: then a function ends where the next begins. */
  readonly size: Float64Array;
  /** Index of the section; above 0xff00 `sectionIndexes`, unless the file has as many sections. */
  readonly section: Uint32Array;
  /** `symbolTypes`. */
  readonly type: Uint8Array;
  /** `symbolBindings`. */
  readonly binding: Uint8Array;
  /** What `address` is relative to: `base` of the image. */
  readonly base: VirtualAddress;
  readonly #nameOffset: Uint32Array;
  readonly #names: Buffer;

  constructor(section: ElfSection, base: VirtualAddress) {
    this.source = section.type === sectionTypes.dynsym ? 'dynsym' : 'symtab';
    this.base = base;
    const entryBytes = section.header.class === 64 ? 24 : 16;
    this.count = Math.floor(section.size / entryBytes);
    if (this.count > symbolsMax)
      throw new ElfError('limit', section.what, `${this.count} symbols, at most ${symbolsMax}`);
    const names = section.linked()?.contents() ?? new Uint8Array(0);
    this.#names = Buffer.from(names.buffer, names.byteOffset, names.length);
    this.address = new Float64Array(this.count);
    this.size = new Float64Array(this.count);
    this.section = new Uint32Array(this.count);
    this.type = new Uint8Array(this.count);
    this.binding = new Uint8Array(this.count);
    this.#nameOffset = new Uint32Array(this.count);
    for (let first = 0; first < this.count; first += symbolsPerRead) {
      const count = Math.min(symbolsPerRead, this.count - first);
      this.#fill(section, first, section.raw(first * entryBytes, count * entryBytes));
    }
    this.#extendSections(section);
    if (section.header.type === 'rel') this.#addSectionAddresses(section);
  }

  /** UTF-8, as the linker wrote it: mangled, with suffixes and versions. `''` if it has none. */
  name(index: number): string {
    const start = this.#nameOffset[index] as number;
    if (start >= this.#names.length) return '';
    const end = this.#names.indexOf(0, start);
    const stop = Math.min(end < 0 ? this.#names.length : end, start + symbolNameBytesMax);
    return this.#names.toString('utf8', start, stop);
  }

  /** As it stands in the file; in relocatable ones with the address of the section added, see `placeSections`. */
  virtualAddress(index: number): VirtualAddress {
    return virtualAddress(this.base + BigInt(this.address[index] as number));
  }

  #fill(section: ElfSection, first: number, bytes: Uint8Array): void {
    const { header } = section;
    const fields = new Fields(bytes, header);
    const wide = header.class === 64;
    const [entryBytes, info, index, value, size] = wide ? [24, 4, 6, 8, 16] : [16, 12, 14, 4, 8];
    const baseLow = Number(this.base & 0xffff_ffffn);
    const baseHigh = Number(this.base >> 32n);
    for (let at = 0, symbol = first; at + entryBytes <= bytes.length; at += entryBytes, symbol++) {
      this.#nameOffset[symbol] = fields.u32(at);
      this.type[symbol] = (bytes[at + info] as number) & 15;
      this.binding[symbol] = (bytes[at + info] as number) >> 4;
      this.section[symbol] = fields.u16(at + index);
      this.size[symbol] = fields.word(at + size);
      // Kernel addresses do not fit a double: subtract the base in halves first.
      const low = fields.low(at + value) - baseLow;
      const high = (fields.high(at + value) - baseHigh + (low < 0 ? -1 : 0)) | 0;
      this.address[symbol] = high * 0x1_0000_0000 + (low >>> 0);
    }
  }

  /** `SHN_XINDEX`: indexes that do not fit 16 bits stand in a table beside this one. */
  #extendSections(section: ElfSection): void {
    const extension = extendedIndexesOf(section);
    if (extension === undefined) return;
    const fields = new Fields(extension.raw(0, extension.size), section.header);
    const count = Math.min(this.count, Math.floor(extension.size / 4));
    for (let symbol = 0; symbol < count; symbol++) {
      if (this.section[symbol] === 0xffff) this.section[symbol] = fields.u32(4 * symbol);
    }
  }

  /** Values in relocatable files count from the start of the section. */
  #addSectionAddresses({ fileSections }: ElfSection): void {
    const starts = Float64Array.from(fileSections, ({ address }) => Number(address));
    for (let symbol = 0; symbol < this.count; symbol++) {
      const start = starts[this.section[symbol] as number];
      if (start !== undefined) this.address[symbol] = (this.address[symbol] as number) + start;
    }
  }
}

/** The section indexes of `symbols` that do not fit 16 bits. */
export function extendedIndexesOf(symbols: ElfSection): ElfSection | undefined {
  return symbols.fileSections.find(({ type, link, hasContents }) => {
    return type === sectionTypes.symtabShndx && link === symbols.index && hasContents;
  });
}

/**
 * The symbols of an image: `.symtab` where there is one, else `.dynsym`, else undefined. `only` asks for one of them.
 * Throws `ElfError`.
 */
export function readSymbols(image: ElfImage, only?: ElfSymbols['source']): ElfSymbols | undefined {
  const ofType = (type: number) =>
    image.sections.find((section) => section.type === type && section.hasContents);
  const symtab = only === 'dynsym' ? undefined : ofType(sectionTypes.symtab);
  const section = symtab ?? (only === 'symtab' ? undefined : ofType(sectionTypes.dynsym));
  return section === undefined ? undefined : new ElfSymbols(section, image.base);
}

/**
 * True for names that mark a kind of content and name nothing: `$a`, `$t`, `$d`, `$x` and their variants `$d.7` (ARM,
 * AArch64, RISC-V, C-SKY).
 */
export function isMappingSymbol(machine: number, name: string): boolean {
  const marks = mappingMarks[machine];
  return marks?.test(name) ?? false;
}

const mappingMarks: Readonly<Record<number, RegExp>> = {
  [machines.arm]: /^\$[atd](\..*)?$/,
  [machines.aarch64]: /^\$[xd](\..*)?$/,
  [machines.riscv]: /^\$(d|x(rv.*)?)(\..*)?$/,
  252: /^\$[td](\..*)?$/,
};
