import { Absences, type AbsencesOptions, ManualClock } from '@symkeep/cache';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { numberedKey as key } from './numbered-key.ts';

function make(options: Partial<AbsencesOptions> = {}): { clock: ManualClock; absences: Absences } {
  const clock = new ManualClock();
  return { clock, absences: new Absences({ clock, keyBytes: 20, entriesMax: 100, jitter: 0, ...options }) };
}

/** Finds the key absent again each time its absence ends, and gives the lifetimes. */
function lifetimes({ clock, absences }: ReturnType<typeof make>, times: number, pauseMs = 0): number[] {
  return Array.from({ length: times }, () => {
    absences.add(key(1));
    const start = clock.now();
    while (absences.has(key(1))) clock.advanceSync(1000);
    const lifetime = clock.now() - start;
    clock.advanceSync(pauseMs);
    return lifetime;
  });
}

describe('absences', () => {
  it('end after their lifetime, however much they are asked for', () => {
    const { clock, absences } = make();
    expect(absences.add(key(1))).toBe(60_000);
    for (let i = 0; i < 59_999; i += 1) {
      clock.advanceSync(1);
      if (!absences.has(key(1))) throw new Error(`ended after ${i} ms`);
    }
    clock.advanceSync(1);
    expect(absences.has(key(1))).toBe(false);
  });

  it('found absent while in force keep their end', () => {
    const { clock, absences } = make();
    absences.add(key(1));
    clock.advanceSync(40_000);
    expect(absences.add(key(1))).toBe(20_000);
    clock.advanceSync(20_000);
    expect(absences.has(key(1))).toBe(false);
  });

  it('last twice as long each time, from a minute to ten', () => {
    expect(lifetimes(make(), 7)).toEqual([60, 120, 240, 480, 600, 600, 600].map((s) => s * 1000));
  });

  it('keep their backoff for a while after their end, not for ever', () => {
    expect(lifetimes(make({ memoryMs: 30_000 }), 3, 29_000)).toEqual([60_000, 120_000, 240_000]);
    const lapsed = make({ memoryMs: 30_000 });
    expect(lifetimes(lapsed, 3, 30_000)).toEqual([60_000, 60_000, 60_000]);
    expect(lapsed.absences.metrics()).toMatchObject({ inserted: 3, forgotten: 2, lengthened: 0 });
  });

  it('end at once by an event, which forgets their backoff too', () => {
    const { clock, absences } = make();
    absences.add(key(1));
    clock.advanceSync(60_000);
    absences.add(key(1));
    expect(absences.cancel(key(1))).toBe(true);
    expect(absences.has(key(1))).toBe(false);
    expect(absences.cancel(key(1))).toBe(false);
    expect(absences.add(key(1))).toBe(60_000);
    absences.clear();
    expect([absences.has(key(1)), absences.size]).toEqual([false, 0]);
  });

  it('vary by their jitter, both ways and no further', () => {
    const draws = [0, 0.5, 0.999999];
    const { absences } = make({ jitter: 0.1, random: () => draws.shift()! });
    expect(absences.add(key(1))).toBe(54_000);
    expect(absences.add(key(2))).toBe(60_000);
    expect(absences.add(key(3))).toBeCloseTo(66_000, 0);
  });

  it('are bounded: what was found absent longest ago leaves first', () => {
    const { clock, absences } = make({ entriesMax: 3 });
    for (const i of [1, 2, 3]) absences.add(key(i));
    clock.advanceSync(60_000);
    absences.add(key(1));
    absences.add(key(4));
    expect([1, 2, 3, 4].map((i) => absences.has(key(i)))).toEqual([true, false, false, true]);
    expect(absences.metrics()).toMatchObject({ evicted: 1, lengthened: 1, size: 3 });
  });

  it('take addresses as part of the key', () => {
    const { absences } = make({ addressed: true });
    absences.add(key(1), 0, 0x1000, 1);
    expect([absences.has(key(1), 0, 0x1000, 1), absences.has(key(1), 0, 0x1000, 0)]).toEqual([true, false]);
  });

  it('refuse lifetimes and jitters that make no sense', () => {
    expect(() => make({ lifetimeMs: 0 })).toThrow(/lifetimeMs is 0/);
    expect(() => make({ lifetimeMs: 10, lifetimeMaxMs: 5 })).toThrow(/lifetimeMs is 10/);
    expect(() => make({ jitter: 1 })).toThrow(/jitter is 1/);
  });

  it('under any operations: counts agree, and nothing is absent longer than its lifetime', () => {
    const op = fc.tuple(
      fc.constantFrom('add', 'has', 'cancel', 'clear', 'advance'),
      fc.nat(9),
      fc.integer({ min: 1, max: 900 }),
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 200 }), (ops) => {
        const { clock, absences } = make({ entriesMax: 5 });
        const ends = new Map<number, number>();
        let asked = 0;
        for (const [name, k, seconds] of ops) {
          if (name === 'advance') clock.advanceSync(seconds * 1000);
          else if (name === 'add') ends.set(k, clock.now() + absences.add(key(k)));
          else if (name === 'clear') {
            absences.clear();
            ends.clear();
          } else if (name === 'cancel') {
            absences.cancel(key(k));
            ends.delete(k);
          } else {
            asked++;
            if (absences.has(key(k))) expect(ends.get(k) ?? 0).toBeGreaterThan(clock.now());
          }
          const m = absences.metrics();
          expect(m.hits + m.misses).toBe(asked);
          expect(m.inserted - m.evicted - m.forgotten - m.cancelled).toBe(m.size);
          expect(m.size).toBeLessThanOrEqual(5);
        }
      }),
    );
  });
});
