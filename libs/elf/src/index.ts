// Bytes of ELF images in, facts out. Pure: it opens nothing, it reads through a `ByteSource`.
export { type FileOffset, fileOffset, type VirtualAddress, virtualAddress } from './address-space.ts';
export { debugIdOf, gnuIdsOfGoId, type RejectedId, type RejectionReason } from './build-ids.ts';
export { type ByteSource, bytesSource, fileSource } from './byte-source.ts';
export { freeInflationBytesMax, isOutOfMemory, zlibRatioMax, zstdRatioMax } from './compression.ts';
export {
  arangesBytesOf,
  codeBytesOf,
  coverageArangesBytesMax,
  coverageSymbolsMax,
  functionsIn,
} from './coverage.ts';
export {
  type AltLink,
  altLinkOf,
  crc32Of,
  type DebugLink,
  debugLinkOf,
  miniDebugInfoBytesMax,
  openMiniDebugInfo,
  type XzDecompress,
} from './debug-links.ts';
export { ElfError, type ElfErrorCode } from './elf-error.ts';
export {
  combineImages,
  type ElfImage,
  type ElfLimits,
  type ElfSection,
  openElf,
  sectionBytesMax,
} from './elf-image.ts';
export type { Encoding } from './fields.ts';
export { htlhashOf, kernelFileIdOf } from './file-hashes.ts';
export { archOf, type ElfHeader, type ElfType, isElf, machines, readHeader } from './header.ts';
export { type Identity, identify, noteBytesMax, noteRegionBytesMax, noteRegionsMax } from './identify.ts';
export { type FileMapping, fileOffsetOf, segmentAt, virtualAddressOf } from './mapping.ts';
export { type Note, parseNotes } from './notes.ts';
export { definedIn, qualityOf, symbolTableIn } from './quality.ts';
export { readSections, type Section, sectionFlags, sectionsMax, sectionTypes } from './sections.ts';
export { readSegments, type Segment, segmentFlags, segmentsMax, segmentTypes } from './segments.ts';
export {
  ElfSymbols,
  isMappingSymbol,
  readSymbols,
  sectionIndexes,
  symbolBindings,
  symbolNameBytesMax,
  symbolsMax,
  symbolTypes,
} from './symbols.ts';
