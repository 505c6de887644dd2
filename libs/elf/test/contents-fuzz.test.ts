// Hostile sections: whatever stands in tables, relocations, compression headers and links, the answer is contents within
// the limit or a typed error. CONTENTS_FUZZ_RUNS and FUZZ_SEED as in fuzz.test.ts.
import { expect, it } from 'vitest';
import {
  altLinkOf,
  bytesSource,
  debugLinkOf,
  ElfError,
  type ElfImage,
  type ElfSection,
  openElf,
  readSymbols,
  sectionFlags,
  sectionTypes,
} from '../src/index.ts';
import { fixtureBytes } from './fixture.ts';
import { mutantOf, randomOf, type Subject, subjectOf } from './mutation.ts';

const runs = Number(process.env.CONTENTS_FUZZ_RUNS ?? 50_000);
const seed = Number(process.env.FUZZ_SEED ?? 1);
const limits = { sectionBytesMax: 1_048_576 };

const names = [
  ...['debug-plain', 'debug-zlib', 'debug-zstd', 'debug-zdebug', 'debug-zlib-mips', 'debug-zstd-powerpc'],
  ...['debug-stripped', 'debug-eu-only', 'debug-dwz1', 'debug-dwz5', 'debug-mini', 'debug-ifunc'],
  ...['x86_64', 'i386', 'arm', 'mips64', 'riscv64', 'loongarch64', 's390x'].map(
    (arch) => `relocated-${arch}.o`,
  ),
];

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

const subjects = names.map((name) => {
  const bytes = fixtureBytes(name);
  return subjectOf(name, bytes, rangesOf(bytes));
});

/** Runs one reader; what it throws must be typed. Gives the code, or `read`. */
function outcomeOf(read: () => unknown): string {
  try {
    read();
    return 'read';
  } catch (error) {
    if (error instanceof ElfError && error.what !== '') return error.code;
    throw error;
  }
}

function readContents(section: ElfSection): void {
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

function* outcomesOf(image: ElfImage): Generator<string> {
  yield outcomeOf(() => readAllSymbols(image));
  yield outcomeOf(() => debugLinkOf(image));
  yield outcomeOf(() => altLinkOf(image));
  yield outcomeOf(() => image.executableRanges());
  for (const section of image.sections.slice(0, 64)) yield outcomeOf(() => readContents(section));
}

it(`${runs} mutated files: contents within the limit or a typed error`, { timeout: 3_600_000 }, () => {
  const outcomes = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    const random = randomOf(seed * 1_000_003 + run);
    const subject = subjects[random(subjects.length)] as Subject;
    const { bytes, done } = mutantOf(subject, random);
    try {
      let image: ElfImage | undefined;
      const opened = outcomeOf(() => {
        image = openElf(bytesSource(bytes), limits);
      });
      for (const outcome of image === undefined ? [opened] : outcomesOf(image)) {
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    } catch (error) {
      throw new Error(`run ${run} of seed ${seed}: ${subject.name}, ${done.join(', ')}`, { cause: error });
    }
  }
  // The mutations reach every outcome, or they would prove little; a short run on request may miss the rare ones.
  if (runs >= 50_000)
    expect([...outcomes.keys()].sort()).toEqual(
      ['absent', 'limit', 'malformed', 'not_elf', 'read', 'truncated', 'unsupported'].sort(),
    );
});
