// Files in, a table file out, in this process and without bounds on it: what an extraction child does, and what the
// offline commands do, which have nobody beside them to protect.
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import {
  decodePage,
  type Extracted,
  extractThreaded,
  fillRanges,
  openSymbolTable,
  pageExtent,
  rangesOf,
  type SymbolRanges,
  type WrittenTable,
  writeSymbolTable,
  writeSymbolTableThreaded,
} from '@symkeep/symbols';
import { type OpenedElf, openElfFile } from '../elf-files.ts';
import type { ExtractedTable, ExtractionTask, FillTask } from './messages.ts';

/** More threads wait for each other's memory more than they gain. */
const threadsMax = 8;

/** A thread takes as long to start as to compress the pages of so many ranges. */
const threadedRangesMin = 262_144;

/** Threads that may read one file. */
export function threadsHere(): number {
  return Math.min(threadsMax, availableParallelism());
}

/** Throws `ElfError`, `SymbolsError`, and what the file system throws. */
export async function extractTable({
  files,
  output,
  threads,
  bytesMax,
}: ExtractionTask): Promise<ExtractedTable> {
  const opened = openElfFile(files);
  try {
    const budget = bytesMax === undefined ? {} : { bytesMax };
    const extracted = await extractThreaded(opened.image, { ...opened.companions, ...budget, threads });
    const written = await write(extracted.ranges, threads);
    if (output !== undefined) writeTableFile(output, written);
    return describe(opened, extracted, written);
  } finally {
    opened.close();
  }
}

function write(ranges: SymbolRanges, threads: number): WrittenTable | Promise<WrittenTable> {
  const isThreaded = threads > 1 && ranges.starts.length >= threadedRangesMin;
  return isThreaded ? writeSymbolTableThreaded(ranges) : writeSymbolTable(ranges);
}

/** Makes finished tables into one: at each address what the first has that knows something of it. */
export function fillTable({ tables, output }: FillTask): ExtractedTable {
  const written = writeSymbolTable(fillRanges(tables.map(readTableFile)));
  writeTableFile(output, written);
  return { ...tableFacts(written), files: tables, damage: [] };
}

function readTableFile(path: string): SymbolRanges {
  const bytes = readFileSync(path);
  const table = openSymbolTable(bytes);
  const pages = Array.from({ length: table.pageCount }, (_, page) => {
    const { offset, length } = pageExtent(table, page);
    return decodePage(table, page, bytes.subarray(offset, offset + length));
  });
  return rangesOf(table, pages);
}

/** Whole or not at all, under its own name at last. */
function writeTableFile(path: string, { header, pages }: WrittenTable): void {
  const partial = `${path}.partial`;
  const descriptor = openSync(partial, 'w');
  try {
    for (const part of [header, ...pages]) writeSync(descriptor, part);
    closeSync(descriptor);
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}

function describe(
  { files, missingAlternate }: OpenedElf,
  { dwarf, damage }: Extracted,
  written: WrittenTable,
): ExtractedTable {
  return {
    ...tableFacts(written),
    files,
    ...(missingAlternate === undefined ? {} : { missingAlternate }),
    ...(dwarf === undefined ? {} : { dwarf }),
    damage: damage.map(({ source, error }) => ({ source, code: error.code, message: error.message })),
  };
}

function tableFacts({ header, digest }: WrittenTable): Omit<ExtractedTable, 'files' | 'damage'> {
  const table = openSymbolTable(header);
  return {
    digest,
    quality: table.quality,
    sources: table.sources,
    functions: table.functions,
    ranges: table.ranges,
    pages: table.pageCount,
    bytes: table.pageOffsets.at(-1) as number,
    headerBytes: header.length,
  };
}
