// The short run of a fuzz target, for `npm test`: the seeds that were kept, and some more.
import { describe, expect, it } from 'vitest';
import kept from './seeds.json' with { type: 'json' };
import type { FuzzTarget } from './target.ts';

const keptSeeds: Readonly<Record<string, readonly number[]>> = kept;
const forever = { timeout: 600_000 };

/** `reaches`: the outcomes that these inputs must have; mutations that miss one would prove little. */
export function fuzzSuite(target: FuzzTarget, runs: number, reaches: readonly string[]): void {
  const seeds = keptSeeds[target.name] ?? [];
  describe(`fuzzing ${target.name}`, () => {
    const fuzz = target.open();
    const wordOf = (seed: number): string => {
      try {
        return fuzz(seed).split(':')[0]!;
      } catch (error) {
        throw new Error(`npm run fuzz -- --target ${target.name} --seed ${seed} --inputs 1`, {
          cause: error,
        });
      }
    };

    it(
      `${seeds.length} kept seeds and ${runs} more: an answer that holds together or a typed error`,
      forever,
      () => {
        expect(seeds.length).toBeGreaterThan(0);
        const more = Array.from({ length: runs }, (_, index) => 1 + index);
        const words = new Set([...seeds, ...more].map(wordOf));
        expect([...words].sort()).toEqual([...reaches].sort());
      },
    );
  });
}
