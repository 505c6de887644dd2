// What every extractor (dwarf, gopclntab, symtab, dynsym) emits and what the merge, the writer and the tests read:
// sorted range starts, each with a location; a location is one frame with a link to the frame it is inlined into.
// Columns instead of objects: a big library has a million ranges.
import type { Quality } from '@symkeep/protocol';

/** No location, no function, no parent. */
export const none = -1;

/** One function as its source names it. `name` is the raw linkage name (else the plain name), never demangled. */
export interface FunctionColumns {
  readonly name: readonly string[];
  /** Line of the declaration, 0 if unknown. */
  readonly startLine: Uint32Array;
}

/** One frame each; equal chains mostly share one location. A parent's index is lower than its children's. */
export interface LocationColumns {
  /** Index into the functions; `none` for line-only ranges (code that no function covers). */
  readonly function: Int32Array;
  /** Index into `files`; `none` if unknown. */
  readonly file: Int32Array;
  /** 0 if unknown. Of an outer frame: the line of the call. */
  readonly line: Uint32Array;
  readonly column: Uint32Array;
  /** The location this one is inlined into; `none` for the outermost frame. */
  readonly parent: Int32Array;
}

/** All that one source knows of one executable. */
export interface RangeTable {
  readonly source: Exclude<Quality, 'none'>;
  /** Lowest PT_LOAD address, unsigned 64 bit; `starts` are relative to it. */
  readonly imageBase: bigint;
  /** Ascending and distinct; a range ends where the next begins. The last range has no location: the end of all. */
  readonly starts: Float64Array;
  /** Index into the locations; `none`: nothing is known of these addresses. */
  readonly location: Int32Array;
  readonly locations: LocationColumns;
  readonly functions: FunctionColumns;
  /** Source paths as the compiler recorded them, made absolute by the compile directory. */
  readonly files: readonly string[];
}

/** A source of frames, by what it was extracted from. */
export type Source = RangeTable['source'];

/** What several sources together know of one executable: the best of them at each address (`mergeRanges`). */
export interface SymbolRanges extends Omit<RangeTable, 'source' | 'locations'> {
  /** The sources that `locations.source` indexes. */
  readonly sources: readonly Source[];
  readonly locations: LocationColumns & { readonly source: Uint8Array };
}
