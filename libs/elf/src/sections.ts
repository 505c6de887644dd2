// Section headers: the linker's and debugger's view of a file (gABI, "Sections"). Names are separate, since reading IDs
// needs none.
import { type FileOffset, fileOffset, type VirtualAddress } from './address-space.ts';
import type { ByteSource } from './byte-source.ts';
import { readExact } from './byte-source.ts';
import { ElfError } from './elf-error.ts';
import { type Fields, readTable } from './fields.ts';
import type { ElfHeader } from './header.ts';

export interface Section {
  readonly index: number;
  /** Offset of the name in the section of names. */
  readonly nameOffset: number;
  /** `sectionTypes`, or a value of the processor or OS. */
  readonly type: number;
  /** `sectionFlags`, combined; the low 32 bits. */
  readonly flags: number;
  readonly address: VirtualAddress;
  readonly offset: FileOffset;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entryBytes: number;
}

export const sectionTypes = {
  null: 0,
  progbits: 1,
  symtab: 2,
  strtab: 3,
  rela: 4,
  note: 7,
  nobits: 8,
  rel: 9,
  dynsym: 11,
  symtabShndx: 18,
} as const;
export const sectionFlags = { write: 1, alloc: 2, execute: 4, compressed: 0x800 } as const;

/** Relocatable files with a section per function reach tens of thousands; linked ones stay under a hundred. */
export const sectionsMax = 262_144;
/** `sectionsMax` names of 64 bytes. */
export const sectionNamesBytesMax = 16 * 1024 * 1024;

const headerBytes = { 32: 40, 64: 64 } as const;
/** `SHN_XINDEX`: the index of the section of names stands in `sh_link` of section 0. */
const indexInSection0 = 0xffff;

/** All section headers, the null section 0 included. Throws `truncated`, `malformed` or `limit`. */
export function readSections(source: ByteSource, header: ElfHeader): Section[] {
  const sections: Section[] = [];
  visitSections(source, header, (section) => sections.push(section));
  return sections;
}

/** The same one by one, for those who keep few of them. */
export function visitSections(
  source: ByteSource,
  header: ElfHeader,
  visit: (section: Section) => void,
): void {
  const what = 'section headers';
  const table = header.sectionTable;
  if (table.offset === 0) return;
  // e_shnum = 0 beside a table: the count does not fit 16 bits and stands in sh_size of section 0.
  const count = table.count === 0 ? readFirstSection(source, header, what).size : table.count;
  if (count > sectionsMax) throw new ElfError('limit', what, `${count} entries, at most ${sectionsMax}`);
  checkEntryBytes(header, what);
  readTable(source, header, { ...table, count, what }, (fields, at, index) => {
    visit(sectionAt(fields, at, index, header.class === 64));
  });
}

/** Section 0, which carries the counts that do not fit the ELF header. `what` is what the counts are wanted for. */
export function readFirstSection(source: ByteSource, header: ElfHeader, what: string): Section {
  const table = header.sectionTable;
  if (table.offset === 0)
    throw new ElfError('malformed', what, 'the count is in section 0, and there is none');
  checkEntryBytes(header, what);
  let first: Section | undefined;
  readTable(source, header, { ...table, count: 1, what: `${what}: section 0` }, (fields, at, index) => {
    first = sectionAt(fields, at, index, header.class === 64);
  });
  return first as Section;
}

/**
 * The name of each section, by index. Throws `truncated`, `malformed` or `limit`; a file without a section of names has
 * empty ones.
 */
export function readSectionNames(
  source: ByteSource,
  header: ElfHeader,
  sections: readonly Section[],
): string[] {
  const what = 'section names';
  const { namesIndex } = header.sectionTable;
  const index = namesIndex === indexInSection0 ? (sections[0]?.link ?? 0) : namesIndex;
  if (index === 0) return sections.map(() => '');
  const table = sections[index];
  if (table === undefined) throw new ElfError('malformed', what, `in section ${index} of ${sections.length}`);
  if (table.type === sectionTypes.nobits) return sections.map(() => '');
  if (table.size > sectionNamesBytesMax) {
    throw new ElfError('limit', what, `${table.size} bytes, at most ${sectionNamesBytesMax}`);
  }
  const bytes = readExact(source, table.offset, table.size, what);
  return sections.map((section) => stringAt(bytes, section.nameOffset));
}

/** Longer names exist in no file; without a bound, overlapping names would make quadratic text. */
const sectionNameBytesMax = 4_096;

function stringAt(bytes: Uint8Array, start: number): string {
  const end = bytes.indexOf(0, start);
  const stop = Math.min(end < 0 ? bytes.length : end, start + sectionNameBytesMax);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', start, stop);
}

function checkEntryBytes(header: ElfHeader, what: string): void {
  const { entryBytes } = header.sectionTable;
  if (entryBytes !== headerBytes[header.class])
    throw new ElfError('malformed', what, `entries of ${entryBytes} bytes`);
}

function sectionAt(fields: Fields, at: number, index: number, wide: boolean): Section {
  const word = wide ? 8 : 4;
  // After name and type come four words (flags, address, offset, size), two u32, and two words again.
  const links = at + 8 + 4 * word;
  return {
    index,
    nameOffset: fields.u32(at),
    type: fields.u32(at + 4),
    flags: Number(BigInt.asUintN(32, fields.exactWord(at + 8))),
    address: fields.address(at + 8 + word),
    offset: fileOffset(fields.word(at + 8 + 2 * word)),
    size: fields.word(at + 8 + 3 * word),
    link: fields.u32(links),
    info: fields.u32(links + 4),
    align: fields.word(links + 8),
    entryBytes: fields.word(links + 8 + word),
  };
}
