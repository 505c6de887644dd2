// The cache against a model so plain that it is right by inspection: a Map in order of use, under random operations.

import { type EvictReason, Lru, ManualClock } from '@symkeep/cache';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { numberedKey as key, numberOf } from './numbered-key.ts';

interface Bounds {
  entriesMax: number;
  weightMax?: number;
  idleMs?: number;
}
interface Entry {
  value: number;
  usedAt: number;
}

/** Values are their own weight. */
class Model {
  /** Oldest first: a Map keeps the order of insertion. */
  readonly entries = new Map<number, Entry>();
  readonly left: [number, number, EvictReason][] = [];
  readonly #bounds: Bounds;
  readonly #clock: ManualClock;

  constructor(bounds: Bounds, clock: ManualClock) {
    this.#bounds = bounds;
    this.#clock = clock;
  }

  get weight(): number {
    return [...this.entries.values()].reduce((sum, { value }) => sum + value, 0);
  }

  isLive(k: number): boolean {
    const entry = this.entries.get(k);
    return (
      entry !== undefined &&
      this.#clock.now() - entry.usedAt < (this.#bounds.idleMs ?? Number.POSITIVE_INFINITY)
    );
  }

  peek(k: number): number | undefined {
    if (this.entries.has(k) && !this.isLive(k)) this.leave(k, 'idle');
    return this.entries.get(k)?.value;
  }

  get(k: number): number | undefined {
    const value = this.peek(k);
    if (value !== undefined) this.#put(k, value);
    return value;
  }

  set(k: number, value: number): void {
    const { weightMax = Number.POSITIVE_INFINITY } = this.#bounds;
    const old = this.peek(k);
    if (value > weightMax) {
      if (old !== undefined) this.leave(k, 'removed');
      return;
    }
    if (old !== undefined) this.left.push([k, old, 'replaced']);
    this.#put(k, value);
    while (this.entries.size > this.#bounds.entriesMax || this.weight > weightMax) {
      const [oldest] = this.entries.keys();
      this.leave(oldest!, this.isLive(oldest!) ? 'capacity' : 'idle');
    }
  }

  leave(k: number, reason: EvictReason): boolean {
    const entry = this.entries.get(k);
    if (entry === undefined) return false;
    this.entries.delete(k);
    this.left.push([k, entry.value, reason]);
    return true;
  }

  purgeExpired(limit: number): number {
    const expired = [...this.entries.keys()].filter((k) => !this.isLive(k)).slice(0, limit);
    for (const k of expired) this.leave(k, 'idle');
    return expired.length;
  }

  live(): [number, number][] {
    return [...this.entries].filter(([k]) => this.isLive(k)).map(([k, { value }]) => [k, value]);
  }

  #put(k: number, value: number): void {
    this.entries.delete(k);
    this.entries.set(k, { value, usedAt: this.#clock.now() });
  }
}

type Op = readonly [name: string, key: number, value: number];

class Pair {
  readonly clock = new ManualClock();
  readonly lru: Lru<number>;
  readonly model: Model;
  readonly left: [number, number, EvictReason][] = [];
  readonly isWeighed: boolean;
  gets = 0;

  constructor(bounds: Bounds) {
    this.model = new Model(bounds, this.clock);
    const { weightMax, ...others } = bounds;
    this.isWeighed = weightMax !== undefined;
    this.lru = new Lru<number>({
      ...others,
      ...(weightMax === undefined ? {} : { weightMax, weigh: (value: number) => value }),
      clock: this.clock,
      keyBytes: 20,
      onEvict: (value, reason, k) => this.left.push([numberOf(k), value, reason]),
    });
  }

