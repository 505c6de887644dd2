// Each flaw known of the reference, shown to be absent; and callbacks that call back in.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type EvictReason, Lru, type LruOptions, ManualClock } from '@symkeep/cache';
import { describe, expect, it } from 'vitest';
import { numberedKey as key, numberOf } from './numbered-key.ts';

const clock = new ManualClock();

function makeLru(entriesMax: number, options: Partial<LruOptions<number>> = {}): Lru<number> {
  return new Lru<number>({ clock, keyBytes: 20, entriesMax, ...options });
}

describe('flaws of the reference', () => {
  it('no entry shields expired ones from a purge: there is one lifetime, and recency order is expiry order', () => {
    const lru = makeLru(100, { idleMs: 1000 });
    for (let i = 0; i < 100; i++) {
      lru.set(key(i), i);
      clock.advanceSync(10);
    }
    // 0..99 were used 1000..10 ms ago; the oldest is used again and so is no longer at the old end.
    lru.get(key(1));
    clock.advanceSync(500);
    expect(lru.purgeExpired()).toBe(50);
    expect(lru.keys().map(numberOf)).toEqual([...Array.from({ length: 49 }, (_, i) => i + 51), 1]);
  });

  it('a read never moves an entry with an old expiry to the new end, so a purge never stops early', () => {
    const lru = makeLru(3, { idleMs: 1000 });
    for (let i = 0; i < 3; i++) lru.set(key(i), i);
    clock.advanceSync(900);
    lru.get(key(0));
    clock.advanceSync(100);
    expect(lru.purgeExpired()).toBe(2);
    expect(lru.values()).toEqual([0]);
  });

  it('a lifetime under a millisecond does not expire at once', () => {
    const lru = makeLru(1, { idleMs: 0.25 });
    lru.set(key(1), 1);
    expect(lru.get(key(1))).toBe(1);
    clock.advanceSync(1);
    expect(lru.get(key(1))).toBeUndefined();
  });

  it('coarse ticks never end a lifetime early, and end it at most two ticks late', () => {
    const coarse = new ManualClock({ tickMs: 250 });
    for (const usedAt of [0, 1, 249]) {
      const lru = new Lru<number>({ clock: coarse, keyBytes: 20, entriesMax: 1, idleMs: 1000 });
      coarse.advanceSync(250 - (coarse.now() % 250) + usedAt);
      lru.set(key(1), 1);
      coarse.advanceSync(1000 - usedAt - 1);
      expect(lru.has(key(1))).toBe(true);
      coarse.advanceSync(500 + usedAt + 1);
      expect(lru.has(key(1))).toBe(false);
    }
  });

  it('a wall clock that steps moves no expiry', () => {
    const lru = makeLru(1, { idleMs: 1000 });
    lru.set(key(1), 1);
    clock.skewWall(7_200_000);
    expect(lru.has(key(1))).toBe(true);
    clock.skewWall(-14_400_000);
    clock.advanceSync(1000);
    expect(lru.has(key(1))).toBe(false);
  });

  it('an expired entry is never revived: not by get, set, peek or a purge that is late', () => {
    const lru = makeLru(2, { idleMs: 1000 });
    lru.set(key(1), 1);
    clock.advanceSync(5000);
    expect(lru.values()).toEqual([]);
    expect(lru.oldest()).toBeUndefined();
    expect(lru.size).toBe(0);
    lru.set(key(1), 2);
    expect(lru.values()).toEqual([2]);
  });

  it('the oldest is the oldest live entry, found behind expired ones', () => {
    const lru = makeLru(4, { idleMs: 1000 });
    lru.set(key(1), 1);
    lru.set(key(2), 2);
    clock.advanceSync(600);
    lru.set(key(3), 3);
    lru.set(key(4), 4);
    clock.advanceSync(400);
    expect(lru.oldest()).toEqual([key(3), 3]);
    expect(lru.values()).toEqual([3, 4]);
  });

  it('a tick that wraps ages entries rightly', () => {
    const nearWrap = { tick: 2 ** 31 - 10 };
    const wrapping = Object.assign(new ManualClock(), nearWrap);
    const lru = new Lru<number>({ clock: wrapping, keyBytes: 20, entriesMax: 1, idleMs: 100 });
    lru.set(key(1), 1);
    wrapping.tick = (2 ** 31 + 80) | 0;
    expect(lru.get(key(1))).toBe(1);
    wrapping.tick = (2 ** 31 + 180) | 0;
    expect(lru.get(key(1))).toBeUndefined();
  });
});

