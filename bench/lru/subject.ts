// One cache under one load in a process of its own, so that no other's compiled code and garbage weigh on it. Started
// with {subject, what, entries} as its argument; answers every message with one sample.

import { Lru, SystemClock } from '@symkeep/cache';
import { LRUCache } from 'lru-cache';
import { lru as tinyLru } from 'tiny-lru';
import { BareTable } from './bare-table.ts';
import { makeWorkload, type Workload } from './workload.ts';

/** `memory` gives bytes an entry, the others nanoseconds. */
export type Measure = 'hit' | 'get-or-set' | 'memory';

export interface Assignment {
  readonly subject: string;
  readonly what: Measure;
  readonly entries: number;
}

interface Value {
  readonly number: number;
}
interface BytesCache {
  get(key: Uint8Array, offset: number): Value | undefined;
  set(key: Uint8Array, value: Value, offset: number): unknown;
}
interface StringCache {
  get(key: string): Value | undefined;
  set(key: string, value: Value): unknown;
}
/** A cache with the two things that are measured of it. */
interface Bench {
  fill(): void;
  /** Sends all requests through the cache. */
  pass(): void;
}

const requests = 2 ** 19;
// Keys asked for by get-or-set for each entry that fits: the tail of Zipf's law misses.
const spacePerEntry = 4;
const idBytes = 20;
const taggedIdBytes = 21;
const idleMs = 3_600_000;
// Compiles what the measured cache will run, before its memory is measured.
const rehearsalEntries = 1000;

const latin1 = (bytes: Buffer, from: number, to: number): string => bytes.toString('latin1', from, to);

function benchBytes(cache: BytesCache, load: Workload, values: readonly Value[]): Bench {
  const { keys, received, order, keyBytes, offset } = load;
  return {
    fill: () => values.forEach((value, i) => void cache.set(keys, value, i * keyBytes)),
    pass: () => {
      for (let i = 0, at = offset; i < order.length; i++, at += keyBytes) {
        if (cache.get(received, at) === undefined) cache.set(received, values[order[i]!]!, at);
      }
    },
  };
}

/** Builds the key of each request from its bytes, by the cheapest way there is. */
function benchStrings(cache: StringCache, load: Workload, values: readonly Value[]): Bench {
  const { keys, received, order, keyBytes, offset } = load;
  return {
    fill: () =>
      values.forEach((value, i) => void cache.set(latin1(keys, i * keyBytes, (i + 1) * keyBytes), value)),
    pass: () => {
      for (let i = 0, at = offset; i < order.length; i++, at += keyBytes) {
        const key = latin1(received, at, at + keyBytes);
        if (cache.get(key) === undefined) cache.set(key, values[order[i]!]!);
      }
    },
  };
}

/** Has all keys as strings before the first request. */
function benchReadyStrings(cache: StringCache, load: Workload, values: readonly Value[]): Bench {
  const { keys, order, keyBytes } = load;
  const ready = values.map((_, i) => latin1(keys, i * keyBytes, (i + 1) * keyBytes));
  return {
    fill: () => values.forEach((value, i) => void cache.set(ready[i]!, value)),
    pass: () => {
      for (let i = 0; i < order.length; i++) {
        const key = ready[order[i]!]!;
        if (cache.get(key) === undefined) cache.set(key, values[order[i]!]!);
      }
    },
  };
}

const clock = new SystemClock();
type Make<C> = (entries: number) => C;
const lruOf =
  (keyBytes: number): Make<BytesCache> =>
  (entriesMax) =>
    new Lru<Value>({ clock, keyBytes, entriesMax, idleMs });
const bytesCaches: Record<string, Make<BytesCache>> = {
  symkeep: lruOf(idBytes),
  'symkeep, 21-byte keys': lruOf(taggedIdBytes),
  'bare table': (entries) => new BareTable<Value>(entries),
};
const stringCaches: Record<string, Make<StringCache>> = {
  'lru-cache, ttl': (max) => new LRUCache<string, Value>({ max, ttl: idleMs, updateAgeOnGet: true }),
  'lru-cache': (max) => new LRUCache<string, Value>({ max }),
  'tiny-lru': (max) => tinyLru<Value>(max),
};
const readySuffix = ', ready strings';

export const subjectNames = [
  ...Object.keys(bytesCaches),
  ...Object.keys(stringCaches),
  ...Object.keys(stringCaches).map((name) => name + readySuffix),
];

function benchOf(subject: string, entries: number, load: Workload, values: readonly Value[]): Bench {
  const ofBytes = bytesCaches[subject];
  if (ofBytes !== undefined) return benchBytes(ofBytes(entries), load, values);
  const isReady = subject.endsWith(readySuffix);
  const ofStrings = stringCaches[isReady ? subject.slice(0, -readySuffix.length) : subject];
  if (ofStrings === undefined) throw new Error(`no subject ${subject}`);
  return (isReady ? benchReadyStrings : benchStrings)(ofStrings(entries), load, values);
}

function keyBytesOf(subject: string): number {
  return subject.includes('21-byte') ? taggedIdBytes : idBytes;
}

/** Nanoseconds of this thread's own time, so that neighbours on the machine count as little as can be. */
function timePasses({ subject, what, entries }: Assignment): () => number {
  const space = what === 'hit' ? entries : spacePerEntry * entries;
  const load = makeWorkload(space, requests, keyBytesOf(subject));
  const values = Array.from({ length: space }, (_, number) => ({ number }));
  const bench = benchOf(subject, entries, load, values);
  bench.fill();
  return () => {
    const before = process.threadCpuUsage();
    bench.pass();
    const { user, system } = process.threadCpuUsage(before);
    return ((user + system) * 1000) / requests;
  };
}

/** Heap and buffers that a full cache of one shared value adds, for each entry. */
function weighEntries({ subject, entries }: Assignment): () => number {
  const fill = (count: number): Bench => {
    const load = makeWorkload(count, 1, keyBytesOf(subject));
    const bench = benchOf(subject, count, load, new Array<Value>(count).fill({ number: 0 }));
    bench.fill();
    return bench;
  };
  fill(rehearsalEntries);
  return () => {
    const load = makeWorkload(entries, 1, keyBytesOf(subject));
    const values = new Array<Value>(entries).fill({ number: 0 });
    const before = usedBytes();
    const bench = benchOf(subject, entries, load, values);
    bench.fill();
    const bytes = usedBytes() - before;
    // Keeps the cache alive until it is weighed.
    bench.pass();
    return bytes / entries;
  };
}

function usedBytes(): number {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc, as `npm run bench` does');
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const argument = process.argv[2];
if (process.send !== undefined && argument !== undefined) {
  const assignment = JSON.parse(argument) as Assignment;
  const sample = assignment.what === 'memory' ? weighEntries(assignment) : timePasses(assignment);
  process.on('message', () => process.send?.(sample()));
}
