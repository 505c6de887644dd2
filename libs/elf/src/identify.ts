// What an ELF image is, from the few kilobytes that say so: all its IDs, machine, type and executable segments. Most
// files cost two reads of 4 KiB, whatever their size.
import type { VirtualAddress } from './address-space.ts';
import { BuildIdCollector, type RejectedId } from './build-ids.ts';
import { type ByteSource, holdEnds, readExact } from './byte-source.ts';
import { ElfError } from './elf-error.ts';
import { htlhashEndBytes, htlhashOfEnds } from './file-hashes.ts';
import { type ElfHeader, type ElfType, readHeader } from './header.ts';
import { notesIn } from './notes.ts';
import { sectionTypes, visitSections } from './sections.ts';
import { isExecutableLoad, readSegments, type Segment, segmentTypes } from './segments.ts';

export interface Identity {
  /** GNU build ID, lower-case hex of 8 to 64 bytes. */
  readonly gnu?: string;
  /** Go build ID as it stands in the file, `a/b/c/d`. */
  readonly go?: string;
  /** 32 lower-case hex digits. */
  readonly htlhash: string;
  /** Names as `uname -m` gives them; see `archOf`. */
  readonly arch: string;
  readonly type: ElfType;
  readonly class: 32 | 64;
  readonly byteOrder: 'little' | 'big';
  /** Bytes. */
  readonly size: number;
  /** Executable `PT_LOAD` segments in file order, `[vaddr, memsz]`. */
  readonly load: readonly (readonly [VirtualAddress, bigint])[];
  /** IDs that stand in the file and identify nothing. */
  readonly rejected: readonly RejectedId[];
  /** Parts where an ID may stand that could not be read; the file is identified without them. */
  readonly damage: readonly ElfError[];
}

/** Build IDs stand in notes of under 100 bytes; sections beyond this hold annotations of compilers and probes. */
export const noteRegionBytesMax = 65_536;
/** Linked files have under ten; relocatable ones with annotations of compilers one per function. */
export const noteRegionsMax = 8_192;
/** Over all regions of a file: a hostile one could name the same bytes a hundred thousand times. */
export const noteBytesMax = 1_048_576;
/** What is reported; a thousand broken sections say no more than a few. */
const damageMax = 16;

/**
 * Identifies an ELF image. Throws `ElfError` when its header or program headers cannot be read; broken section headers
 * and notes (stripped by hand, packed) end up in `damage`.
 */
export function identify(source: ByteSource): Identity {
  const image = holdEnds(source, htlhashEndBytes);
  const header = readHeader(image);
  const segments = readSegments(image, header);
  const damage: ElfError[] = [];
  const { gnu, go, rejected } = readBuildIds(
    image,
    header,
    noteRegions(image, header, segments, damage),
    damage,
  );
  return {
    ...(gnu === undefined ? {} : { gnu }),
    ...(go === undefined ? {} : { go }),
    htlhash: htlhashOfEnds(image.head, image.tail, image.size),
    arch: header.arch,
    type: header.type,
    class: header.class,
    byteOrder: header.littleEndian ? 'little' : 'big',
    size: image.size,
    load: segments.filter(isExecutableLoad).map(({ address, memorySize }) => [address, memorySize] as const),
    rejected,
    damage,
  };
}

interface NoteRegion {
  readonly what: string;
  readonly offset: number;
  readonly size: number;
  readonly align: number;
}

/**
 * Sections come first: in a `.debug` file the program headers are often a copy of the executable's and point anywhere.
 * A segment that is one of the sections is not read again.
 */
function noteRegions(
  source: ByteSource,
  header: ElfHeader,
  segments: readonly Segment[],
  damage: ElfError[],
): Iterable<NoteRegion> {
  const regions = new Map<string, NoteRegion>();
  const add = (region: NoteRegion) => {
    const key = `${region.offset}+${region.size}/${region.align}`;
    if (region.size === 0 || regions.has(key)) return;
    if (regions.size === noteRegionsMax)
      throw new ElfError('limit', region.what, `one of over ${noteRegionsMax}`);
    regions.set(key, region);
  };
  attempt(damage, () => {
    visitSections(source, header, ({ index, type, offset, size, align }) => {
      if (type === sectionTypes.note) add({ what: `note section ${index}`, offset, size, align });
    });
  });
  attempt(damage, () => {
    for (const { index, type, offset, fileSize, align } of segments) {
      if (type === segmentTypes.note) add({ what: `note segment ${index}`, offset, size: fileSize, align });
    }
  });
  return regions.values();
}

function readBuildIds(
  source: ByteSource,
  header: ElfHeader,
  regions: Iterable<NoteRegion>,
  damage: ElfError[],
) {
  const ids = new BuildIdCollector();
  let bytesLeft = noteBytesMax;
  for (const { what, offset, size, align } of regions) {
    // Nothing good comes after this much damage, and each error costs a stack trace.
    if (damage.length === damageMax) break;
    attempt(damage, () => {
      const allowed = Math.min(noteRegionBytesMax, bytesLeft);
      if (size > allowed) throw new ElfError('limit', what, `${size} bytes, at most ${allowed}`);
      bytesLeft -= size;
      const bytes = readExact(source, offset, size, what);
      for (const note of notesIn(bytes, header.littleEndian, align, what)) ids.add(note);
    });
  }
  return ids.result();
}

function attempt(damage: ElfError[], read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    damage.push(error);
  }
}
