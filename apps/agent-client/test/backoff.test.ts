import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Backoff, backoffMaxMs } from '../src/reporting/backoff.ts';

describe('the wait after failures', () => {
  it('doubles from a second up to its bound, of which a random part', () => {
    const whole = new Backoff(() => 1);
    expect(Array.from({ length: 12 }, () => whole.fail() / 1_000)).toEqual([
      ...[1, 2, 4, 8, 16, 32, 64, 128, 256],
      ...[300, 300, 300],
    ]);
    const half = new Backoff(() => 0.5, 3_000);
    expect(Array.from({ length: 4 }, () => half.fail())).toEqual([500, 1_000, 1_500, 1_500]);
  });

  it('starts anew after a success', () => {
    const backoff = new Backoff(() => 1);
    for (let times = 0; times < 20; times++) backoff.fail();
    backoff.succeed();
    expect(backoff.fail()).toBe(1_000);
  });

  it('is at least what the server asks for and never more than twice the bound, after any history', () => {
    const step = fc.record({
      fails: fc.boolean(),
      random: fc.double({ min: 0, max: 0.999, noNaN: true }),
      asked: fc.nat(10_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let drawn = 0;
        const backoff = new Backoff(() => drawn);
        for (const { fails, random, asked } of steps) {
          drawn = random;
          if (!fails) backoff.succeed();
          else {
            const ms = backoff.fail(asked);
            expect(ms).toBeGreaterThanOrEqual(Math.min(asked * 1_000, backoffMaxMs));
            expect(ms).toBeLessThanOrEqual(2 * backoffMaxMs);
          }
        }
      }),
    );
  });
});
