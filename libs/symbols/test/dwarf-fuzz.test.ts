// Hostile DWARF: whatever stands in it, a table that holds together or a typed error, within a budget of
// memory and steps. FUZZ_RUNS=1000000 FUZZ_SEED=7 runs more, and others.
import { describe, expect, it } from 'vitest';
import type { DebugSections } from '../src/dwarf/debug-sections.ts';
import { debugSectionsOf, extractDwarf, none, type RangeTable, SymbolsError } from '../src/index.ts';
import { fixtureImage } from './dwarf-fixtures.ts';
import { type Contents, contentsOf, mutate, type Random, sectionsWith } from './dwarf-mutations.ts';
import { randomOf } from './random.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 2_000);
const firstSeed = Number(process.env.FUZZ_SEED ?? 1);
const forever = { timeout: 24 * 3_600_000 };
/** Far more than any fixture needs: 3 MB at most. */
const bytesMax = 64 * 1024 * 1024;

/** Seeds that once broke something. */
const keptSeeds: readonly number[] = [228412];

interface Subject {
  readonly sections: DebugSections;
  readonly contents: Contents;
  readonly companion: 'alternate' | 'package' | undefined;
  readonly companionSections: DebugSections | undefined;
  readonly companionContents: Contents;
}

function subjectOf(name: string, companion?: Subject['companion'], companionName = ''): Subject {
  const image = fixtureImage(name);
  const other = companion && fixtureImage(companionName);
  return {
    sections: debugSectionsOf(image),
    contents: contentsOf(image),
    companion,
    companionSections: other && debugSectionsOf(other),
    companionContents: other ? contentsOf(other) : new Map(),
  };
}

const subjects = [
  ...['gcc2', 'gcc4', 'gcc5', 'gcc-lto', 'gcc-types4', 'gcc-dwarf64', 'clang4', 'clang5', 'clang-types5'],
  ...['mixed', 'plain32', 'dwz', 'cross-s390x', 'cross-mips', 'high', 'lines', 'ranges', 'rnglists'],
  ...['constants', 'cycles', 'copies', 'tombstones', 'gcc-o0', 'sections'],
]
  .map((name) => subjectOf(name))
  .concat(
    subjectOf('alt-one', 'alternate', 'alt-shared.dwz'),
    subjectOf('split-clang5', 'package', 'split-clang5.dwp'),
    subjectOf('split-clang4', 'package', 'split-clang4.dwp'),
  );

function mutantOf(subject: Subject, random: Random): DebugSections {
  const { companion, companionSections } = subject;
  const sections = sectionsWith(subject.sections, mutate(subject.contents, random));
  if (companion === undefined || companionSections === undefined) return sections;
  const contents = random(2) === 0 ? subject.companionContents : mutate(subject.companionContents, random);
  return { ...sections, [companion]: sectionsWith(companionSections, contents) };
}

function expectSound(table: RangeTable): void {
  const { starts, location, locations, functions, files } = table;
  expect(location.length).toBe(starts.length);
  for (let at = 0; at < starts.length; at++) {
    if (at > 0 && !(starts[at]! > starts[at - 1]!)) throw new Error(`start ${at} does not ascend`);
    if (!(location[at]! >= none && location[at]! < locations.line.length)) throw new Error(`range ${at}`);
  }
  if (starts.length > 0) expect(location.at(-1)).toBe(none);
  for (let at = 0; at < locations.line.length; at++) {
    const { function: func, file, parent } = locations;
    const isSound = func[at]! < functions.name.length && file[at]! < files.length && parent[at]! < at;
    if (!isSound) throw new Error(`location ${at}`);
  }
  expect(functions.startLine.length).toBe(functions.name.length);
}

function extractMutant(seed: number): string {
  const random = randomOf(seed);
  const sections = mutantOf(subjects[random(subjects.length)]!, random);
  try {
    const { table, stats } = extractDwarf(sections, { bytesMax });
    expectSound(table);
    return stats.damagedUnits > 0 ? 'damaged' : 'read';
  } catch (error) {
    if (error instanceof SymbolsError) return error.code;
    throw new Error(`seed ${seed}`, { cause: error });
  }
}

describe('fuzzing', () => {
  it.each(keptSeeds)('kept seed %i', (seed) => {
    extractMutant(seed);
  });

  it(`${runs} mutants: a sound table or a typed error`, forever, () => {
    const counts = new Map<string, number>();
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const outcome = extractMutant(seed);
      counts.set(outcome, 1 + (counts.get(outcome) ?? 0));
    }
    // Mutations that reach deep leave most units readable, and break many.
    expect([...counts.keys()]).toEqual(expect.arrayContaining(['read', 'damaged']));
  });
});

describe('case 12: broken files', () => {
  const { sections, contents } = subjectOf('gcc5');

  it.each([...contents.keys()])('truncated at up to 1,000 points: %s', (name) => {
    const bytes = contents.get(name)!;
    const step = Math.max(1, Math.ceil(bytes.length / 1_000));
    for (let length = 0; length < bytes.length; length += step) {
      const cut = new Map(contents).set(name, bytes.subarray(0, length));
      expectSound(extractDwarf(sectionsWith(sections, cut), { bytesMax }).table);
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
        expectSound(
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
