import { describe, expect, it } from 'vitest';
import { debugSectionsOf, extract, extractDwarf, extractSymbols, mergeRanges } from '../src/index.ts';
import { answerer, expectEveryByte, fixtureImage, readExpected, splitFixture } from './dwarf-fixtures.ts';
import { symbolizer } from './symbolizer.ts';

function expectAsLlvm(name: string): void {
  const image = fixtureImage(name);
  // A file without DWARF has answers too.
  expect(extractDwarf(debugSectionsOf(image)).stats).toMatchObject({ damagedUnits: 0, damagedEntries: 0 });
  expect(extractDwarf(debugSectionsOf(image)).stats.units).toBeGreaterThan(0);
  expectEveryByte(answerer(image), readExpected(`${name}.expected`));
}

describe('compilers, as llvm-symbolizer reads them', () => {
  it.each(['gcc2', 'gcc3', 'gcc4', 'gcc5', 'gcc-o0', 'clang4', 'clang5'])('%s', (name) => {
    expectAsLlvm(name);
  });

  it.each(['gcc-lto', 'clang-lto'])('link-time optimization: %s', (name) => {
    expectAsLlvm(name);
  });

  it('finds no damage in them', () => {
    const { damage, dwarf } = extract(fixtureImage('gcc5'));
    expect(damage).toEqual([]);
    expect(dwarf).toMatchObject({ units: 2, damagedUnits: 0, damagedEntries: 0, splitMissing: 0 });
  });
});

describe('addresses', () => {
  it('case 2: between functions there is what lines say, or nothing', () => {
    expectAsLlvm('sections');
  });

  it('case 4: of two units that claim one function the first holds', () => {
    expectAsLlvm('copies');
  });

  it('case 3 and 4: identical code folded', () => {
    expectAsLlvm('clang-icf');
  });

  it('case 3 and 4: identical code folded inside a unit, each copy with its inlined calls', () => {
    expectAsLlvm('gcc-folded');
  });

  it('case 5: dead code at 0, 1, -1, -2 and outside all code', () => {
    expectAsLlvm('tombstones');
  });

  it('case 6: high_pc as an address and as every form of constant', () => {
    // llvm-symbolizer reads no high_pc in sdata.
    expectEveryByte(answerer(fixtureImage('constants')), readExpected('constants.expected'), {
      'by_sdata :0': '',
    });
  });

  it('case 7: .debug_ranges with base selection', () => {
    expectAsLlvm('ranges');
  });

  it('case 7: all kinds of rnglists, rnglistx and addrx; loclists untouched', () => {
    expectAsLlvm('rnglists');
  });

  it.each(['high', 'higher'])('case 19: addresses above 2^63: %s', (name) => {
    expect(fixtureImage(name).base).toBeGreaterThan(2n ** 63n);
    expectAsLlvm(name);
  });

  it('case 19: above 2^63 and far from the lowest address, which is that of per-CPU data', () => {
    expect(fixtureImage('kernel').base).toBe(0n);
    expectAsLlvm('kernel');
  });

  it('case 19: symbols there, without DWARF', () => {
    const image = fixtureImage('kernel');
    const lookup = symbolizer(mergeRanges([extractSymbols(image, 'symtab')!]));
    // The outermost frame has the symbol's name; padding has a line and no name.
    const names = readExpected('kernel.expected').map(({ start, answer }) => {
      return { start, name: answer.split(' < ').at(-1)!.split(' ')[0] };
    });
    expect(new Set(names.map(({ name }) => name)).size).toBeGreaterThan(5);
    for (const { start, name } of names) expect(lookup(start)[0]?.rawName ?? '').toBe(name);
  });
});

