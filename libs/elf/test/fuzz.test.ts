// Hostile headers: whatever stands in them, the answer is an identity or a typed error, for a bounded amount of reading.
// FUZZ_RUNS=2000000 FUZZ_SEED=7 runs more, and others.
import { expect, it } from 'vitest';
import { ElfError, identify, noteBytesMax, sectionsMax, segmentsMax } from '../src/index.ts';
import { fixtureBytes, shapes } from './fixture.ts';
import { countingSource, SparseSource, section64, segment64 } from './image.ts';
import { mutantOf, randomOf, type Subject, subjectOf } from './mutation.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 200_000);
const seed = Number(process.env.FUZZ_SEED ?? 1);

const subjects = shapes.map((name) => subjectOf(name, fixtureBytes(name)));

/** Both ends, both tables, the first section twice, and all notes. */
const readMax =
  2 * 4_096 + sectionsMax * section64.bytes + segmentsMax * segment64.bytes + noteBytesMax + 4_096;

function outcomeOf(source: SparseSource): string {
  try {
    const identity = identify(source);
    return identity.damage.length > 0 ? 'damaged' : 'identified';
  } catch (error) {
    if (error instanceof ElfError && error.what !== '') return error.code;
    throw error;
  }
}

it(`${runs} mutated files: an identity or a typed error, and no more read than a bound`, {
  timeout: 3_600_000,
}, () => {
  const outcomes = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    const random = randomOf(seed * 1_000_003 + run);
    const subject = subjects[random(subjects.length)] as Subject;
    const { bytes, done } = mutantOf(subject, random);
    // Some stand at the start of a file that seems to have no end: then nothing is truncated, and limits must hold.
    const source = random(200) > 0 ? countingSource(bytes) : new SparseSource(2 ** 44, new Map([[0, bytes]]));
    try {
      const outcome = outcomeOf(source);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (source.bytesRead > readMax)
        throw new Error(`read ${source.bytesRead} bytes in ${source.reads} reads`);
    } catch (error) {
      throw new Error(`run ${run} of seed ${seed}: ${subject.name}, ${done.join(', ')}`, { cause: error });
    }
  }
  // The mutations reach every outcome, or they would prove little; a short run on request may miss the rare ones.
  if (runs >= 50_000)
    expect([...outcomes.keys()].sort()).toEqual([
      'damaged',
      'identified',
      'limit',
      'malformed',
      'not_elf',
      'truncated',
      'unsupported',
    ]);
});
