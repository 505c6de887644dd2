// What go-freelru's own suite asserts of the profiler's former cache, in its order, and what that suite leaves out.

import { type EvictReason, Lru, type LruOptions, ManualClock } from '@symkeep/cache';
import { describe, expect, it, vi } from 'vitest';
import { numberedKey as key, numberOf } from './numbered-key.ts';

const clock = new ManualClock();
const keyBytes = 20;

function makeLru(entriesMax: number, options: Partial<LruOptions<number>> = {}): Lru<number> {
  return new Lru<number>({ clock, keyBytes, entriesMax, ...options });
}

describe('the cases of the reference', () => {
  it('1: capacity 32 after 64 adds keeps the last 32, oldest first, and tells each eviction with its value', () => {
    const evicted: [number, number, EvictReason][] = [];
    const lru = makeLru(32, { onEvict: (value, reason, k) => evicted.push([numberOf(k), value, reason]) });
    for (let i = 0; i < 64; i++) expect(lru.set(key(i), i * 10)).toBe(i >= 32);
    expect(lru.size).toBe(32);
    expect(evicted).toEqual(Array.from({ length: 32 }, (_, i) => [i, i * 10, 'capacity']));
    const last = Array.from({ length: 32 }, (_, i) => i + 32);
    expect(lru.keys().map(numberOf)).toEqual(last);
    expect(lru.values()).toEqual(last.map((i) => i * 10));
    expect(last.map((i) => lru.peek(key(i)))).toEqual(last.map((i) => i * 10));
    expect(lru.remove(key(7))).toBe(false);
    expect(lru.remove(key(63))).toBe(true);
    expect(lru.remove(key(32))).toBe(true);
    expect(lru.keys().map(numberOf)).toEqual(last.slice(1, -1));
    expect(evicted.slice(32)).toEqual([
      [63, 630, 'removed'],
      [32, 320, 'removed'],
    ]);
  });

  it('2: capacity 1 evicts by the second key, not by the first', () => {
    const lru = makeLru(1);
    expect(lru.set(key(1), 1)).toBe(false);
    expect(lru.set(key(2), 2)).toBe(true);
    expect(lru.entries().map(([k, value]) => [numberOf(k), value])).toEqual([[2, 2]]);
  });

  it('3: purge empties, and adding afterwards works', () => {
    const lru = makeLru(4);
    for (let i = 0; i < 4; i++) lru.set(key(i), i);
    lru.purge();
    expect(lru.size).toBe(0);
    expect(lru.keys()).toEqual([]);
    expect(lru.get(key(1))).toBeUndefined();
    for (let i = 0; i < 6; i++) lru.set(key(i), i);
    expect(lru.values()).toEqual([2, 3, 4, 5]);
  });

  it('4: removing both of two tells two and leaves none', () => {
    const onEvict = vi.fn();
    const lru = makeLru(2, { onEvict });
    lru.set(key(1), 1);
    lru.set(key(2), 2);
    expect([lru.remove(key(1)), lru.remove(key(2)), lru.remove(key(2))]).toEqual([true, true, false]);
    expect(onEvict).toHaveBeenCalledTimes(2);
    expect(lru.size).toBe(0);
  });

  it('5: remove oldest gives entries in order, then none', () => {
    const lru = makeLru(2);
    lru.set(key(1), 10);
    lru.set(key(2), 20);
    expect(lru.removeOldest()).toEqual([key(1), 10]);
    expect(lru.removeOldest()).toEqual([key(2), 20]);
    expect(lru.removeOldest()).toBeUndefined();
  });

  it('6: entries expire past their lifetime, not before; purge-expired does nothing before and empties after', () => {
    const lru = makeLru(8, { idleMs: 1000 });
    for (let i = 0; i < 8; i++) lru.set(key(i), i);
    clock.advanceSync(999);
    expect(lru.purgeExpired()).toBe(0);
    expect(lru.values()).toHaveLength(8);
    clock.advanceSync(1);
    expect(lru.size).toBe(8);
    expect(lru.values()).toEqual([]);
    expect(lru.purgeExpired()).toBe(8);
    expect(lru.size).toBe(0);
  });

  it('7: an expired entry that was not purged is a miss, and does not come back', () => {
    const lru = makeLru(8, { idleMs: 1000 });
    lru.set(key(1), 1);
    clock.advanceSync(1000);
    expect(lru.get(key(1))).toBeUndefined();
    expect(lru.size).toBe(0);
    expect(lru.get(key(1))).toBeUndefined();
  });

  it('9: metrics at capacity 1 after add, add, miss, hit, remove', () => {
    const lru = makeLru(1);
    lru.set(key(1), 1);
    lru.set(key(2), 2);
    lru.get(key(1));
    lru.get(key(2));
    lru.remove(key(2));
    expect(lru.metrics()).toMatchObject({ inserted: 2, hits: 1, misses: 1, evicted: 1, removed: 1, size: 0 });
  });

  it('10: the values after 1,000 inserts are the inserted ones', () => {
    const lru = makeLru(1000);
    for (let i = 0; i < 1000; i++) lru.set(key(i), i);
    expect(lru.values()).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  });

  it('11: the oldest after adds 1, 3, 5 is 1', () => {
    const lru = makeLru(8);
    for (const i of [1, 3, 5]) lru.set(key(i), i);
    expect(lru.oldest()).toEqual([key(1), 1]);
    expect(lru.size).toBe(3);
  });

  it('12: many users at once, each resuming amid the others, with heavy expiry', async () => {
    const left: Record<EvictReason, number> = { capacity: 0, idle: 0, removed: 0, replaced: 0 };
    const lru = makeLru(16, { idleMs: 5, onEvict: (_, reason) => left[reason]++ });
    const use = async (user: number): Promise<void> => {
      for (let i = 0; i < 500; i++) {
        const k = key((i * (user + 1)) % 40);
        const value = lru.get(k);
        await undefined;
        if (value !== undefined) expect(value).toBe(numberOf(k));
        if (i % 7 === user) lru.remove(k);
        else lru.set(k, numberOf(k));
        if (i % 50 === 0) lru.purgeExpired();
        if (i % 3 === 0) clock.advanceSync(1);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, user) => use(user)));
    const { inserted, updated, evicted, expired, removed, size, hits, misses } = lru.metrics();
    expect(left).toEqual({ capacity: evicted, idle: expired, removed, replaced: updated });
    expect(inserted - evicted - expired - removed).toBe(size);
    expect(hits + misses).toBe(8 * 500);
    expect(Math.min(evicted, expired, removed, updated, hits)).toBeGreaterThan(0);
  });

  it('refuses capacity 0, and says which value is wrong', () => {
    expect(() => makeLru(0)).toThrow(/entriesMax is 0/);
    expect(() => makeLru(1.5)).toThrow(/entriesMax is 1.5/);
    expect(() => makeLru(1, { keyBytes: 65 })).toThrow(/keyBytes is 65/);
    expect(() => makeLru(1, { idleMs: 0 })).toThrow(/idleMs is 0/);
    expect(() => makeLru(1, { idleMs: Number.NaN })).toThrow(/idleMs is NaN/);
    expect(() => makeLru(1, { weightMax: 1 })).toThrow(/weigh/);
    expect(() => new Lru({ clock, keyBytes })).toThrow(/entriesMax is 0/);
  });
});

