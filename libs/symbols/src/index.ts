// An ELF image in, a symbol table out; and lookups in symbol tables. Pure: it opens nothing.
export { Demangler, demangle } from './demangle/index.ts';
export type { SplitUnitName } from './dwarf/debug-sections.ts';
export { extractDwarf } from './dwarf/extract.ts';
export type { DwarfStats } from './dwarf/extraction.ts';
export { type CompanionImages, debugSectionsOf } from './dwarf/sections.ts';
export { extractDwarfThreaded, type ThreadOptions } from './dwarf/threads.ts';
export {
  type Extracted,
  type ExtractOptions,
  extract,
  extractThreaded,
  type SourceDamage,
} from './extract.ts';
export { fillRanges, rangesOf } from './fill.ts';
export { extractGopclntab } from './gopclntab.ts';
export { mergeRanges } from './merge.ts';
export { none, type RangeTable, type Source, type SymbolRanges } from './ranges.ts';
export {
  decodePage,
  type FoundFrames,
  framesAt,
  headerLengthOf,
  headerPrefixBytes,
  locationAt,
  noFrames,
  openSymbolTable,
  pageExtent,
  pageOf,
  relativeTo,
  relativeToWords,
  type SymbolTable,
  sourceOf,
  symbolTableVersion,
  type WrittenTable,
  wordsOf,
  writeSymbolTable,
  writeSymbolTableThreaded,
} from './symbol-table.ts';
export {
  columnWord,
  type DecodedPage,
  fileWord,
  functionWord,
  lineWord,
  locationWords,
  pageContentBytesMax,
  pageRangesMax,
  parentWord,
  stringBytesMax,
} from './symbol-table-page.ts';
export { relativeAddressMax } from './symbol-table-plan.ts';
export { SymbolsError, type SymbolsErrorCode } from './symbols-error.ts';
export { extractSymbols } from './symtab.ts';
