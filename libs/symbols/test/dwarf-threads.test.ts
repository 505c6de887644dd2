// Threads change nothing but the time it takes.
import { openElf } from '@symkeep/elf';
import { describe, expect, it } from 'vitest';
import type { DebugSections } from '../src/dwarf/debug-sections.ts';
import { debugSectionsOf, extractDwarf, extractDwarfThreaded, none, type RangeTable } from '../src/index.ts';
import { fixtureBytes, fixtureImage, splitFixture } from './dwarf-fixtures.ts';

/** Ranges with their frames as text: indexes depend on the order in which threads were done. */
function textOf({ starts, location, locations, functions, files }: RangeTable): string[] {
  return Array.from(starts, (start, at) => {
    const frames: string[] = [];
    for (let frame = location[at]!; frame !== none; frame = locations.parent[frame]!) {
      const { function: func, file, line, column } = locations;
      const name = func[frame] === none ? '' : functions.name[func[frame]!];
      const path = file[frame] === none ? '' : files[file[frame]!];
      frames.push(`${name} ${path}:${line[frame]}:${column[frame]}`);
    }
    return `${start} ${frames.join(' < ')}`;
  });
}

async function expectSame(sections: DebugSections, threads: number): Promise<void> {
  const alone = extractDwarf(sections);
  const together = await extractDwarfThreaded(sections, { threads, threadedBytesMin: 0 });
  expect(textOf(together.table)).toEqual(textOf(alone.table));
  expect(together.stats).toEqual(alone.stats);
}

describe('threads', () => {
  it.each(['gcc5', 'zlib', 'zstd', 'zdebug', 'relocatable.o', 'copies', 'cycles', 'high'])(
    '%s',
    async (name) => {
      await expectSame(debugSectionsOf(fixtureImage(name)), 2);
    },
  );

  it('with a shared file', async () => {
    const sections = debugSectionsOf(fixtureImage('alt-one'), { alternate: fixtureImage('alt-shared.dwz') });
    await expectSame(sections, 2);
  });

  it('with split units', async () => {
    await expectSame(debugSectionsOf(fixtureImage('split-clang5'), { split: splitFixture }), 2);
  });

  it('fail with what is wrong with the section', async () => {
    const bytes = Buffer.from(fixtureBytes('zlib'));
    const { offset, size } = fixtureImage('zlib').section('.debug_info')!;
    bytes.fill(0xff, offset + Math.floor(size / 2), offset + size);
    const image = openElf({ size: bytes.length, read: (at, length) => bytes.subarray(at, at + length) });
    const extraction = extractDwarfThreaded(debugSectionsOf(image), { threads: 2, threadedBytesMin: 0 });
    await expect(extraction).rejects.toMatchObject({ name: 'SymbolsError', code: 'malformed' });
  });

  it('fail where the budget ends', async () => {
    const sections = debugSectionsOf(fixtureImage('deep'));
    const extraction = extractDwarfThreaded(sections, { threads: 2, threadedBytesMin: 0, bytesMax: 300_000 });
    await expect(extraction).rejects.toMatchObject({ name: 'SymbolsError', code: 'limit' });
  });
});