describe('what that suite leaves out', () => {
  it('a read of an expired entry is a miss, told and counted as expired', () => {
    const onEvict = vi.fn();
    const lru = makeLru(2, { idleMs: 1000, onEvict });
    lru.set(key(1), 1);
    clock.advanceSync(1000);
    expect(lru.get(key(1))).toBeUndefined();
    expect(onEvict.mock.calls).toEqual([[1, 'idle', key(1)]]);
    expect(lru.metrics()).toMatchObject({ hits: 0, misses: 1, expired: 1, evicted: 0, removed: 0, size: 0 });
    lru.set(key(2), 2);
    clock.advanceSync(1000);
    expect(lru.purgeExpired()).toBe(1);
    expect(lru.metrics()).toMatchObject({ misses: 1, expired: 2, removed: 0 });
  });

  it('an entry without a lifetime stays, however long it is unused', () => {
    const lru = makeLru(2);
    lru.set(key(1), 1);
    clock.advanceSync(400 * 24 * 3_600_000);
    expect([lru.purgeExpired(), lru.get(key(1))]).toEqual([0, 1]);
  });

  it('a read moves its entry to the new end and starts its lifetime anew', () => {
    const lru = makeLru(3, { idleMs: 1000 });
    for (let i = 0; i < 3; i++) lru.set(key(i), i);
    clock.advanceSync(600);
    expect(lru.get(key(0))).toBe(0);
    expect(lru.values()).toEqual([1, 2, 0]);
    clock.advanceSync(999);
    expect(lru.values()).toEqual([0]);
    expect(lru.get(key(0))).toBe(0);
    clock.advanceSync(1000);
    expect(lru.get(key(0))).toBeUndefined();
  });

  it('peek and has leave recency, lifetime and metrics alone', () => {
    const lru = makeLru(2, { idleMs: 1000 });
    lru.set(key(1), 1);
    lru.set(key(2), 2);
    clock.advanceSync(500);
    expect([lru.peek(key(1)), lru.has(key(1)), lru.has(key(9))]).toEqual([1, true, false]);
    expect(lru.values()).toEqual([1, 2]);
    expect(lru.metrics()).toMatchObject({ hits: 0, misses: 0 });
    clock.advanceSync(500);
    expect(lru.peek(key(1))).toBeUndefined();
    expect(lru.has(key(2))).toBe(false);
  });

  it('peek and has remove an expired entry, tell it, and count it', () => {
    const onEvict = vi.fn();
    const lru = makeLru(2, { idleMs: 1000, onEvict });
    lru.set(key(1), 1);
    lru.set(key(2), 2);
    clock.advanceSync(1000);
    lru.peek(key(1));
    lru.has(key(2));
    expect(onEvict.mock.calls).toEqual([
      [1, 'idle', key(1)],
      [2, 'idle', key(2)],
    ]);
    expect(lru.metrics()).toMatchObject({ expired: 2, size: 0, misses: 0 });
  });

  it('remove and removeOldest find an expired entry too, and call it removed', () => {
    const reasons: EvictReason[] = [];
    const lru = makeLru(2, { idleMs: 1000, onEvict: (_, reason) => reasons.push(reason) });
    lru.set(key(1), 1);
    lru.set(key(2), 2);
    clock.advanceSync(1000);
    expect(lru.remove(key(2))).toBe(true);
    expect(lru.removeOldest()).toEqual([key(1), 1]);
    expect(reasons).toEqual(['removed', 'removed']);
  });

  it('setting a known key replaces the value, tells the old one, and counts as an update', () => {
    const told: unknown[] = [];
    const lru = makeLru(2, { onEvict: (...args) => told.push(args) });
    lru.set(key(1), 1);
    lru.set(key(2), 2);
    expect(lru.set(key(1), 11)).toBe(false);
    expect(lru.values()).toEqual([2, 11]);
    expect(told).toEqual([[1, 'replaced', key(1)]]);
    expect(lru.metrics()).toMatchObject({ inserted: 2, updated: 1, size: 2 });
  });

  it('setting an expired key tells the old value as idle and inserts anew', () => {
    const reasons: EvictReason[] = [];
    const lru = makeLru(2, { idleMs: 1000, onEvict: (_, reason) => reasons.push(reason) });
    lru.set(key(1), 1);
    clock.advanceSync(1000);
    expect(lru.set(key(1), 11)).toBe(false);
    expect(reasons).toEqual(['idle']);
    expect(lru.get(key(1))).toBe(11);
    expect(lru.metrics()).toMatchObject({ inserted: 2, expired: 1, updated: 0, size: 1 });
  });

  it('an expired entry that makes room left by its age, not by the bound', () => {
    const reasons: EvictReason[] = [];
    const lru = makeLru(1, { idleMs: 1000, onEvict: (_, reason) => reasons.push(reason) });
    lru.set(key(1), 1);
    clock.advanceSync(1000);
    expect(lru.set(key(2), 2)).toBe(false);
    expect(reasons).toEqual(['idle']);
  });

  it('metrics survive a purge, which tells every value', () => {
    const onEvict = vi.fn();
    const lru = makeLru(4, { onEvict });
    for (let i = 0; i < 3; i++) lru.set(key(i), i);
    lru.get(key(0));
    lru.purge();
    expect(onEvict.mock.calls.map(([value, reason]) => [value, reason])).toEqual([
      [1, 'removed'],
      [2, 'removed'],
      [0, 'removed'],
    ]);
    expect(lru.metrics()).toMatchObject({ inserted: 3, hits: 1, removed: 3, size: 0 });
  });

  it('purge-expired stops at its limit', () => {
    const lru = makeLru(10, { idleMs: 1000 });
    for (let i = 0; i < 10; i++) lru.set(key(i), i);
    clock.advanceSync(1000);
    expect([lru.purgeExpired(4), lru.size, lru.purgeExpired(), lru.size]).toEqual([4, 6, 6, 0]);
  });

  it('metrics give the age of the entry that leaves next', () => {
    const lru = makeLru(2);
    expect(lru.metrics().oldestAgeMs).toBe(0);
    lru.set(key(1), 1);
    clock.advanceSync(300);
    lru.set(key(2), 2);
    clock.advanceSync(50);
    expect(lru.metrics().oldestAgeMs).toBe(350);
    lru.get(key(1));
    expect(lru.metrics().oldestAgeMs).toBe(50);
  });
});

