// An opened ELF file: its headers and tables, and its sections by name, whose contents come decompressed and relocated.
// Nothing is read before it is asked for, and nothing that was read is kept: who asks twice, reads twice.
import { type FileOffset, type VirtualAddress, virtualAddress } from './address-space.ts';
import { type ByteSource, readExact } from './byte-source.ts';
import {
  type Compression,
  checkInflation,
  compressionHeaderBytesMax,
  compressionOf,
  inflate,
  zdebugCompressionOf,
} from './compression.ts';
import { ElfError } from './elf-error.ts';
import { type ElfHeader, readHeader } from './header.ts';
import { placeSections } from './placement.ts';
import { relocate } from './relocations.ts';
import { readSectionNames, readSections, type Section, sectionFlags, sectionTypes } from './sections.ts';
import { isExecutableLoad, readSegments, type Segment, segmentTypes } from './segments.ts';

/** The largest sections in use (`.debug_info` of browsers) have 2 to 3 GiB. */
export const sectionBytesMax = 4 * 1024 ** 3;

export interface ElfLimits {
  /** Of one section, decompressed. */
  readonly sectionBytesMax: number;
}

/** What is read of a file with symbols; of an executable and its `.debug` file together, see `combineImages`. */
export interface ElfImage {
  readonly header: ElfHeader;
  readonly segments: readonly Segment[];
  /** In file order, so by index, except in a combined image: what a section links to is in its own `fileSections`. */
  readonly sections: readonly ElfSection[];
  /** Lowest address of a PT_LOAD segment, 0 without any. */
  readonly base: VirtualAddress;
  /** The first section of this name that has contents in the file. `.zdebug_info` is found as `.debug_info`. */
  section(name: string): ElfSection | undefined;
  /** All of them: relocatable files have one per COMDAT group. */
  sectionsNamed(name: string): readonly ElfSection[];
  /** `[start, end)` of the code, ascending: of executable sections, or of segments where there are no sections. */
  executableRanges(): readonly (readonly [VirtualAddress, VirtualAddress])[];
}

/** Throws `ElfError` when headers, tables or section names cannot be read. */
export function openElf(source: ByteSource, limits: ElfLimits = { sectionBytesMax }): ElfImage {
  const header = readHeader(source);
  const segments = readSegments(source, header);
  const bare = readSections(source, header);
  const names = readSectionNames(source, header, bare);
  const file: ElfFile = { source, header, limits, sections: [] };
  file.sections = placeSections(header, bare, names).map(
    (section, index) => new ElfSection(file, section, names[index] ?? ''),
  );
  return imageOf(header, segments, file.sections);
}

/**
 * A stripped executable and its `.debug` file as one image: segments and executable ranges are those of the executable,
 * sections those of the debug file wherever it has contents. That both are of one build is the caller's to check
 * (`identify`); `malformed` if not even their machines agree.
 */
export function combineImages(executable: ElfImage, debug: ElfImage): ElfImage {
  const [ours, theirs] = [executable.header, debug.header];
  if (
    theirs.machine !== ours.machine ||
    theirs.class !== ours.class ||
    theirs.littleEndian !== ours.littleEndian
  ) {
    throw new ElfError('malformed', 'debug file', `is for ${theirs.arch}, its executable for ${ours.arch}`);
  }
  const fromDebug = debug.sections.filter((section) => section.hasContents);
  const names = new Set(fromDebug.map(({ name }) => name));
  const sections = [...fromDebug, ...executable.sections.filter(({ name }) => !names.has(name))];
  const ranges = executable.executableRanges();
  return { ...imageOf(ours, executable.segments, sections), executableRanges: () => ranges };
}

function imageOf(header: ElfHeader, segments: readonly Segment[], sections: readonly ElfSection[]): ElfImage {
  const named = new Map<string, ElfSection[]>();
  for (const section of sections) {
    if (!section.hasContents) continue;
    const same = named.get(section.name);
    if (same === undefined) named.set(section.name, [section]);
    else same.push(section);
  }
  return {
    header,
    segments,
    sections,
    base: baseOf(segments),
    section: (name) => named.get(name)?.[0],
    sectionsNamed: (name) => named.get(name) ?? [],
    executableRanges: () => executableRangesOf(sections, segments),
  };
}

/** Lowest address of a PT_LOAD segment, 0 without any. */
export function baseOf(segments: readonly Segment[]): VirtualAddress {
  const addresses = segments.filter(({ type }) => type === segmentTypes.load).map(({ address }) => address);
  return addresses.reduce(
    (lowest, address) => (address < lowest ? address : lowest),
    addresses[0] ?? virtualAddress(0n),
  );
}

