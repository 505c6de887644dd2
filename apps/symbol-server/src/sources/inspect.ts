// What a file is, from a few positioned reads of it. Nothing is extracted here, and nothing inflated but links.
import {
  altLinkOf,
  arangesBytesOf,
  type ByteSource,
  codeBytesOf,
  definedIn,
  ElfError,
  type ElfImage,
  type Identity,
  identify,
  openElf,
  qualityOf,
  readHeader,
  sectionFlags,
  segmentFlags,
  segmentTypes,
  symbolTableIn,
} from '@symkeep/elf';
import {
  type FileIds,
  gnuId,
  goId,
  htlhashId,
  isGoBuildId,
  isSharedGnuId,
  type Quality,
  type ReportedExecutable,
  segmentsMax,
} from '@symkeep/protocol';
import type { SourceKind } from './source-set.ts';

/** Of a section that is read whole here: links, and `.debug_aranges`. */
const sectionBytesMax = 4 * 1024 * 1024;

export interface FileFacts {
  readonly kind: SourceKind;
  readonly quality: Quality;
  /** Bytes of code that the symbols cover; 0 for a file that others refer to (dwz). */
  readonly covered: number;
  readonly ids: FileIds;
  readonly arch: string;
  readonly type: Identity['type'];
  readonly size: number;
  /** Executable segments; of a debug file they are a copy that need not be true, so it has none here. */
  readonly load: ReportedExecutable['load'];
  /** Build ID of the dwz file that it refers to. */
  readonly alt?: string;
}

/** Throws `ElfError` if this is no ELF file, or one whose parts are not all there. */
export function inspectFile(source: ByteSource): FileFacts {
  // Linked files have under a hundred sections; so many that their count does not fit the header take memory to read.
  const { sectionTable } = readHeader(source);
  if (sectionTable.count === 0 && sectionTable.offset !== 0) {
    throw new ElfError('limit', 'section headers', 'more than 65,279');
  }
  const identity = identify(source);
  const image = openElf(source, { sectionBytesMax });
  const kind = kindOf(image);
  checkWhole(image, kind, source.size);
  const quality = qualityOf(image);
  const alt = attempt(() => altLinkOf(image));
  return {
    kind,
    quality,
    covered: coveredBytes(image, quality),
    ids: idsOf(identity),
    arch: identity.arch,
    type: identity.type,
    size: source.size,
    load: kind === 'executable' && identity.load.length <= segmentsMax ? identity.load : [],
    ...(alt === undefined ? {} : { alt: alt.buildId }),
  };
}

function idsOf({ gnu, go, htlhash }: Identity): FileIds {
  return {
    htlhash: htlhashId(htlhash),
    ...(gnu === undefined || isSharedGnuId(gnu) ? {} : { gnu: gnuId(gnu) }),
    ...(go === undefined || !isGoBuildId(go) ? {} : { go: goId(go) }),
  };
}

// In a debug file every section of code is there by name only.
function kindOf({ sections, segments }: ElfImage): SourceKind {
  const code = sectionFlags.alloc | sectionFlags.execute;
  const ofCode = sections.filter(({ flags, size }) => (flags & code) === code && size > 0);
  const hasCode =
    ofCode.length > 0
      ? ofCode.some(({ hasContents }) => hasContents)
      : sections.length === 0 &&
        segments.some(
          ({ type, flags, fileSize }) =>
            type === segmentTypes.load && (flags & segmentFlags.execute) !== 0 && fileSize > 0,
        );
  return hasCode ? 'executable' : 'debug';
}

// An upload that was cut short, or a disk that was full where the file was made.
function checkWhole({ sections, segments }: ElfImage, kind: SourceKind, size: number): void {
  const check = (what: string, offset: number, bytes: number) => {
    if (offset + bytes > size)
      throw new ElfError('truncated', what, `ends at ${offset + bytes}, the file has ${size} bytes`);
  };
  for (const { what, hasContents, offset, size: bytes } of sections)
    if (hasContents) check(what, offset, bytes);
  if (kind === 'debug') return;
  for (const { type, index, offset, fileSize } of segments) {
    if (type === segmentTypes.load) check(`segment ${index}`, offset, fileSize);
  }
}

function coveredBytes(image: ElfImage, quality: Quality): number {
  const code = codeBytesOf(image);
  switch (quality) {
    case 'dwarf':
      return Math.min(code, attempt(() => arangesBytesOf(image)) ?? code);
    case 'gopclntab':
      return code;
    case 'symtab':
      // Compressed in `.gnu_debugdata`, it covers all.
      return symbolTableIn(image, 'symtab') === undefined
        ? code
        : Math.min(code, definedIn(image, 'symtab').bytes);
    case 'dynsym':
      return Math.min(code, definedIn(image, 'dynsym').bytes);
    case 'none':
      return 0;
  }
}

// What is broken inside is found by the extraction, which says so in the record.
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ElfError) return undefined;
    throw error;
  }
}
