import { describe, expect, it } from 'vitest';
import { Shares } from '../../src/backfills/shares.ts';

describe('shares', () => {
  const wish = (id: string, weight: number, wants = 1_000) => ({ id, weight, wants });

  it('follow the weights, over many small rounds as in one', () => {
    expect(Object.fromEntries(new Shares().deal(100, [wish('a', 8), wish('b', 2)]))).toEqual({
      a: 80,
      b: 20,
    });
    const shares = new Shares();
    const sums = { a: 0, b: 0 };
    for (let round = 0; round < 100; round++) {
      const dealt = shares.deal(1, [wish('a', 8), wish('b', 2)]);
      sums.a += dealt.get('a')!;
      sums.b += dealt.get('b')!;
    }
    expect(sums).toEqual({ a: 80, b: 20 });
  });

  it('that one does not want are the others’', () => {
    const dealt = new Shares().deal(100, [wish('a', 8, 10), wish('b', 1), wish('c', 1)]);
    expect(Object.fromEntries(dealt)).toEqual({ a: 10, b: 45, c: 45 });
  });

  it('of one that leaves are no debt to those who stay', () => {
    const shares = new Shares();
    shares.deal(3, [wish('a', 1), wish('b', 7)]);
    expect(Object.fromEntries(shares.deal(4, [wish('a', 1)]))).toEqual({ a: 4 });
    expect(Object.fromEntries(shares.deal(80, [wish('a', 1), wish('c', 7)]))).toEqual({ a: 10, c: 70 });
  });

  it('are nothing where there is no room or no wish', () => {
    expect(Object.fromEntries(new Shares().deal(0, [wish('a', 1)]))).toEqual({ a: 0 });
    expect(new Shares().deal(5, []).size).toBe(0);
  });
});