describe('a hit', () => {
  it('reads no system clock', () => {
    const coarse = Object.assign(new ManualClock(), {
      now: () => expect.fail('now was read'),
      wall: () => expect.fail('wall was read'),
    });
    const lru = makeLru(2, { clock: coarse, idleMs: 1000 });
    lru.set(key(1), 1);
    expect(lru.get(key(1))).toBe(1);
  });

  it('allocates nothing', () => {
    const lru = makeLru(1024, { idleMs: 1000 });
    const keys = Buffer.concat(Array.from({ length: 1024 }, (_, i) => key(i)));
    for (let i = 0; i < 1024; i++) lru.set(keys, i, i * keyBytes);
    const hits = 50_000;
    // The median of many windows, since the compiler and the collector have their turn in some.
    const grown = Array.from({ length: 41 }, () => {
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < hits; i++) lru.get(keys, (i & 1023) * keyBytes);
      return process.memoryUsage().heapUsed - before;
    });
    expect(grown.sort((a, b) => a - b)[20]! / hits).toBeLessThan(1);
    expect(lru.metrics().hits).toBe(41 * hits);
  });
});

describe('a bound by weight', () => {
  const weighed = (weightMax: number, options: Partial<LruOptions<number>> = {}): Lru<number> =>
    new Lru<number>({ clock, keyBytes, entriesMax: 10, weightMax, weigh: (value) => value, ...options });

  it('evicts the oldest until the new value fits', () => {
    const lru = weighed(100);
    for (const weight of [40, 30, 30]) expect(lru.set(key(weight + lru.size), weight)).toBe(false);
    expect(lru.set(key(1), 50)).toBe(true);
    expect(lru.values()).toEqual([30, 50]);
    expect([lru.weight, lru.metrics().evicted]).toEqual([80, 2]);
  });

  it('refuses and counts a value heavier than the whole bound, and drops what it was to replace', () => {
    const told: unknown[] = [];
    const lru = weighed(100, { onEvict: (...args) => told.push(args) });
    lru.set(key(1), 60);
    lru.set(key(2), 40);
    expect(lru.set(key(3), 101)).toBe(false);
    expect(lru.values()).toEqual([60, 40]);
    expect(lru.set(key(1), 101)).toBe(false);
    expect(lru.values()).toEqual([40]);
    expect(told).toEqual([[60, 'removed', key(1)]]);
    expect(lru.metrics()).toMatchObject({ refused: 2, removed: 1, weight: 40 });
  });

  it('weighs a replaced value anew, and evicts others for it, never itself', () => {
    const lru = weighed(100);
    for (const [k, weight] of [
      [1, 30],
      [2, 30],
      [3, 40],
    ] as const)
      lru.set(key(k), weight);
    expect(lru.set(key(1), 90)).toBe(true);
    expect(lru.values()).toEqual([90]);
    expect(lru.weight).toBe(90);
  });

  it('takes a value of up to 2 GiB, which a row has a word for, and refuses more even where the bound allows it', () => {
    const lru = weighed(2 ** 40);
    lru.set(key(1), 2 ** 31 - 1);
    lru.set(key(2), 2 ** 31);
    expect([lru.values(), lru.weight, lru.metrics().refused]).toEqual([[2 ** 31 - 1], 2 ** 31 - 1, 1]);
  });

  it('holds the bound by entries as well', () => {
    const lru = weighed(100, { entriesMax: 2 });
    for (let i = 0; i < 3; i++) lru.set(key(i), 1);
    expect([lru.size, lru.weight]).toEqual([2, 2]);
  });

  it('without a bound by entries has a row for each KiB', () => {
    const lru = new Lru<number>({ clock, keyBytes, weightMax: 10_000, weigh: () => 1 });
    for (let i = 0; i < 20; i++) lru.set(key(i), i);
    expect(lru.size).toBe(10);
  });

  it('refuses a weight that is none, and changes nothing then', () => {
    const lru = weighed(100);
    lru.set(key(1), 5);
    for (const weight of [-1, 1.5, Number.NaN]) expect(() => lru.set(key(1), weight)).toThrow(/weight/);
    expect(lru.values()).toEqual([5]);
  });
});
