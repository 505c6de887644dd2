// Files in, a table file out, in this process and without bounds on it: what an extraction child does, and what the
// offline commands do, which have nobody beside them to protect.
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import {
  type Extracted,
  extractThreaded,
  openSymbolTable,
  type WrittenTable,
  writeSymbolTable,
} from '@symkeep/symbols';
import { type OpenedElf, openElfFile } from '../elf-files.ts';
import type { ExtractedTable, ExtractionTask } from './messages.ts';

/** More threads wait for each other's memory more than they gain. */
const threadsMax = 8;

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
    const written = writeSymbolTable(extracted.ranges);
    if (output !== undefined) writeTableFile(output, written);
    return describe(opened, extracted, written);
  } finally {
    opened.close();
  }
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
  { header, digest }: WrittenTable,
): ExtractedTable {
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
    files,
    ...(missingAlternate === undefined ? {} : { missingAlternate }),
    ...(dwarf === undefined ? {} : { dwarf }),
    damage: damage.map(({ source, error }) => ({ source, code: error.code, message: error.message })),
  };
}
