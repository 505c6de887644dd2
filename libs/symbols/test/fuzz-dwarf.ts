// Hostile DWARF: whatever stands in it, a table that holds together or a typed error, within a budget of memory and steps.
import { readFileSync } from 'node:fs';
import { bytesSource, type ElfImage, openElf } from '@symkeep/elf';
import { attempt, type FuzzTarget, outcomeOf } from '../../../tools/fuzz/target.ts';
import { type Random, randomOf } from '../../../tools/random.ts';
import type { DebugSections } from '../src/dwarf/debug-sections.ts';
import { debugSectionsOf, extractDwarf, none, type RangeTable, SymbolsError } from '../src/index.ts';
import {
  type Contents,
  contentsOf,
  type Mutation,
  mutate,
  mutations,
  sectionsWith,
} from './dwarf-mutations.ts';

/** Far more than any fixture needs: 3 MB at most. */
export const bytesMax = 64 * 1024 * 1024;

interface Subject {
  readonly sections: DebugSections;
  readonly contents: Contents;
  readonly companion: 'alternate' | 'package' | undefined;
  readonly companionSections: DebugSections | undefined;
  readonly companionContents: Contents;
}

function fixtureImage(name: string): ElfImage {
  return openElf(bytesSource(readFileSync(new URL(`../fixtures/dwarf/${name}`, import.meta.url))));
}

export function subjectOf(name: string, companion?: Subject['companion'], companionName = ''): Subject {
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

const subjects = (): Subject[] =>
  [
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

function mutantOf(subject: Subject, random: Random, kinds: readonly Mutation[]): DebugSections {
  const { companion, companionSections } = subject;
  const sections = sectionsWith(subject.sections, mutate(subject.contents, random, kinds));
  if (companion === undefined || companionSections === undefined) return sections;
  const contents =
    random(2) === 0 ? subject.companionContents : mutate(subject.companionContents, random, kinds);
  return { ...sections, [companion]: sectionsWith(companionSections, contents) };
}

/** Throws unless a table is what extractors promise. */
export function checkSound(table: RangeTable): void {
  const { starts, location, locations, functions, files } = table;
  if (location.length !== starts.length)
    throw new Error(`${location.length} locations, ${starts.length} starts`);
  for (let at = 0; at < starts.length; at++) {
    if (at > 0 && !(starts[at]! > starts[at - 1]!)) throw new Error(`start ${at} does not ascend`);
    if (!(location[at]! >= none && location[at]! < locations.line.length)) throw new Error(`range ${at}`);
  }
  if (starts.length > 0 && location.at(-1) !== none) throw new Error('the last range has no end');
  for (let at = 0; at < locations.line.length; at++) {
    const { function: func, file, parent } = locations;
    const isSound = func[at]! < functions.name.length && file[at]! < files.length && parent[at]! < at;
    if (!isSound) throw new Error(`location ${at}`);
  }
  if (functions.startLine.length !== functions.name.length) throw new Error('functions without a line');
}

function targetOf(name: string, weight: number, kinds: readonly Mutation[]): FuzzTarget {
  return {
    name,
    weight,
    open: () => {
      const all = subjects();
      return (seed) => {
        const random = randomOf(seed);
        return extractMutant(mutantOf(all[random(all.length)]!, random, kinds));
      };
    },
  };
}

function extractMutant(sections: DebugSections): string {
  return attempt([SymbolsError], () => {
    const { table, stats } = extractDwarf(sections, { bytesMax });
    checkSound(table);
    const [damage] = stats.damage;
    return damage === undefined ? 'read' : outcomeOf('damaged', damage.message);
  });
}

export const dwarfTargets: readonly FuzzTarget[] = [
  targetOf('dwarf', 12, mutations.all),
  targetOf('dwarf-abbreviations', 6, mutations.abbreviations),
  targetOf('dwarf-entries', 6, mutations.entries),
  targetOf('dwarf-lines', 6, mutations.lines),
  targetOf('dwarf-ranges', 4, mutations.ranges),
];
