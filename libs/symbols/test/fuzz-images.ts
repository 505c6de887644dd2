// Whole files, mutated in headers, section headers and DWARF at once: all sources extracted, merged, written and read again.
import { readFileSync } from 'node:fs';
import { bytesSource, ElfError, openElf } from '@symkeep/elf';
import { attempt, type FuzzTarget, outcomeOf } from '../../../tools/fuzz/target.ts';
import { randomOf } from '../../../tools/random.ts';
import { mutantOf, subjectOf } from '../../elf/test/mutation.ts';
import { extract, SymbolsError, writeSymbolTable } from '../src/index.ts';
import { reader } from './symbolizer.ts';

const names = [
  'gcc4',
  'gcc5',
  'clang5',
  'clang4',
  'plain32',
  'cross-s390x',
  'cross-mips',
  'relocatable.o',
  'dwz',
];
const limits = { sectionBytesMax: 1_048_576 };
const bytesMax = 64 * 1024 * 1024;

export const imageTarget: FuzzTarget = {
  name: 'images',
  weight: 3,
  open: () => {
    const subjects = names.map((name) => {
      const bytes = readFileSync(new URL(`../fixtures/dwarf/${name}`, import.meta.url));
      const debug = openElf(bytesSource(bytes)).sections.filter((section) =>
        section.name.startsWith('.debug_'),
      );
      return subjectOf(
        name,
        bytes,
        debug.map(({ offset, size }) => [offset, offset + size] as const),
      );
    });
    return (seed) => {
      const random = randomOf(seed);
      return extractAll(mutantOf(subjects[random(subjects.length)]!, random).bytes);
    };
  },
};

function extractAll(bytes: Uint8Array): string {
  return attempt([ElfError, SymbolsError], () => {
    const { ranges, damage } = extract(openElf(bytesSource(bytes), limits), { bytesMax });
    const lookup = reader(writeSymbolTable(ranges));
    for (const start of ranges.starts) lookup(start);
    const [first] = damage;
    return first === undefined ? 'read' : outcomeOf('damaged', `${first.source} ${first.error.message}`);
  });
}
