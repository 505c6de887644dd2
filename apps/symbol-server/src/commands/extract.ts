// `symkeep extract <elf file>`: builds the symbol table of a file, without a server; with --store, in a bounded child as a
// worker does, and gives it to the servers of a Redis.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '@symkeep/cache';
import { defineCommand, flag, option, type Values } from '@symkeep/options';
import { parseExecutableId } from '@symkeep/protocol';
import { z } from 'zod';
import { executableIdOf } from '../elf-files.ts';
import {
  type ExtractedTable,
  ExtractionFailure,
  Extractor,
  extractTable,
  threadsHere,
} from '../extraction/index.ts';
import { namespace, redisUrl } from '../options.ts';

const options = {
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
  store: option(flag.default(false), {
    describe: 'give the table to the servers of the Redis at --redis-url, unless theirs is better',
    env: 'SYMKEEP_EXTRACT_STORE',
  }),
  id: option(z.string().optional(), {
    describe: 'with --store: the ID to file it under, that of the file if not given',
    env: 'SYMKEEP_EXTRACT_ID',
    placeholder: '<id>',
  }),
  redisUrl,
  namespace,
} as const;
type ExtractValues = Values<typeof options>;

export function extract(clock: Clock) {
  return defineCommand({
    name: 'extract',
    describe: 'builds the symbol table of an ELF file',
    args: '<file>',
    options,
    more: `Examples:
  symkeep extract /usr/bin/node --stats
  symkeep extract libc.so.6 -o libc.skst    with its debug file, if that is installed
  symkeep extract libc.so.6 --store         lookups by its build ID give names from now on`,
    run: async (values, [path = '']) => {
      const directory = mkdtempSync(join(tmpdir(), 'symkeep-extract-'));
      try {
        return await (values.store ? store(values, path, directory, clock) : offline(values, path));
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  });
}

// In this process: there is nobody beside it to protect, and a child would take as long to start as most files take.
async function offline(
  { output, stats, threads = threadsHere() }: ExtractValues,
  path: string,
): Promise<number> {
  const files = { executable: path, search: true };
  const table = await extractTable({ files, output, threads, bytesMax: undefined });
  return report(table, stats);
}

async function store(values: ExtractValues, path: string, directory: string, clock: Clock): Promise<number> {
  const id = values.id === undefined ? executableIdOf(path) : parseExecutableId(values.id);
  const output = values.output ?? join(directory, 'table');
  const extractor = new Extractor({ clock, threads: values.threads ?? threadsHere() });
  try {
    const table = await extractor.extract({ executable: path, search: true }, output);
    if (table instanceof ExtractionFailure) throw new Error(`${path}: ${table.code}: ${table.message}`);
    const code = report(table, values.stats);
    if (code !== 0) return code;
    const { publishTable } = await import('./publish-table.ts');
    const { status, generation } = await publishTable(id, { path: output, table }, values, clock);
    process.stderr.write(`symkeep: ${id}: ${status}, generation ${generation}\n`);
    return status === 'published' || status === 'unchanged' ? 0 : 1;
  } finally {
    await extractor.stop();
  }
}

function report(table: ExtractedTable, stats: boolean): number {
  const { bytes, ranges, functions } = table;
  const perEach = { bytesPerRange: ratio(bytes, ranges), bytesPerFunction: ratio(bytes, functions) };
  if (stats) process.stdout.write(`${JSON.stringify({ ...table, ...perEach })}\n`);
  for (const { source, message } of table.damage) process.stderr.write(`symkeep: ${source}: ${message}\n`);
  return ranges > 0 ? 0 : 1;
}

function ratio(bytes: number, count: number): number {
  return count === 0 ? 0 : Math.round((100 * bytes) / count) / 100;
}
