// `symkeep extract <elf file>`: builds the symbol table of a file, without a server.
import { defineCommand, flag, option } from '@symkeep/options';
import { z } from 'zod';
import { type ExtractedTable, extractTable, threadsHere } from '../extraction/index.ts';

export const extract = defineCommand({
  name: 'extract',
  describe: 'builds the symbol table of an ELF file',
  args: '<file>',
  options: {
    output: option(z.string().optional(), {
      describe: 'where the table is written to',
      env: 'SYMKEEP_EXTRACT_OUTPUT',
      placeholder: '<file>',
      short: 'o',
    }),
    threads: option(z.coerce.number().int().min(1).max(64).optional(), {
      describe: 'threads that read the DWARF of a big file, one a core if not given',
      env: 'SYMKEEP_EXTRACT_THREADS',
      placeholder: '<count>',
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
    const files = { executable: path, search: true };
    const { output, stats, threads = threadsHere() } = values;
    const table = await extractTable({ files, output, threads, bytesMax: undefined });
    if (stats) process.stdout.write(`${JSON.stringify(statsOf(table))}\n`);
    for (const { source, message } of table.damage) process.stderr.write(`symkeep: ${source}: ${message}\n`);
    return table.ranges > 0 ? 0 : 1;
  },
});

function statsOf(table: ExtractedTable) {
  const { bytes, ranges, functions } = table;
  return {
    ...table,
    bytesPerRange: perEach(bytes, ranges),
    bytesPerFunction: perEach(bytes, functions),
  };
}

function perEach(bytes: number, count: number): number {
  return count === 0 ? 0 : Math.round((100 * bytes) / count) / 100;
}
