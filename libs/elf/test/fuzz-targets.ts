// Hostile headers and sections. Headers: whatever stands in them, the answer is an identity or a typed error, for a bounded
// amount of reading. Sections: whatever stands in tables, relocations, compression headers and links, contents within the limit
// or a typed error.
import { attempt, type Fuzz, type FuzzTarget } from '../../../tools/fuzz/target.ts';
import { randomOf } from '../../../tools/random.ts';
import {
  altLinkOf,
  bytesSource,
  debugLinkOf,
  ElfError,
  type ElfImage,
  type ElfSection,
  identify,
  noteBytesMax,
  openElf,
  readSymbols,
  sectionFlags,
  sectionsMax,
  sectionTypes,
  segmentsMax,
} from '../src/index.ts';
import { fixtureBytes, shapes } from './fixture.ts';
import { countingSource, SparseSource, section64, segment64 } from './image.ts';
import { mutantOf, type Subject, subjectOf } from './mutation.ts';

/** Both ends, both tables, the first section twice, and all notes. */
const readMax =
  2 * 4_096 + sectionsMax * section64.bytes + segmentsMax * segment64.bytes + noteBytesMax + 4_096;
const limits = { sectionBytesMax: 1_048_576 };
/** Some mutants stand at the start of a file that seems to have no end: then nothing is truncated, and limits must hold. */
const endless = { oneIn: 200, bytes: 2 ** 44 };

const withContents = [
  ...['debug-plain', 'debug-zlib', 'debug-zstd', 'debug-zdebug', 'debug-zlib-mips', 'debug-zstd-powerpc'],
  ...['debug-stripped', 'debug-eu-only', 'debug-dwz1', 'debug-dwz5', 'debug-mini', 'debug-ifunc'],
  ...['x86_64', 'i386', 'arm', 'mips64', 'riscv64', 'loongarch64', 's390x'].map(
    (arch) => `relocated-${arch}.o`,
  ),
];

const headers: FuzzTarget = {
  name: 'elf-headers',
  weight: 20,
  open: () => fuzzHeaders(shapes.map((name) => subjectOf(name, fixtureBytes(name)))),
};

const contents: FuzzTarget = {
  name: 'elf-sections',
  weight: 12,
  open: () =>
    fuzzContents(
      withContents.map((name) => {
        const bytes = fixtureBytes(name);
        return subjectOf(name, bytes, rangesOf(bytes));
      }),
    ),
};

export const elfTargets: readonly FuzzTarget[] = [headers, contents];

function fuzzHeaders(subjects: readonly Subject[]): Fuzz {
  return (seed) => {
    const random = randomOf(seed);
    const { bytes } = mutantOf(subjects[random(subjects.length)]!, random);
    const isEndless = random(endless.oneIn) === 0;
    const source = isEndless ? new SparseSource(endless.bytes, new Map([[0, bytes]])) : countingSource(bytes);
    const outcome = attempt([ElfError], () => {
      return identify(source).damage.length > 0 ? 'damaged' : 'identified';
    });
    if (source.bytesRead > readMax)
      throw new Error(`read ${source.bytesRead} bytes in ${source.reads} reads`);
    return outcome;
  };
}

/** Fields beyond the headers: relocations, symbols, links, and the start of whatever is compressed. */
function rangesOf(bytes: Uint8Array): [number, number][] {
  const types: number[] = [sectionTypes.rel, sectionTypes.rela, sectionTypes.symtab, sectionTypes.dynsym];
  return openElf(bytesSource(bytes)).sections.flatMap(
    ({ name, type, flags, offset, size }): [number, number][] => {
      if (types.includes(type) || name === '.gnu_debuglink' || name.startsWith('.gnu_debug'))
        return [[offset, offset + size]];
      const compressed = (flags & sectionFlags.compressed) !== 0 || bytes[offset] === 0x5a;
      return compressed ? [[offset, offset + Math.min(size, 40)]] : [];
    },
  );
}

function fuzzContents(subjects: readonly Subject[]): Fuzz {
  return (seed) => {
    const random = randomOf(seed);
    const { bytes } = mutantOf(subjects[random(subjects.length)]!, random);
    let image: ElfImage | undefined;
    const opened = attempt([ElfError], () => {
      image = openElf(bytesSource(bytes), limits);
      return 'read';
    });
    const outcomes = image === undefined ? [opened] : outcomesOf(image);
    return outcomes.find((outcome) => outcome !== 'read') ?? 'read';
  };
}

function outcomesOf(image: ElfImage): string[] {
  const readers = [
    () => readAllSymbols(image),
    () => image.executableRanges(),
    ...image.sections.slice(0, 64).map((section) => () => readContents(section)),
    () => debugLinkOf(image),
    () => altLinkOf(image),
  ];
  return readers.map((read) =>
    attempt([ElfError], () => {
      read();
      return 'read';
    }),
  );
}

function readContents(section: ElfSection): void {
  if (!section.hasContents) return;
  const claimed = section.contentBytes();
  const { length } = section.contents();
  if (length > limits.sectionBytesMax || length !== claimed)
    throw new Error(`${length} bytes, claimed ${claimed}`);
}

function readAllSymbols(image: ElfImage): void {
  const table = readSymbols(image);
  for (let index = 0; index < (table?.count ?? 0); index++) {
    table?.name(index);
    table?.virtualAddress(index);
  }
}