it('values that have left are held by nothing', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const lru = new Lru<object>({ clock, keyBytes: 20, entriesMax: 4, idleMs: 1000 });
  const held: WeakRef<object>[] = [];
  const add = (number: number): void => {
    const value = { number };
    held.push(new WeakRef(value));
    lru.set(key(number), value);
  };
  const stillHeld = async (): Promise<object[]> => {
    // A WeakRef keeps its target until the turn in which it was made has ended.
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    return held.flatMap((each) => each.deref() ?? []);
  };
  for (let i = 0; i < 5; i++) add(i);
  lru.remove(key(1));
  add(3);
  lru.removeOldest();
  clock.advanceSync(1000);
  lru.purgeExpired();
  expect(await stillHeld()).toEqual([]);
  add(6);
  expect(await stillHeld()).toEqual([{ number: 6 }]);
  lru.purge();
  expect(await stillHeld()).toEqual([]);
});

describe('callbacks that call back in', () => {
  it('may set: the cache is in order and within its bound', () => {
    const told: [number, EvictReason][] = [];
    const lru = makeLru(4, {
      onEvict: (value, reason) => {
        told.push([value, reason]);
        if (value < 100) lru.set(key(value + 100), value + 100);
      },
    });
    for (let i = 0; i < 5; i++) lru.set(key(i), i);
    // 0 leaves for 4; its callback sets 100, for which 1 leaves; and so on, until only such as were set so are left to go.
    expect(told.slice(0, 5).map(([value]) => value)).toEqual([0, 1, 2, 3, 4]);
    expect(lru.size).toBe(4);
    expect(lru.values()).toEqual([101, 102, 103, 104]);
  });

  it('sees the entry gone, or replaced, and its own value', () => {
    const seen: unknown[] = [];
    const lru = makeLru(1, {
      onEvict: (value, reason, k) => seen.push([value, reason, lru.peek(k), lru.size]),
    });
    lru.set(key(1), 1);
    lru.set(key(1), 2);
    lru.set(key(2), 3);
    lru.remove(key(2));
    expect(seen).toEqual([
      [1, 'replaced', 2, 1],
      [2, 'capacity', undefined, 1],
      [3, 'removed', undefined, 0],
    ]);
  });

  it.each(['remove', 'removeOldest', 'purge', 'purgeExpired', 'get', 'oldest', 'entries'] as const)(
    'may call %s amid an eviction, a removal, a purge and an expiry',
    (method) => {
      let left = 0;
      const lru = makeLru(8, {
        idleMs: 1000,
        onEvict: (_, __, k) => {
          left++;
          if (method === 'remove' || method === 'get') lru[method](key((numberOf(k) + 1) % 12));
          else lru[method]();
        },
      });
      for (let i = 0; i < 12; i++) lru.set(key(i), i);
      lru.remove(key(11));
      clock.advanceSync(1000);
      for (let i = 12; i < 16; i++) lru.set(key(i), i);
      lru.get(key(12));
      lru.purge();
      const { inserted, evicted, expired, removed, size } = lru.metrics();
      expect(inserted - evicted - expired - removed).toBe(size);
      expect(left).toBe(inserted - size);
      expect(lru.values()).toHaveLength(size);
    },
  );

  it('may fill the cache amid a purge: what it sets stays', () => {
    const lru = makeLru(4, { onEvict: (value) => value < 10 && lru.set(key(value + 10), value + 10) });
    for (let i = 0; i < 3; i++) lru.set(key(i), i);
    lru.purge();
    expect(lru.values()).toEqual([10, 11, 12]);
  });

  it('may throw: every value is told still, the cache is in order, and the error is the caller’s', () => {
    const told: number[] = [];
    const lru = makeLru(2, {
      onEvict: (value) => {
        told.push(value);
        if (value !== 2) throw new Error(`no ${value}`);
      },
    });
    lru.set(key(1), 1);
    expect(() => lru.remove(key(1))).toThrow('no 1');
    for (const i of [2, 3, 4].slice(0, 2)) lru.set(key(i), i);
    expect(() => lru.purge()).toThrow('no 3');
    expect(told).toEqual([1, 2, 3]);
    lru.set(key(5), 5);
    lru.set(key(6), 6);
    expect(() => lru.purge()).toThrow(AggregateError);
    lru.set(key(7), 7);
    expect(lru.values()).toEqual([7]);
  });
});