function executableRangesOf(
  sections: readonly ElfSection[],
  segments: readonly Segment[],
): readonly (readonly [VirtualAddress, VirtualAddress])[] {
  const code = sectionFlags.alloc | sectionFlags.execute;
  const ofSections = sections
    .filter(({ flags, size }) => (flags & code) === code && size > 0)
    .map(({ address, size }) => [address, virtualAddress(address + BigInt(size))] as const);
  const ofSegments = () =>
    segments
      .filter(isExecutableLoad)
      .map(({ address, memorySize }) => [address, virtualAddress(address + memorySize)] as const);
  const ranges = ofSections.length > 0 ? ofSections : ofSegments();
  return ranges.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
}

function isRelocations(type: number): boolean {
  return type === sectionTypes.rel || type === sectionTypes.rela;
}

/** What the sections of one file share. */
interface ElfFile {
  readonly source: ByteSource;
  readonly header: ElfHeader;
  readonly limits: ElfLimits;
  sections: readonly ElfSection[];
}

/** A section header with its name and the way to its contents. */
export class ElfSection implements Section {
  readonly index: number;
  /** `.zdebug_*` under its name of today. */
  readonly name: string;
  readonly nameOffset: number;
  readonly type: number;
  readonly flags: number;
  /** In relocatable files, where every section says 0, see `placeSections`. */
  readonly address: VirtualAddress;
  readonly offset: FileOffset;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entryBytes: number;
  readonly #file: ElfFile;
  readonly #zdebug: boolean;

  constructor(file: ElfFile, section: Section, name: string) {
    this.index = section.index;
    this.#zdebug = name.startsWith('.zdebug_');
    this.name = this.#zdebug ? `.${name.slice(2)}` : name;
    this.nameOffset = section.nameOffset;
    this.type = section.type;
    this.flags = section.flags;
    this.address = section.address;
    this.offset = section.offset;
    this.size = section.size;
    this.link = section.link;
    this.info = section.info;
    this.align = section.align;
    this.entryBytes = section.entryBytes;
    this.#file = file;
  }

  /** False for what has a place in memory or a name only (NOBITS: all code in a `.debug` file). */
  get hasContents(): boolean {
    return this.size > 0 && this.type !== sectionTypes.null && this.type !== sectionTypes.nobits;
  }

  get header(): ElfHeader {
    return this.#file.header;
  }

  /** The section that `sh_link` names, e.g. the strings of a symbol table. */
  linked(): ElfSection | undefined {
    return this.link === 0 ? undefined : this.#file.sections[this.link];
  }

  /** All sections of the file this one is in, by index. */
  get fileSections(): readonly ElfSection[] {
    return this.#file.sections;
  }

  /** Bytes of `contents()`, for the price of reading a header. Throws `ElfError`. */
  contentBytes(): number {
    const compression = this.#compression();
    return compression === undefined ? this.size : compression.size;
  }

  /**
   * The whole contents, decompressed; in relocatable files, debug sections are relocated. Possibly a view of the source: not to be written
   * to. Throws `ElfError`, `limit` if there are more bytes than the limit the file was opened with.
   */
  contents(): Uint8Array {
    const bytes = this.#inflated();
    // Executables that kept their relocations (`--emit-relocs`) have them applied already. Code and data would need all
    // the kinds a linker knows, and nobody here reads them.
    if (this.header.type !== 'rel' || (this.flags & sectionFlags.alloc) !== 0) return bytes;
    const relocations = this.fileSections.filter(
      ({ type, info }) => info === this.index && isRelocations(type),
    );
    return relocations.length === 0 ? bytes : relocate(this, bytes, relocations);
  }

  /** `contents()` before relocation. */
  #inflated(): Uint8Array {
    const compression = this.#compression();
    if (compression === undefined) return this.raw(0, this.size);
    return inflate(this.raw(0, this.size), compression, this.what);
  }

  /** Contents as they stand in the file: no decompression, no relocation. */
  raw(offset: number, length: number): Uint8Array {
    if (!this.hasContents) throw new ElfError('absent', this.what, 'has no contents in this file');
    this.#checkSize(length);
    return readExact(this.#file.source, this.offset + offset, length, this.what);
  }

  get what(): string {
    return `section ${this.name === '' ? this.index : this.name}`;
  }

  #compression(): Compression | undefined {
    const flagged = (this.flags & sectionFlags.compressed) !== 0;
    if (!flagged && !this.#zdebug) return undefined;
    const start = this.raw(0, Math.min(this.size, compressionHeaderBytesMax));
    const compression = flagged
      ? compressionOf(start, this.header, this.what)
      : zdebugCompressionOf(start, this.what);
    checkInflation(compression, this.size - compression.headerBytes, this.what);
    this.#checkSize(compression.size);
    return compression;
  }

  #checkSize(size: number): void {
    const { sectionBytesMax: most } = this.#file.limits;
    if (size > most) throw new ElfError('limit', this.what, `${size} bytes, at most ${most}`);
  }
}
