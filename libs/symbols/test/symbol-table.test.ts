// The stored form: what is written is what is read, whatever the ranges; what is not as it was written is noticed.
import { createHash } from 'node:crypto';
import { constants, crc32, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodePage,
  framesAt,
  headerLengthOf,
  headerPrefixBytes,
  mergeRanges,
  openSymbolTable,
  pageContentBytesMax,
  pageExtent,
  pageOf,
  pageRangesMax,
  relativeAddressMax,
  relativeTo,
  SymbolsError,
  stringBytesMax,
  writeSymbolTable,
  writeSymbolTableThreaded,
} from '../src/index.ts';
import { reader } from './symbolizer.ts';
import { boundariesOf, framesIn, type TestFrame, type TestRange, tableOf, testRanges } from './tables.ts';

const plain = (name: string): TestFrame => ({ name, startLine: 0, file: 'a.c', line: 1, column: 0 });
const shown = ({ name, startLine, file, line, column }: TestFrame) => {
  return { function: name ?? '', rawName: name ?? '', file: file ?? '', line, column, startLine };
};

function write(ranges: readonly TestRange[], imageBase = 0n) {
  return writeSymbolTable(mergeRanges([tableOf('dwarf', imageBase, ranges)]));
}

/** `count` functions side by side, then the end. */
function manyFunctions(count: number): TestRange[] {
  const ranges = Array.from({ length: count }, (_, index) => ({
    start: index,
    frames: [plain(`f${index}`)],
  }));
  return [...ranges, { start: count, frames: [] }];
}

describe('in another thread', () => {
  // The last takes several messages to the thread.
  it.each([0, 1, pageRangesMax + 1, 100_000])(
    'pages become the same table, with %i functions',
    async (count) => {
      const ranges = mergeRanges([tableOf('dwarf', 0n, manyFunctions(count))]);
      expect(await writeSymbolTableThreaded(ranges)).toEqual(writeSymbolTable(ranges));
    },
  );

  it('fails as it does in this one', async () => {
    const ranges = mergeRanges([tableOf('dwarf', 0n, manyFunctions(2))]);
    const backwards = { ...ranges, starts: ranges.starts.toReversed() };
    await expect(writeSymbolTableThreaded(backwards)).rejects.toMatchObject({ code: 'malformed' });
  });
});

