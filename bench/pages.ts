// How many ranges a page of a symbol table has, and how it is compressed: bytes stored, and times to inflate a page and to
// decode one.
// Asks for libc and libjvm with their debug files (Debian's libc6-dbg, openjdk-17-dbg); SYMKEEP_BENCH_FILES names others.
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import * as zlib from 'node:zlib';
import { openElfFile } from '../apps/symbol-server/src/elf-files.ts';
import {
  decodePage,
  extract,
  openSymbolTable,
  type SymbolRanges,
  writeSymbolTable,
} from '../libs/symbols/src/index.ts';
import { median, Report } from './report.ts';

const files = process.env.SYMKEEP_BENCH_FILES?.split(':') ?? [
  '/lib/x86_64-linux-gnu/libc.so.6',
  '/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so',
];
const rangeCounts = [256, 512, 1024];
const dictionaryBytes = 28_672;
/** Pages inflated for a time, spread over the table. */
const sampled = 200;
const rounds = 5;

interface Form {
  readonly name: string;
  readonly compress: (content: Uint8Array) => Uint8Array;
  readonly inflate: (stored: Uint8Array) => unknown;
}

function formsWith(dictionary: Buffer): Form[] {
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: 6 };
  return [
    {
      name: 'deflate 9',
      compress: (c) => zlib.deflateRawSync(c, { level: 9 }),
      inflate: zlib.inflateRawSync,
    },
    {
      name: 'zstd 6',
      compress: (c) => zlib.zstdCompressSync(c, { params }),
      inflate: zlib.zstdDecompressSync,
    },
    {
      name: 'zstd 6 + dictionary',
      compress: (c) => zlib.zstdCompressSync(c, { params, dictionary }),
      inflate: (stored) => zlib.zstdDecompressSync(stored, { dictionary }),
    },
  ];
}

/** Starts of pages from all over the table: what most pages begin like. */
function dictionaryOf(contents: readonly Buffer[]): Buffer {
  const parts = Math.min(contents.length, 28);
  const each = Math.floor(dictionaryBytes / parts);
  const pick = (part: number) => contents[Math.floor((part * contents.length) / parts)] as Buffer;
  return Buffer.concat(Array.from({ length: parts }, (_, part) => pick(part).subarray(-each)));
}

/** Microseconds of processor time a page, of pages from all over the table. */
function timePerPage<T>(pages: readonly T[], read: (page: T, index: number) => unknown): number {
  const step = Math.max(1, Math.floor(pages.length / sampled));
  const chosen = pages.map((page, index) => ({ page, index })).filter(({ index }) => index % step === 0);
  const times = Array.from({ length: rounds }, () => {
    const start = process.threadCpuUsage();
    for (const { page, index } of chosen) read(page, index);
    const { user, system } = process.threadCpuUsage(start);
    return (user + system) / chosen.length;
  });
  return median(times);
}

function rangesOf(file: string): SymbolRanges {
  const opened = openElfFile({ executable: file, search: true });
  try {
    return extract(opened.image, opened.companions).ranges;
  } finally {
    opened.close();
  }
}

const report = new Report('pages');
for (const file of files.filter((path) => existsSync(path))) {
  const ranges = rangesOf(file);
  for (const count of rangeCounts) {
    const { header, pages } = writeSymbolTable(ranges, count);
    const title = `${basename(file)}, ${count} ranges a page`;
    report.add(title, 'header', header.length / 1e6, 'MB');
    const table = openSymbolTable(header);
    const decoding = timePerPage(pages, (page, index) => decodePage(table, index, page));
    report.add(title, 'decoded', decoding, 'µs to decode a page, inflating included');
    const contents = pages.map((page) => zlib.zstdDecompressSync(page));
    for (const form of formsWith(dictionaryOf(contents))) {
      const stored = contents.map(form.compress);
      const bytes = stored.reduce((sum, { length }) => sum + length, 0);
      report.add(title, form.name, bytes / 1e6, 'MB');
      report.add(title, form.name, bytes / stored.length, 'bytes a page');
      report.add(
        title,
        form.name,
        timePerPage(stored, (page) => form.inflate(page)),
        'µs to inflate a page',
      );
    }
  }
}
report.publish();
