// Hostile DWARF: a short run of what `npm run fuzz` does for longer, and what is broken in known ways.
import { describe, expect, it } from 'vitest';
import { fuzzSuite } from '../../../tools/fuzz/suite.ts';
import { debugSectionsOf, extractDwarf } from '../src/index.ts';
import { fixtureImage } from './dwarf-fixtures.ts';
import { sectionsWith } from './dwarf-mutations.ts';
import { bytesMax, checkSound, dwarfTargets, subjectOf } from './fuzz-dwarf.ts';

for (const target of dwarfTargets)
  fuzzSuite(target, target.name === 'dwarf' ? 1_500 : 400, ['damaged', 'read']);

describe('case 12: broken files', () => {
  const { sections, contents } = subjectOf('gcc5');

  it.each([...contents.keys()])('truncated at up to 1,000 points: %s', (name) => {
    const bytes = contents.get(name)!;
    const step = Math.max(1, Math.ceil(bytes.length / 1_000));
    for (let length = 0; length < bytes.length; length += step) {
      const cut = new Map(contents).set(name, bytes.subarray(0, length));
      checkSound(extractDwarf(sectionsWith(sections, cut), { bytesMax }).table);
    }
  });

  it('truncation of .debug_info costs the units behind it, and is noted', () => {
    const info = contents.get('.debug_info')!;
    const whole = extractDwarf(sections);
    const cut = new Map(contents).set('.debug_info', info.subarray(0, info.length - 1));
    const { table, stats } = extractDwarf(sectionsWith(sections, cut));
    expect(stats.damage).toMatchObject([{ code: 'truncated' }]);
    expect(stats.units).toBe(whole.stats.units - 1);
    expect(table.starts.length).toBeGreaterThan(0);
  });

  it.each([...contents.keys()])('every bit of 60 bytes flipped: %s', (name) => {
    const bytes = contents.get(name)!;
    const step = Math.max(1, Math.ceil(bytes.length / 60));
    for (let at = 0; at < bytes.length; at += step) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Uint8Array.from(bytes);
        flipped[at] = flipped[at]! ^ (1 << bit);
        checkSound(
          extractDwarf(sectionsWith(sections, new Map(contents).set(name, flipped)), { bytesMax }).table,
        );
      }
    }
  });

  it('over-long LEB128 is malformed', () => {
    const abbrev = new Uint8Array(64).fill(0x80);
    const { stats } = extractDwarf(sectionsWith(sections, new Map(contents).set('.debug_abbrev', abbrev)));
    expect(stats.damage[0]).toMatchObject({ code: 'malformed' });
  });

  it('a budget of memory ends the extraction', () => {
    const deep = fixtureImage('deep');
    expect(() => extractDwarf(debugSectionsOf(deep), { bytesMax: 100_000 })).toThrow(
      expect.objectContaining({ name: 'SymbolsError', code: 'limit' }),
    );
  });
});
