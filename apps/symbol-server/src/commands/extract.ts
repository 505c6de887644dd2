// `symkeep extract <elf file>`: builds the symbol table of a file, without a server.
import { closeSync, openSync, writeSync } from 'node:fs';
import { defineCommand, flag, option } from '@symkeep/options';
import {
  type Extracted,
  extract as extractRanges,
  openSymbolTable,
  writeSymbolTable,
} from '@symkeep/symbols';
import { z } from 'zod';
import { openElfFile } from '../elf-files.ts';

export const extract = defineCommand({
  name: 'extract',
  describe: 'builds the symbol table of an ELF file',
  args: '<file>',
  options: {
    output: option(z.string().optional(), {
      describe: 'where the table is written to',
      env: 'SYMKEEP_EXTRACT_OUTPUT',
      placeholder: '<file>',
    }),
    stats: option(flag.default(false), {
      describe: 'print one JSON object about the table',
      env: 'SYMKEEP_EXTRACT_STATS',
    }),
  },
  more: `Examples:
  symkeep extract /usr/bin/node --stats
  symkeep extract libc.so.6 -o libc.skst    with its debug file, if that is installed`,
  run: async (values, [path = '']) => {
    const opened = openElfFile(path);
    try {
      const extracted = extractRanges(opened.image, opened.companions);
      const stats = writeTable(extracted, values.output);
      if (values.stats) process.stdout.write(`${JSON.stringify({ files: opened.files, ...stats })}\n`);
      for (const { source, error } of extracted.damage) {
        process.stderr.write(`symkeep: ${source}: ${error.message}\n`);
      }
      return stats.ranges > 0 ? 0 : 1;
    } finally {
      opened.close();
    }
  },
});

function writeTable({ ranges, dwarf, damage }: Extracted, output: string | undefined) {
  const written = writeSymbolTable(ranges);
  if (output !== undefined) writeFile(output, [written.header, ...written.pages]);
  const table = openSymbolTable(written.header);
  const bytes = table.pageOffsets.at(-1) as number;
  return {
    digest: written.digest,
    quality: table.quality,
    sources: table.sources,
    functions: table.functions,
    ranges: table.ranges,
    pages: table.pageCount,
    bytes,
    headerBytes: written.header.length,
    bytesPerRange: perEach(bytes, table.ranges),
    bytesPerFunction: perEach(bytes, table.functions),
    ...(dwarf === undefined ? {} : { dwarf }),
    damage: damage.map(({ source, error }) => ({ source, code: error.code, message: error.message })),
  };
}

function perEach(bytes: number, count: number): number {
  return count === 0 ? 0 : Math.round((100 * bytes) / count) / 100;
}

function writeFile(path: string, parts: readonly Uint8Array[]): void {
  const descriptor = openSync(path, 'w');
  try {
    for (const part of parts) writeSync(descriptor, part);
  } finally {
    closeSync(descriptor);
  }
}
