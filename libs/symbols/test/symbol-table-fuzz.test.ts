// Hostile pages and headers: whatever stands in them, an answer or a typed error. Mutations are made of the content, under
// a checksum and a compression that are right, else nothing would get past them.
// FUZZ_RUNS=1000000 FUZZ_SEED=7 runs more, and others.
import { crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  decodePage,
  framesAt,
  headerPrefixBytes,
  mergeRanges,
  openSymbolTable,
  SymbolsError,
  writeSymbolTable,
} from '../src/index.ts';
import { randomOf } from './random.ts';
import { tableOf, testRanges } from './tables.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 6_000);
const seed = Number(process.env.FUZZ_SEED ?? 1);
const random = randomOf(seed);

const written = fc
  .sample(testRanges, { numRuns: 40, seed: 3 })
  .map((ranges) => writeSymbolTable(mergeRanges([tableOf('dwarf', 0n, ranges)])))
  .filter(({ pages }) => pages.length > 0);

/** One to four bytes changed, one in eight cut. */
function mutantOf(content: Uint8Array): Buffer {
  const mutant = Buffer.from(content);
  for (let change = random(4); change >= 0; change--) {
    const at = random(mutant.length);
    const near = (mutant[at] as number) + random(9) - 4;
    mutant[at] = [0, 1, 0x7f, 0x80, 0xff, near, random(256), near][random(8)] as number;
  }
  return random(8) === 0 ? mutant.subarray(0, random(mutant.length)) : mutant;
}

function outcomeOf(read: () => void): string {
  try {
    read();
    return 'read';
  } catch (error) {
    if (error instanceof SymbolsError) return error.code;
    throw error;
  }
}

function countOutcomes(outcome: () => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    const code = outcome();
    counts.set(code, 1 + (counts.get(code) ?? 0));
  }
  return counts;
}

const forever = { timeout: 3_600_000 };

it(`${runs} mutated pages: frames or a typed error`, forever, () => {
  const counts = countOutcomes(() => {
    const { header, pages } = written[random(written.length)]!;
    const table = openSymbolTable(header);
    const stored = zstdCompressSync(mutantOf(zstdDecompressSync(pages[0] as Buffer)));
    return outcomeOf(() => {
      const page = decodePage({ ...table, pageChecksums: Uint32Array.of(crc32(stored)) }, 0, stored);
      for (const start of page.starts) framesAt(table, page, start);
    });
  });
  // Both sides are reached, and nothing else.
  expect([...counts.keys()].sort()).toEqual(['malformed', 'read', 'truncated']);
});

it(`${runs} mutated headers: a table or a typed error`, forever, () => {
  const counts = countOutcomes(() => {
    const { header } = written[random(written.length)]!;
    const content = mutantOf(zstdDecompressSync(header.subarray(headerPrefixBytes)));
    const stored = zstdCompressSync(content);
    const prefix = Buffer.from(header.subarray(0, headerPrefixBytes));
    prefix.writeUInt32LE(headerPrefixBytes + stored.length, 8);
    prefix.writeUInt32LE(crc32(stored), 12);
    return outcomeOf(() => openSymbolTable(Buffer.concat([prefix, stored])));
  });
  expect([...counts.keys()].sort()).toEqual(['malformed', 'read', 'truncated']);
});

it(`${runs} arbitrary bytes: never a page or a header`, forever, () => {
  const table = openSymbolTable(written[0]!.header);
  const counts = countOutcomes(() => {
    const bytes = Buffer.from(Array.from({ length: random(64) }, () => random(256)));
    const page = outcomeOf(() => decodePage(table, 0, bytes));
    return `${page}, ${outcomeOf(() => openSymbolTable(bytes))}`;
  });
  expect([...counts.keys()].filter((outcome) => outcome.includes('read'))).toEqual([]);
});
