// Keys of every width, at any offset, with and without addresses; and a hash that nobody can flood.

import { Lru, ManualClock } from '@symkeep/cache';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { numberedKey } from './numbered-key.ts';

const clock = new ManualClock();
const entriesMax = 256;

describe('keys', () => {
  it.each(Array.from({ length: 64 }, (_, i) => i + 1))(
    'of %i bytes: every byte counts, and comes back',
    (keyBytes) => {
      const lru = new Lru<number>({ clock, keyBytes, entriesMax });
      const base = Uint8Array.from({ length: keyBytes }, (_, i) => 200 + i);
      const variants = Array.from({ length: keyBytes }, (_, i) => base.with(i, base[i]! ^ 0x80));
      for (const [i, key] of [base, ...variants].entries()) lru.set(key, i);
      expect(lru.size).toBe(keyBytes + 1);
      expect([base, ...variants].map((key) => lru.get(key))).toEqual(lru.values());
      expect(lru.keys()).toEqual([base, ...variants]);
    },
  );

  it.each([1, 8, 16, 20, 21, 32, 64])('of %i bytes are read at any offset of a larger buffer', (keyBytes) => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: keyBytes, maxLength: keyBytes }), fc.nat(40), (key, offset) => {
        const lru = new Lru<string>({ clock, keyBytes, entriesMax });
        const received = new Uint8Array(offset + keyBytes + 5).fill(0xaa);
        received.set(key, offset);
        lru.set(received, 'value', offset);
        expect(lru.get(key)).toBe('value');
        expect(lru.keys()).toEqual([key]);
      }),
    );
  });

  it('outside the buffer are refused, not read as zeros', () => {
    const lru = new Lru<number>({ clock, keyBytes: 20, entriesMax });
    const received = new Uint8Array(30);
    for (const offset of [11, -1, 0.5, Number.NaN, 2 ** 32]) {
      expect(() => lru.get(received, offset)).toThrow(RangeError);
      expect(() => lru.set(received, 1, offset)).toThrow(RangeError);
    }
    expect(lru.set(received, 1, 10)).toBe(false);
  });

  it.each([16, 20, 21])('of %i bytes and an address: all 64 bits count, and come back', (keyBytes) => {
    const lru = new Lru<number>({ clock, keyBytes, addressed: true, entriesMax });
    const id = numberedKey(7, keyBytes);
    for (let bit = 0; bit < 64; bit++)
      lru.set(id, bit, 0, bit < 32 ? 1 << bit : 0, bit < 32 ? 0 : 1 << (bit - 32));
    expect(lru.size).toBe(64);
    expect(lru.get(id, 0, 0, -0x80000000)).toBe(63);
    expect(lru.get(id, 0, 0, 0x80000000)).toBe(63);
    for (const [i, k] of lru.keys().slice(0, 63).entries()) {
      expect(k.subarray(0, keyBytes)).toEqual(id);
      expect(new DataView(k.buffer).getBigUint64(keyBytes, true)).toBe(1n << BigInt(i));
    }
    expect(lru.has(numberedKey(8, keyBytes), 0, 1, 0)).toBe(false);
  });
});

describe('flooding', () => {
  const secretOf = (seed: number) => (words: Int32Array) => {
    for (let i = 0; i < words.length; i++) words[i] = Math.imul(seed + i, 0x9e3779b1) ^ (seed << 7);
  };
  const wide = (random?: (words: Int32Array) => unknown): Lru<number> =>
    new Lru<number>({ clock, keyBytes: 20, entriesMax: 1024, ...(random && { random }) });
  const longestOf = (lru: Lru<number>, keys: readonly Uint8Array[]): number =>
    Math.max(...keys.map((key) => lru.probes(key)));

  it('keys that all meet in one bucket under one secret are spread by another', () => {
    const known = wide(secretOf(1));
    known.set(numberedKey(0), 0);
    // A key that is not there has as many rows to pass as its bucket holds: one, in the bucket of key 0.
    const hostile = [numberedKey(0)];
    for (let i = 1; hostile.length < 200; i++)
      if (known.probes(numberedKey(i)) === 1) hostile.push(numberedKey(i));
    for (const [i, key] of hostile.entries()) known.set(key, i);
    expect(longestOf(known, hostile)).toBe(200);
    expect(known.metrics()).toMatchObject({ inserted: 200, collisions: 199 });
    for (const other of [wide(secretOf(2)), wide()]) {
      for (const [i, key] of hostile.entries()) other.set(key, i);
      expect(longestOf(other, hostile)).toBeLessThan(10);
    }
  });

  it.each([
    ['count upwards', (i: number) => numberedKey(i)],
    ['differ in the top bits of their words', (i: number) => topBits(i)],
    [
      'differ in the last byte of each word',
      (i: number) => numberedKey(i).map((_, at) => (at % 4 === 3 ? (i >> (2 * (at >> 2))) & 3 : 0)),
    ],
  ])('keys that %s are spread', (_, make) => {
    const lru = wide();
    const keys = Array.from({ length: 1024 }, (_, i) => make(i));
    for (const [i, key] of keys.entries()) lru.set(key, i);
    expect(longestOf(lru, keys)).toBeLessThan(16);
  });

  /** Two bits of `i` in the two top bits of each of the five words. */
  function topBits(i: number): Uint8Array {
    const key = new Uint8Array(20);
    for (let word = 0; word < 5; word++) key[4 * word + 3] = ((i >> (2 * word)) & 3) << 6;
    return key;
  }

  it('removal and reuse of rows leave look-ups as short as in a new cache', () => {
    const lru = wide();
    for (let i = 0; i < 50_000; i++) {
      lru.set(numberedKey(i), i);
      if (i % 3 === 0) lru.remove(numberedKey(i - 500));
    }
    const absent = Array.from({ length: 2000 }, (_, i) => numberedKey(1_000_000 + i));
    const mean = absent.reduce((sum, key) => sum + lru.probes(key), 0) / absent.length;
    expect(mean).toBeLessThan(1);
  });
});

it('memory is fixed at construction: at most 60 bytes an entry for 20-byte keys, whatever happens', () => {
  const lru = new Lru<number>({ clock, keyBytes: 20, entriesMax: 16_384, idleMs: 1000 });
  const before = lru.memoryBytes;
  expect(before / 16_384).toBeLessThanOrEqual(60);
  // A row of links, last use and key, and the slot of its value.
  expect(before / 16_384).toBeGreaterThanOrEqual(12 + 4 + 20 + 8);
  for (let i = 0; i < 40_000; i++) lru.set(numberedKey(i), i);
  lru.purge();
  expect(lru.memoryBytes).toBe(before);
});
