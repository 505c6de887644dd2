// Tables made of tables: at each address what the first of them has that knows something of it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodePage,
  fillRanges,
  mergeRanges,
  openSymbolTable,
  rangesOf,
  type Source,
  type SymbolRanges,
  writeSymbolTable,
} from '../src/index.ts';
import { boundariesOf, framesIn, tableOf, testRanges } from './tables.ts';

const part = fc
  .array(fc.tuple(fc.constantFrom<Source>('dwarf', 'gopclntab'), testRanges), {
    maxLength: 3,
  })
  .map((made) => mergeRanges(made.map(([source, ranges]) => tableOf(source, 0n, ranges))));

function readBack(ranges: SymbolRanges): SymbolRanges {
  const { header, pages } = writeSymbolTable(ranges);
  const table = openSymbolTable(header);
  return rangesOf(
    table,
    pages.map((page, index) => decodePage(table, index, page)),
  );
}

describe('rangesOf', () => {
  it('gives back what a table says, again and again the same', () => {
    fc.assert(
      fc.property(part, (ranges) => {
        const once = readBack(ranges);
        for (const address of boundariesOf([ranges]))
          expect(framesIn(once, address)).toEqual(framesIn(ranges, address));
        // From the first time on: a function that two sources named is one in the table.
        expect(writeSymbolTable(readBack(once)).digest).toBe(writeSymbolTable(once).digest);
      }),
    );
  });
});

describe('fillRanges', () => {
  it('has at each address what the first has that knows something of it', () => {
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const filled = fillRanges(parts);
        for (const address of boundariesOf(parts)) {
          const first = parts.map((one) => framesIn(one, address)).find(({ length }) => length > 0);
          expect(framesIn(filled, address)).toEqual(first ?? []);
        }
      }),
    );
  });

  it('adds nothing when what comes later says the same', () => {
    fc.assert(
      fc.property(part, (ranges) => {
        expect(writeSymbolTable(fillRanges([ranges, ranges])).digest).toBe(writeSymbolTable(ranges).digest);
      }),
    );
  });

  it('refuses tables of different images', () => {
    const other = { ...mergeRanges([tableOf('symtab', 4096n, [])]), imageBase: 4096n };
    expect(() => fillRanges([mergeRanges([tableOf('symtab', 0n, [])]), other])).toThrow(RangeError);
  });
});