  readonly #operations: Record<string, (k: number, value: number) => void> = {
    get: (k) => {
      this.gets++;
      expect(this.lru.get(key(k))).toBe(this.model.get(k));
    },
    peek: (k) => expect(this.lru.peek(key(k))).toBe(this.model.peek(k)),
    has: (k) => expect(this.lru.has(key(k))).toBe(this.model.peek(k) !== undefined),
    set: (k, value) => {
      const { left } = this.model;
      const before = left.length;
      const hasEvicted = this.lru.set(key(k), value);
      this.model.set(k, value);
      expect(hasEvicted).toBe(left.slice(before).some(([, , reason]) => reason === 'capacity'));
    },
    remove: (k) => expect(this.lru.remove(key(k))).toBe(this.model.leave(k, 'removed')),
    removeOldest: () => {
      const [oldest] = this.model.entries;
      const removed = this.lru.removeOldest();
      expect(removed && [numberOf(removed[0]), removed[1]]).toEqual(oldest && [oldest[0], oldest[1].value]);
      if (oldest !== undefined) this.model.leave(oldest[0], 'removed');
    },
    oldest: () => {
      this.model.purgeExpired(Number.POSITIVE_INFINITY);
      expect(this.lru.oldest()?.[1]).toBe(this.model.live()[0]?.[1]);
    },
    purgeExpired: (_, limit) => expect(this.lru.purgeExpired(limit)).toBe(this.model.purgeExpired(limit)),
    purge: () => {
      for (const k of [...this.model.entries.keys()]) this.model.leave(k, 'removed');
      this.lru.purge();
    },
    advance: (_, ms) => this.clock.advanceSync(ms),
  };

  apply([name, k, value]: Op): void {
    this.#operations[name]!(k, value);
  }

  agree(): void {
    const { lru, model } = this;
    expect(lru.entries().map(([k, value]) => [numberOf(k), value])).toEqual(model.live());
    expect([lru.size, this.left.length]).toEqual([model.entries.size, model.left.length]);
    expect(this.left.splice(0)).toEqual(model.left.splice(0));
    const m = lru.metrics();
    expect(m.hits + m.misses).toBe(this.gets);
    expect(m.inserted - m.evicted - m.expired - m.removed).toBe(m.size);
    expect(lru.weight).toBe(this.isWeighed ? model.weight : 0);
  }
}

const weights: Record<string, number> = {
  get: 30,
  peek: 5,
  has: 5,
  set: 40,
  remove: 5,
  removeOldest: 2,
  oldest: 2,
  purgeExpired: 3,
  purge: 0.05,
  advance: 8,
};
const names = Object.keys(weights);

function drawOp(random: () => number, keys: number, valueMax: number): Op {
  let draw = random() * 100.05;
  const name = names.find((each) => {
    draw -= weights[each]!;
    return draw < 0;
  });
  // Squared, so that some keys are used far more than others.
  return [name ?? 'get', Math.floor(random() ** 2 * keys), 1 + Math.floor(random() * valueMax)];
}

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('against a naive map, 100,000 random operations each', () => {
  it.each<[string, Bounds, number]>([
    ['8: capacity 2', { entriesMax: 2 }, 6],
    ['bounded by entries', { entriesMax: 50 }, 120],
    ['bounded by weight', { entriesMax: 1000, weightMax: 2000 }, 120],
    ['bounded by entries and weight', { entriesMax: 20, weightMax: 1500 }, 60],
    ['bounded by entries, idle after 300 ms', { entriesMax: 50, idleMs: 300 }, 120],
    ['bounded by weight, idle after 300 ms', { entriesMax: 1000, weightMax: 2000, idleMs: 300 }, 120],
  ])('%s', (_, bounds, keys) => {
    const pair = new Pair(bounds);
    const random = mulberry(0x5eed);
    // Values up to 110 with a bound by weight of 2,000, and one in a few hundred heavier than all of it.
    for (let i = 0; i < 100_000; i++) {
      pair.apply(drawOp(random, keys, i % 500 === 0 ? 4000 : 110));
      if (i % 25 === 0 || bounds.entriesMax === 2) pair.agree();
    }
    pair.agree();
  });
});

const opOf = (keys: number): fc.Arbitrary<Op> =>
  fc.tuple(fc.constantFrom(...names), fc.nat(keys - 1), fc.integer({ min: 1, max: 60 }));

describe('properties', () => {
  it('any operations, under any bounds: model and cache agree, and the identities of the metrics hold', () => {
    const bounds = fc.record(
      {
        entriesMax: fc.integer({ min: 1, max: 8 }),
        weightMax: fc.integer({ min: 1, max: 150 }),
        idleMs: fc.integer({ min: 1, max: 200 }),
      },
      { requiredKeys: ['entriesMax'] },
    );
    fc.assert(
      fc.property(bounds, fc.array(opOf(12), { maxLength: 80 }), (limits, ops) => {
        const pair = new Pair(limits);
        for (const op of ops) {
          pair.apply(op);
          pair.agree();
        }
      }),
      { numRuns: 500 },
    );
  });
});