describe('round trip', () => {
  it('answers as the ranges do, at every boundary and beside it', () => {
    fc.assert(
      fc.property(testRanges, (ranges) => {
        const table = tableOf('dwarf', 0n, ranges);
        const lookup = reader(write(ranges));
        for (const address of boundariesOf([table])) {
          expect(lookup(address).frames).toEqual(framesIn(table, address).map(shown));
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each([0, 1, pageRangesMax - 1, pageRangesMax, pageRangesMax + 1, 3 * pageRangesMax])(
    'with %i functions',
    (count) => {
      const written = write(count === 0 ? [] : manyFunctions(count));
      const table = openSymbolTable(written.header);
      const lookup = reader(written);
      // The end is a range too.
      expect(table.pageCount).toBe(count === 0 ? 0 : Math.ceil((count + 1) / pageRangesMax));
      expect([table.functions, table.ranges]).toEqual([count, count]);
      for (let index = 0; index < count; index++) expect(lookup(index).frames[0]?.rawName).toBe(`f${index}`);
      expect(lookup(count).frames).toEqual([]);
      expect(lookup(-1).frames).toEqual([]);
    },
  );

  it('shares strings that many pages have, and counts them once', () => {
    const shared = (name: string): TestFrame => ({ ...plain(name), file: '/a/long/path/that/pages/share.c' });
    const ranges = manyFunctions(10 * pageRangesMax).map(({ start, frames }) => {
      return { start, frames: frames.length === 0 ? [] : [shared(`f${start % 700}`), shared('caller')] };
    });
    const written = write(ranges);
    const table = openSymbolTable(written.header);
    const shareds = Array.from({ length: table.sharedStrings.length }, (_, index) =>
      table.sharedStrings.at(index),
    );
    expect(shareds).toContain('/a/long/path/that/pages/share.c');
    expect(shareds).toContain('caller');
    expect(table.sharedStrings.at(shareds.length)).toBeUndefined();
    const frames = reader(written)(5_000).frames;
    expect(frames.map(({ rawName }) => rawName)).toEqual([`f${5_000 % 700}`, 'caller']);
  });

  it('says which sources it has, the best of them, and which each frame is from', () => {
    const dwarf = tableOf('dwarf', 0n, [
      { start: 0, frames: [plain('a')] },
      { start: 4, frames: [] },
    ]);
    const symtab = tableOf('symtab', 0n, [
      { start: 0, frames: [plain('a')] },
      { start: 8, frames: [] },
    ]);
    const hidden = tableOf('dynsym', 0n, [
      { start: 1, frames: [plain('a')] },
      { start: 2, frames: [] },
    ]);
    const written = writeSymbolTable(mergeRanges([hidden, symtab, dwarf]));
    const table = openSymbolTable(written.header);
    expect(table.quality).toBe('dwarf');
    expect(table.sources).toEqual([
      { source: 'dwarf', ranges: 1 },
      { source: 'symtab', ranges: 1 },
    ]);
    const lookup = reader(written);
    expect([0, 4, 8].map((address) => lookup(address).source)).toEqual(['dwarf', 'symtab', 'none']);
  });

  it('keeps an empty table', () => {
    const table = openSymbolTable(write([]).header);
    expect([table.quality, table.pageCount, pageOf(table, 0)]).toEqual(['none', 0, -1]);
  });
});

describe('addresses', () => {
  it('case 19: at and above 2^63, from a base there', () => {
    const imageBase = 0xffff_ffff_8000_0000n;
    const written = write(manyFunctions(3), imageBase);
    const table = openSymbolTable(written.header);
    expect(table.imageBase).toBe(imageBase);
    expect(reader(written)(relativeTo(table.imageBase, imageBase + 2n)).frames[0]?.rawName).toBe('f2');
  });

  it('case 19: far above the base, as in a kernel with per-CPU data at 0', () => {
    const start = relativeTo(0n, 0xffff_ffff_8100_0000n);
    expect(start).toBe(-0x7f00_0000);
    const written = write([
      { start, frames: [plain('startup_64')] },
      { start: start + 16, frames: [] },
      { start: 0, frames: [plain('percpu')] },
      { start: 8, frames: [] },
    ]);
    const lookup = reader(written);
    expect(lookup(relativeTo(0n, 0xffff_ffff_8100_000fn)).frames[0]?.rawName).toBe('startup_64');
    expect(lookup(relativeTo(0n, 0xffff_ffff_8100_0010n)).frames).toEqual([]);
    expect(lookup(7).frames[0]?.rawName).toBe('percpu');
    for (const address of [0xffff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn]) {
      expect(lookup(relativeTo(0n, address)).frames).toEqual([]);
    }
  });

  it('refuses ranges that a double would round, and ranges that do not ascend', () => {
    const table = tableOf('dwarf', 0n, [{ start: 2 ** 52 + 2, frames: [] }]);
    expect(() => writeSymbolTable(mergeRanges([{ ...table, location: Int32Array.of(-1) }]))).not.toThrow();
    const ranges = { ...mergeRanges([]), sources: [], location: Int32Array.of(-1, -1) };
    const at =
      (...starts: number[]) =>
      () =>
        writeSymbolTable({ ...ranges, starts: Float64Array.of(...starts) });
    expect(at(0, relativeAddressMax)).not.toThrow();
    expect(at(0, relativeAddressMax + 1)).toThrow(expect.objectContaining({ code: 'limit' }));
    expect(at(0, Number.NaN)).toThrow(expect.objectContaining({ code: 'limit' }));
    expect(at(4, 4)).toThrow(expect.objectContaining({ code: 'malformed' }));
  });
});

describe('limits', () => {
  it('cuts over-long strings between characters', () => {
    const name = `${'x'.repeat(stringBytesMax - 1)}é and more`;
    const [frame] = reader(
      write([
        { start: 0, frames: [plain(name)] },
        { start: 1, frames: [] },
      ]),
    )(0).frames;
    expect(frame?.rawName).toBe('x'.repeat(stringBytesMax - 1));
  });

  it('ends a page early when its content grows too long', () => {
    const ranges = manyFunctions(100).map(({ start, frames }) => {
      return { start, frames: frames.map((frame) => ({ ...frame, name: `${start}-${'y'.repeat(30_000)}` })) };
    });
    const written = write(ranges);
    const table = openSymbolTable(written.header);
    expect(table.pageCount).toBeGreaterThan(1);
    const lookup = reader(written);
    for (let index = 0; index < 100; index++)
      expect(lookup(index).frames[0]?.rawName).toMatch(`${index}-yyy`);
  });

  it('holds 10,000 functions inlined into one another', () => {
    const frames = Array.from({ length: 10_000 }, (_, depth) => plain(`inlined_${depth}`));
    const found = reader(
      write([
        { start: 0, frames },
        { start: 1, frames: [] },
      ]),
    )(0).frames;
    expect(found.map(({ rawName }) => rawName)).toEqual(frames.map(({ name }) => name));
  });

  it('reduces frames that no page could hold to the outermost', () => {
    const frames = Array.from({ length: 40 }, (_, depth) => plain(`${depth}-${'z'.repeat(40_000)}`));
    const ranges = [
      { start: 0, frames: [plain('before')] },
      { start: 1, frames },
      { start: 2, frames: [plain('after')] },
      { start: 3, frames: [] },
    ];
    const lookup = reader(write(ranges));
    expect(lookup(1).frames.map(({ rawName }) => rawName.slice(0, 4))).toEqual(['39-z']);
    expect([0, 2].map((at) => lookup(at).frames[0]?.rawName)).toEqual(['before', 'after']);
  });

  it('states at least the memory that pages and headers hold', () => {
    const written = write(manyFunctions(2_000));
    const table = openSymbolTable(written.header);
    const page = decodePage(table, 0, written.pages[0] as Buffer);
    const texts = [...page.names, ...page.files].reduce((sum, { length }) => sum + length, 0);
    const columns = Object.values(page).filter((column) => ArrayBuffer.isView(column));
    const held = columns.reduce((sum, { byteLength }) => sum + byteLength, texts);
    expect(page.weight).toBeGreaterThan(held);
    expect(page.weight).toBeLessThan(10 * held);
    expect(table.weight).toBeGreaterThan(table.pageStarts.byteLength + table.pageOffsets.byteLength);
  });
});

describe('what was not written like this', () => {
  const written = write(manyFunctions(4 * pageRangesMax));
  const table = openSymbolTable(written.header);

  it('a damaged page costs that page only', () => {
    const pages = written.pages.map((page) => Buffer.from(page));
    pages[2]![20]! ^= 1;
    const lookup = reader({ ...written, pages });
    expect(() => lookup(2 * pageRangesMax)).toThrow(expect.objectContaining({ code: 'corrupt' }));
    for (const page of [0, 1, 3]) expect(lookup(page * pageRangesMax + 9).frames).toHaveLength(1);
  });

  it('a page of another place, or of another table, is refused', () => {
    const swapped = () => decodePage(table, 1, written.pages[2] as Buffer);
    expect(swapped).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });

  it('a header in every way damaged is refused', () => {
    for (let at = 0; at < written.header.length; at++) {
      const damaged = Buffer.from(written.header);
      damaged[at]! ^= 0x20;
      expect(() => openSymbolTable(damaged)).toThrow(SymbolsError);
      expect(() => openSymbolTable(written.header.subarray(0, at))).toThrow(SymbolsError);
    }
  });

  it('a later version is unsupported, other files are malformed', () => {
    const later = Buffer.from(written.header);
    later[4] = 2;
    expect(() => openSymbolTable(later)).toThrow(expect.objectContaining({ code: 'unsupported' }));
    expect(() => openSymbolTable(Buffer.from('\x7fELF and so on, far too long'))).toThrow(
      expect.objectContaining({ code: 'malformed' }),
    );
  });

  it('a page that inflates to more than a page may is refused before it does', () => {
    const bomb = zstdCompressSync(Buffer.alloc(64 * pageContentBytesMax));
    expect(bomb.length).toBeLessThan(20_000);
    expect(() => decodePage(withPage(bomb), 0, bomb)).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  it('a page that asks for a huge window is refused', () => {
    const params = { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_contentSizeFlag]: 0 };
    const greedy = zstdCompressSync(Buffer.alloc(1_000_000), { params });
    expect(() => decodePage(withPage(greedy), 0, greedy)).toThrow(
      expect.objectContaining({ code: 'malformed' }),
    );
  });

  /** The table with a checksum that lets these bytes through. */
  function withPage(bytes: Buffer) {
    return { ...table, pageChecksums: Uint32Array.of(checksumOf(bytes)) };
  }
});

describe('digest', () => {
  it('is of all bytes, equal for equal content in any order of interning, and of nothing else', () => {
    const ranges = manyFunctions(700);
    const [first, again] = [write(ranges), write(ranges)];
    expect(again.digest).toBe(first.digest);
    const bytes = Buffer.concat([first.header, ...first.pages]);
    expect(digestOf(bytes)).toBe(first.digest);
    // The same ranges next to others that nobody sees: other indexes, the same content.
    const hidden = tableOf(
      'dynsym',
      0n,
      ranges.map(({ start, frames }) => {
        return { start, frames: frames.length === 0 ? [] : [plain(`hidden${start}`)] };
      }),
    );
    const merged = writeSymbolTable(mergeRanges([hidden, tableOf('dwarf', 0n, ranges)]));
    expect(merged.digest).not.toBe(first.digest); // dynsym names the outermost frames
    const other = write(
      ranges.map((range, at) => (at === 3 ? { ...range, frames: [plain('other')] } : range)),
    );
    expect(other.digest).not.toBe(first.digest);
  });
});

describe('the file form', () => {
  const written = write(manyFunctions(4 * pageRangesMax), 0x40_0000n);
  const file = Buffer.concat([written.header, ...written.pages]);

  it('needs two ranged reads: the header, whose first bytes say how long it is, and one page', () => {
    const length = headerLengthOf(file.subarray(0, headerPrefixBytes));
    expect(length).toBe(written.header.length);
    const table = openSymbolTable(file.subarray(0, length));
    const page = pageOf(table, 1_000);
    const { offset, length: pageBytes } = pageExtent(table, page);
    const decoded = decodePage(table, page, file.subarray(offset, offset + pageBytes));
    expect(framesAt(table, decoded, 1_000).frames[0]?.rawName).toBe('f1000');
    expect(pageExtent(table, table.pageCount - 1)).toEqual({
      offset: file.length - (written.pages.at(-1) as Buffer).length,
      length: (written.pages.at(-1) as Buffer).length,
    });
  });
});

function checksumOf(bytes: Uint8Array): number {
  return crc32(bytes);
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
