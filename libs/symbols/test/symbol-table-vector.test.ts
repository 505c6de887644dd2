// The vector of docs/formats.md: a table of three ranges, byte by byte. If this fails, tables that are stored can no
// longer be read or no longer be told apart by digest: that is a new version, not a new vector.
import { zstdDecompressSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { headerPrefixBytes, mergeRanges, openSymbolTable, writeSymbolTable } from '../src/index.ts';
import { reader } from './symbolizer.ts';
import { tableOf } from './tables.ts';

const main = { name: 'main', startLine: 5, file: '/src/a.c', column: 3 };
const square = { name: '_Z6squarei', startLine: 1, file: '/src/a.h', line: 2, column: 10 };

/** `main` at 0x401000, 32 bytes; in bytes 8 to 15, `square` is inlined at line 7. */
const ranges = [
  { start: 0x1000, frames: [{ ...main, line: 6 }] },
  { start: 0x1008, frames: [square, { ...main, line: 7 }] },
  { start: 0x1010, frames: [{ ...main, line: 8 }] },
  { start: 0x1020, frames: [] },
];

const header = Buffer.from(
  '534b5354010000002e0000003ceae2d028b52ffd2015a900000000400000000000020104030180404be38316f900',
  'hex',
);
const page = Buffer.from(
  '28b52ffd204a15020032840e15a0356d80f49bc7b72c7c55f332fadd4a105a4ada2987d15c94728de6a294c7401a00a4812892a3086239bb02db67c5ecbfffb25d2f01d1ff5d0100ca5c18',
  'hex',
);
const headerContent = '0000400000000000020104030180404be38316f900';
const pageContent =
  '0404020200080810010201000000010202000200020002000202020203030a030400000005010000040a08086d61696e5f5a36737175617265692f7372632f612e632f7372632f612e68';
const digest = '7249ea39a972f7bff1303cf95ce1338b2fb24cd451f25efdcc3cb5099d056708';

it('is written as documented', () => {
  const written = writeSymbolTable(mergeRanges([tableOf('dwarf', 0x40_0000n, ranges)]));
  expect(zstdDecompressSync(written.header.subarray(headerPrefixBytes)).toString('hex')).toBe(headerContent);
  expect(zstdDecompressSync(written.pages[0] as Buffer).toString('hex')).toBe(pageContent);
  expect(written.header.toString('hex')).toBe(header.toString('hex'));
  expect(written.pages.map((bytes) => bytes.toString('hex'))).toEqual([page.toString('hex')]);
  expect(written.digest).toBe(digest);
});

it('is read as documented', () => {
  const table = openSymbolTable(header);
  expect(table).toMatchObject({
    imageBase: 0x40_0000n,
    functions: 2,
    ranges: 3,
    quality: 'dwarf',
    pageCount: 1,
  });
  const lookup = reader({ header, pages: [page], digest });
  const namesAt = (address: number) =>
    lookup(address).frames.map(({ rawName, line }) => `${rawName}:${line}`);
  expect([0x1000, 0x1007, 0x1008, 0x100f, 0x1010, 0x101f].map(namesAt)).toEqual([
    ...[['main:6'], ['main:6']],
    ...[
      ['_Z6squarei:2', 'main:7'],
      ['_Z6squarei:2', 'main:7'],
    ],
    ...[['main:8'], ['main:8']],
  ]);
  expect([0xfff, 0x1020].map(namesAt)).toEqual([[], []]);
  expect(lookup(0x1008).frames[0]).toEqual({
    ...{ function: '_Z6squarei', rawName: '_Z6squarei', file: '/src/a.h' },
    ...{ line: 2, column: 10, startLine: 1 },
  });
});