describe('units', () => {
  it('case 8: partial units of dwz in the file', () => {
    expectAsLlvm('dwz');
  });

  it('case 8: partial units of dwz in another file', () => {
    const alternate = fixtureImage('alt-shared.dwz');
    const answer = answerer(fixtureImage('alt-one'), { alternate });
    expectEveryByte(answer, readExpected('alt-one.expected'));
  });

  it('case 8: without the other file frames are kept, names are lost, and that is flagged', () => {
    const image = fixtureImage('alt-one');
    expectEveryByte(answerer(image), readExpected('alt-one.missing'));
    expect(extractDwarf(debugSectionsOf(image)).stats.alternateMissing).toBeGreaterThan(0);
  });

  it.each(['gcc-types4', 'gcc-types5', 'clang-types5'])('case 9: type units: %s', (name) => {
    expectAsLlvm(name);
  });

  it('case 27: no linkage names', () => {
    expectAsLlvm('plain');
  });

  it.each(['zlib', 'zstd'])('case 28: compressed sections: %s', (name) => {
    expectAsLlvm(name);
  });

  it('case 28: compressed sections of old', () => {
    // llvm-symbolizer 19 reads them no more.
    expectEveryByte(answerer(fixtureImage('zdebug')), readExpected('gcc5.expected'));
  });

  it('case 29: 64-bit DWARF', () => {
    expectAsLlvm('gcc-dwarf64');
  });

  it('case 29: versions 2, 5 and 64-bit 4 in one file, and a unit with lines only', () => {
    expectAsLlvm('mixed');
  });
});

describe.each(['split-gcc4', 'split-gcc5', 'split-clang4', 'split-clang5'])('case 10: %s', (name) => {
  const image = fixtureImage(name);

  it('with its .dwo files', () => {
    expectEveryByte(answerer(image, { split: splitFixture }), readExpected(`${name}.expected`));
  });

  it('without them, as far as the skeletons go', () => {
    expectEveryByte(answerer(image), readExpected(`${name}.skeletons`));
    expect(extractDwarf(debugSectionsOf(image)).stats.splitMissing).toBe(2);
  });

  it('with files of other units: as without them', () => {
    const swapped = { 'one.dwo': 'two.dwo', 'two.dwo': 'one.dwo' };
    const answer = answerer(image, {
      split: (unit) =>
        splitFixture({
          ...unit,
          name: unit.name.replace(/(one|two)\.dwo$/, (end) => swapped[end as keyof typeof swapped]),
        }),
    });
    expectEveryByte(answer, readExpected(`${name}.skeletons`));
  });
});

// llvm-dwp 19 never ends on what gcc 12 splits as version 5.
it.each(['split-gcc4', 'split-clang4', 'split-clang5'])('case 10: %s with its .dwp file', (name) => {
  const answer = answerer(fixtureImage(name), { package: fixtureImage(`${name}.dwp`) });
  expectEveryByte(answer, readExpected(`${name}.expected`));
});

describe('line programs', () => {
  it('case 11: instruction lengths, VLIW, unknown opcodes, discriminators, line 0, no end, disorder', () => {
    const answer = answerer(fixtureImage('lines'));
    // llvm-symbolizer searches rows that are out of order as if they were not.
    expectEveryByte(answer, readExpected('lines.expected'), {
      'backwards backwards.c:81': 'backwards backwards.c:82',
      // It drops a sequence that has no end.
      'no_end no_end.c:90': 'no_end :0',
    });
  });
});

describe('nesting', () => {
  it('case 14: 10,000 subroutines inlined into each other', () => {
    expectEveryByte(answerer(fixtureImage('deep')), readExpected('deep.expected.gz'));
  });
});

describe('machines', () => {
  it.each(['plain32', 'cross-powerpc', 'cross-s390x', 'cross-mips', 'cross-aarch64', 'cross-riscv64'])(
    'case 16: 32-bit and big-endian: %s',
    (name) => {
      expectAsLlvm(name);
    },
  );

  it('case 17: a relocatable file', () => {
    expect(fixtureImage('relocatable.o').header.type).toBe('rel');
    expectAsLlvm('relocatable.o');
  });

  it('case 17: a section per function, as a linker places them in the same order', () => {
    const image = fixtureImage('relocatable-sections.o');
    expect(image.executableRanges().length).toBeGreaterThan(10);
    expectAsLlvm('relocatable-sections.o');
  });

  it('case 18: an executable that kept its relocations', () => {
    expectAsLlvm('emit-relocs');
  });
});

describe('case 12: references', () => {
  it('that form cycles or lead nowhere cost names, not frames', () => {
    // llvm-symbolizer gives up on all of a unit that is broken at its end.
    expectEveryByte(answerer(fixtureImage('cycles')), readExpected('cycles.expected'), {
      'before_the_break :0': '',
    });
    const { stats } = extractDwarf(debugSectionsOf(fixtureImage('cycles')));
    expect(stats).toMatchObject({ damagedUnits: 1, damage: [{ code: 'malformed' }] });
  });
});
