// Hostile pages and headers of symbol tables: whatever stands in them, an answer or a typed error. Mutations are made of the
// content, under a checksum and a compression that are right, else nothing would get past them.
import { crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { attempt, type FuzzTarget } from '../../../tools/fuzz/target.ts';
import { type Random, randomOf } from '../../../tools/random.ts';
import {
  decodePage,
  framesAt,
  headerPrefixBytes,
  mergeRanges,
  openSymbolTable,
  SymbolsError,
  type SymbolTable,
  writeSymbolTable,
} from '../src/index.ts';
import { tableOf, testRanges } from './tables.ts';

/** Codes of every column, counts, and what is over each limit. */
const numbers = [
  ...[0, 1, 2, 3, 4, 5, 127, 128, 511, 512, 513, 65_535, 65_536],
  ...[2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 52, 2 ** 53],
];

function tables() {
  return fc
    .sample(testRanges, { numRuns: 40, seed: 3 })
    .map((ranges) => writeSymbolTable(mergeRanges([tableOf('dwarf', 0n, ranges)])))
    .filter(({ pages }) => pages.length > 0);
}

/** One to four numbers or bytes changed, one in eight cut. */
function mutantOf(content: Buffer, random: Random): Buffer {
  let mutant: Buffer = Buffer.from(content);
  for (let change = random(4); change >= 0; change--) {
    mutant = random(2) === 0 ? changeByte(mutant, random) : changeNumber(mutant, random);
  }
  return random(8) === 0 ? mutant.subarray(0, random(mutant.length)) : mutant;
}

function changeByte(content: Buffer, random: Random): Buffer {
  const at = random(content.length);
  const near = (content[at] as number) + random(9) - 4;
  content[at] = [0, 1, 0x7f, 0x80, 0xff, near, random(256), near][random(8)] as number;
  return content;
}

/** A varint becomes another one, of another length, twice, or none. */
function changeNumber(content: Buffer, random: Random): Buffer {
  let start = random(content.length);
  while (start > 0 && (content[start - 1] as number) >= 0x80) start--;
  let end = start;
  while (end < content.length && (content[end] as number) >= 0x80) end++;
  const inserted = [varint(numbers[random(numbers.length)] as number), Buffer.alloc(0)][
    Number(random(8) === 0)
  ];
  return Buffer.concat([content.subarray(0, start), inserted as Buffer, content.subarray(end + 1)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

const pages: FuzzTarget = {
  name: 'table-pages',
  weight: 10,
  open: () => {
    const written = tables().map(({ header, pages: [first] }) => {
      return { table: openSymbolTable(header), content: zstdDecompressSync(first as Buffer) };
    });
    return (seed) => {
      const random = randomOf(seed);
      const { table, content } = written[random(written.length)]!;
      return readPage(table, mutantOf(content, random));
    };
  },
};

function readPage(table: SymbolTable, content: Buffer): string {
  const stored = zstdCompressSync(content);
  return attempt([SymbolsError], () => {
    const page = decodePage({ ...table, pageChecksums: Uint32Array.of(crc32(stored)) }, 0, stored);
    for (const start of page.starts) framesAt(table, page, start);
    return 'read';
  });
}

const headers: FuzzTarget = {
  name: 'table-headers',
  weight: 5,
  open: () => {
    const written = tables().map(({ header }) => {
      return { header, content: zstdDecompressSync(header.subarray(headerPrefixBytes)) };
    });
    return (seed) => {
      const random = randomOf(seed);
      const { header, content } = written[random(written.length)]!;
      const stored = zstdCompressSync(mutantOf(content, random));
      const prefix = Buffer.from(header.subarray(0, headerPrefixBytes));
      prefix.writeUInt32LE(headerPrefixBytes + stored.length, 8);
      prefix.writeUInt32LE(crc32(stored), 12);
      return attempt([SymbolsError], () => {
        openSymbolTable(Buffer.concat([prefix, stored]));
        return 'read';
      });
    };
  },
};

export const tableTargets: readonly FuzzTarget[] = [pages, headers];
