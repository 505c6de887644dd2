// Sources merged: at each address the best that knows something; and llvm's rule for the name of the outermost frame.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeRanges, type RangeTable, type Source, writeSymbolTable } from '../src/index.ts';
import { reader } from './symbolizer.ts';
import { boundariesOf, framesIn, type TestFrame, tableOf, testRanges } from './tables.ts';

const sources: readonly Source[] = ['dwarf', 'gopclntab', 'symtab', 'dynsym'];
const named = (name: string, more: Partial<TestFrame> = {}): TestFrame => {
  return { name, startLine: 0, file: undefined, line: 0, column: 0, ...more };
};

const tables = (from: readonly Source[]) =>
  fc.array(fc.tuple(fc.constantFrom(...from), testRanges), { maxLength: 4 }).map((made) => {
    return made.map(([source, ranges]) => tableOf(source, 0n, ranges));
  });

function rank({ source }: RangeTable): number {
  return sources.indexOf(source);
}

/** What the rules say, without any of the code that is tested. */
function expectedAt(given: readonly RangeTable[], address: number): TestFrame[] {
  const sorted = given.toSorted((a, b) => rank(a) - rank(b));
  const best = sorted.find((table) => framesIn(table, address).length > 0);
  if (best === undefined) return [];
  const frames = framesIn(best, address);
  const symbols = sorted.filter(({ source }) => source === 'symtab' || source === 'dynsym');
  const symbol = symbols
    .map((table) => framesIn(table, address))
    .find(({ length }) => length > 0)
    ?.at(0);
  if (best.source !== 'dwarf' || symbol?.name === undefined) return frames;
  const outermost = frames.at(-1)!;
  return [...frames.slice(0, -1), { ...outermost, name: symbol.name, file: outermost.file ?? symbol.file }];
}

describe('coverage', () => {
  it('has at each address what the best source has there, and the union of all', () => {
    fc.assert(
      fc.property(tables(['dwarf', 'gopclntab']), (given) => {
        const merged = mergeRanges(given);
        for (const address of boundariesOf(given)) {
          expect(framesIn(merged, address)).toEqual(expectedAt(given, address));
        }
      }),
    );
  });

  it('does not depend on the order of different sources, nor on saying a thing twice', () => {
    fc.assert(
      fc.property(testRanges, testRanges, (a, b) => {
        const [dwarf, go] = [tableOf('dwarf', 0n, a), tableOf('gopclntab', 0n, b)];
        const digest = (given: RangeTable[]) => writeSymbolTable(mergeRanges(given)).digest;
        expect(digest([go, dwarf])).toBe(digest([dwarf, go]));
        expect(digest([dwarf, dwarf, go, go])).toBe(digest([dwarf, go]));
      }),
    );
  });

  it('says of each range which source it is from', () => {
    const table = (source: Source, start: number, end: number) =>
      tableOf(source, 0n, [
        { start, frames: [named(source)] },
        { start: end, frames: [] },
      ]);
    const lookup = reader(
      writeSymbolTable(
        mergeRanges([
          table('dynsym', 0, 40),
          table('symtab', 0, 30),
          table('gopclntab', 10, 20),
          table('dwarf', 12, 14),
        ]),
      ),
    );
    const found = [0, 9, 10, 11, 12, 13, 14, 19, 20, 29, 30, 39, 40].map((address) => lookup(address).source);
    const [go, symtab] = [
      ['gopclntab', 'gopclntab'],
      ['symtab', 'symtab'],
    ];
    expect(found).toEqual([...symtab, ...go, 'dwarf', 'dwarf', ...go, ...symtab, 'dynsym', 'dynsym', 'none']);
  });

  it('refuses tables that count from different places', () => {
    expect(() => mergeRanges([tableOf('dwarf', 0n, []), tableOf('symtab', 1n, [])])).toThrow(RangeError);
  });
});

describe('the name of the outermost frame', () => {
  // Every symbol of a real table has a name, and no line.
  const symbols = testRanges.map((ranges) =>
    ranges.map(({ start, frames }) => {
      const [first] = frames;
      return { start, frames: first === undefined ? [] : [named(first.name ?? 'f', { file: first.file })] };
    }),
  );

  it('is that of the symbol that covers the address, wherever DWARF has frames', () => {
    fc.assert(
      fc.property(testRanges, symbols, symbols, (a, b, c) => {
        const given = [tableOf('dwarf', 0n, a), tableOf('symtab', 0n, b), tableOf('dynsym', 0n, c)];
        const merged = mergeRanges(given);
        for (const address of boundariesOf(given)) {
          expect(framesIn(merged, address)).toEqual(expectedAt(given, address));
        }
      }),
    );
  });

  const chain = [
    named('inlined', { file: 'a.h', line: 7 }),
    named('outer', { file: 'a.c', line: 30, startLine: 20 }),
  ];
  const symbol = (name: string, file?: string) =>
    tableOf('symtab', 0n, [
      { start: 4, frames: [named(name, { file })] },
      { start: 8, frames: [] },
    ]);
  const dwarf = (frames: TestFrame[]) =>
    tableOf('dwarf', 0n, [
      { start: 0, frames },
      { start: 12, frames: [] },
    ]);
  const mergedAt = (frames: TestFrame[], table: RangeTable) => {
    const merged = mergeRanges([dwarf(frames), table]);
    return (address: number) => framesIn(merged, address);
  };

  it('keeps inlined frames, lines and the declaration, and holds for the symbol only', () => {
    const at = mergedAt(chain, symbol('outer.isra.0', 'b.c'));
    expect(at(3)).toEqual(chain);
    expect(at(4)).toEqual([chain[0], { ...chain[1], name: 'outer.isra.0' }]);
    expect(at(8)).toEqual(chain);
  });

  it('fills the gap where DWARF has only a line, or no name', () => {
    const lineOnly = { ...named(''), name: undefined, file: 'start.S', line: 4 };
    expect(mergedAt([lineOnly], symbol('_start'))(5)).toEqual([
      named('_start', { file: 'start.S', line: 4 }),
    ]);
    expect(mergedAt([named('', { line: 4 })], symbol('main'))(5)).toEqual([named('main', { line: 4 })]);
  });

  it("takes the symbol's file where DWARF has none", () => {
    expect(mergedAt([named('f')], symbol('f', 'crtstuff.c'))(5)).toEqual([
      named('f', { file: 'crtstuff.c' }),
    ]);
    expect(mergedAt([named('f')], symbol('f', 'crtstuff.c'))(3)).toEqual([named('f')]);
  });

  it("leaves Go's own table as it is", () => {
    const go = tableOf('gopclntab', 0n, [
      { start: 0, frames: [named('runtime.memmove')] },
      { start: 12, frames: [] },
    ]);
    const merged = mergeRanges([go, symbol('runtime.memmove.abi0')]);
    expect(framesIn(merged, 5)).toEqual([named('runtime.memmove')]);
  });
});
