// What goes to an extraction child and what comes back. Plain data: it crosses a process boundary.
import type { ElfErrorCode } from '@symkeep/elf';
import type { Quality } from '@symkeep/protocol';
import type { DwarfStats, Source, SymbolsErrorCode } from '@symkeep/symbols';
import type { ElfFiles } from '../elf-files.ts';

export interface ExtractionTask {
  readonly files: ElfFiles;
  /** Where the table is written, in its file form; nowhere if undefined. */
  readonly output: string | undefined;
  /** Threads that read DWARF units of a big file; 1: only the one that runs everything. */
  readonly threads: number;
  /** Most bytes that the DWARF reader holds beside the sections; a default of its own if undefined. */
  readonly bytesMax: number | undefined;
}

/** Finished tables, the best first, to be made into one. */
export interface FillTask {
  readonly tables: readonly string[];
  readonly output: string;
}

/** A table that was made. */
export interface ExtractedTable {
  /** SHA-256 of the file form, hex. */
  readonly digest: string;
  readonly quality: Quality;
  readonly sources: readonly { readonly source: Source; readonly ranges: number }[];
  /** Distinct functions. */
  readonly functions: number;
  /** Ranges of which something is known; 0: nothing in the files names code. */
  readonly ranges: number;
  readonly pages: number;
  /** Of the file form. */
  readonly bytes: number;
  readonly headerBytes: number;
  /** Files that were read, the executable first. */
  readonly files: readonly string[];
  /** GNU build ID of a dwz file that is referred to and was not there: what it holds is missing in the table. */
  readonly missingAlternate?: string;
  readonly dwarf?: DwarfStats;
  /** Sources that could not be read, or not to their end; the table has the others. */
  readonly damage: readonly {
    readonly source: Source;
    readonly code: ElfErrorCode | SymbolsErrorCode;
    readonly message: string;
  }[];
}

/**
 * - `timeout`: took longer than it may.
 * - `out_of_memory`: needed more than it may.
 * - `crashed`: the child ended, or failed in a way that says nothing of the file.
 * - `unreadable`: the file system would not give the file, or not take the table.
 * - the others: what is wrong with the file (`ElfError`, `SymbolsError`).
 */
export type ExtractionCode =
  | 'timeout'
  | 'out_of_memory'
  | 'crashed'
  | 'unreadable'
  | ElfErrorCode
  | SymbolsErrorCode;

export type ExtractionAnswer = {
  /** What the child holds after it. */
  readonly residentBytes: number;
} & (
  | { readonly table: ExtractedTable }
  | { readonly failure: { readonly code: ExtractionCode; readonly message: string } }
);
