// What every store promises, run on memory, on a real Redis and on a real Cluster.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type EventCursor,
  type Store,
  type StoreEvent,
  StoreUnavailable,
  type Swap,
  shardCount,
} from '../src/index.ts';
import { describeFields } from './fields-contract.ts';
import { describeRankings } from './ranking-contract.ts';

/** One empty store. `pass` lets time go by where it is simulated; elsewhere it goes by itself. */
export interface Subject {
  readonly store: Store;
  pass(ms: number): void;
}

export type OpenSubject = (options?: { readonly eventsKept?: number }) => Promise<Subject>;

export const bytes = (text: string): Uint8Array => Buffer.from(text);
const allBytes = Uint8Array.from({ length: 256 }, (_, i) => i);
const eventsMax = 100_000;

export function ok<T>(answer: T | StoreUnavailable): T {
  if (answer instanceof StoreUnavailable) throw answer;
  return answer;
}

function put(key: string, value: string, more: Partial<Swap> = {}): Swap {
  return { at: { shard: 5, key }, expected: null, value: bytes(value), ...more };
}

async function readAll(store: Store, from: EventCursor, limit = eventsMax): Promise<StoreEvent[]> {
  const events: StoreEvent[] = [];
  for (let cursor = from; ; ) {
    const page = ok(await store.readEvents(cursor, limit));
    expect(page.reset).toBe(false);
    expect(page.events.length).toBeLessThanOrEqual(limit);
    if (page.events.length === 0) return events;
    events.push(...page.events);
    cursor = page.cursor;
  }
}

export function describeStore(name: string, open: OpenSubject): void {
  describe(`${name} keeps the store contract`, () => {
    describeValues(open);
    describeEvents(open);
    describeWaiting(open);
    describeIndex(open);
    describeFields(open);
    describeRankings(open);
    describeEpochs(open);
    describeModel(open);
  });
}

function describeValues(open: OpenSubject): void {
  test('reads come back in order, whatever their shard, twice if asked twice', async () => {
    const { store } = await open();
    expect(await store.get([])).toEqual([]);
    const keys = Array.from({ length: 700 }, (_, i) => ({ shard: i % shardCount, key: `k${i}` }));
    ok((await store.swap(keys.map((at) => ({ at, expected: null, value: bytes(at.key) }))))[699]!);
    const asked = [...keys].reverse().concat(keys.slice(3, 9), { shard: 1, key: 'k0' });
    const values = await store.get(asked);
    expect(values.slice(0, -1).map((value) => Buffer.from(ok(value)!).toString())).toEqual(
      asked.slice(0, -1).map(({ key }) => key),
    );
    expect(values.at(-1)).toBeNull();
  });

  test('a swap happens only on what was expected, and says what is there', async () => {
    const { store } = await open();
    expect(await store.swap([put('a', 'one')])).toEqual([{ swapped: true, epoch: null }]);
    const [refused] = await store.swap([put('a', 'two')]);
    expect(refused).toMatchObject({ swapped: false, epoch: null });
    expect(Buffer.from((refused as { current: Uint8Array }).current).toString()).toBe('one');
    const [absent] = await store.swap([put('b', 'two', { expected: bytes('x') })]);
    expect(absent).toEqual({ swapped: false, current: null, epoch: null });
    expect(await store.swap([put('a', 'two', { expected: bytes('one') })])).toMatchObject([
      { swapped: true },
    ]);
    expect(
      (await store.get([{ shard: 5, key: 'a' }])).map((read) => Buffer.from(ok(read)!).toString()),
    ).toEqual(['two']);
  });

  test('null removes, and an empty value is none', async () => {
    const { store } = await open();
    const at = { shard: 9, key: 'e' };
    await store.swap([{ at, expected: null, value: bytes('') }]);
    expect(ok((await store.get([at]))[0]!)).toHaveLength(0);
    expect(await store.swap([{ at, expected: null, value: bytes('x') }])).toMatchObject([{ swapped: false }]);
    expect(await store.swap([{ at, expected: bytes(''), value: null }])).toMatchObject([{ swapped: true }]);
    expect(await store.get([at])).toEqual([null]);
    expect(await store.swap([{ at, expected: null, value: null }])).toMatchObject([{ swapped: true }]);
  });

  test('every byte survives, as value, field, expectation and event', async () => {
    const { store } = await open();
    const at = { shard: 63, key: 'bin', field: '\u0000\u{1F600} f' };
    const event = allBytes.toReversed();
    await store.swap([{ at, expected: null, value: allBytes, event }]);
    expect(Buffer.from(ok((await store.get([at]))[0]!)!)).toEqual(Buffer.from(allBytes));
    const [event1] = await readAll(store, new Array(shardCount).fill(0));
    expect(Buffer.from(event1!.payload)).toEqual(Buffer.from(event));
    expect(await store.swap([{ at, expected: allBytes, value: bytes('next') }])).toMatchObject([
      { swapped: true },
    ]);
  });

  test('bytes that were passed or returned are not the store’s own', async () => {
    const { store } = await open();
    const at = { shard: 2, key: 'own' };
    const value = Uint8Array.of(1, 2, 3);
    await store.swap([{ at, expected: null, value }]);
    value[0] = 9;
    const [read] = await store.get([at]);
    (ok(read!) as Uint8Array)[1] = 9;
    expect(Array.from(ok((await store.get([at]))[0]!)!)).toEqual([1, 2, 3]);
  });

  test('swaps of one batch are independent, in order, each with its own outcome', async () => {
    const { store } = await open();
    const outcomes = await store.swap([
      put('same', '1'),
      put('same', '2'),
      put('same', '3', { expected: bytes('1') }),
      { at: { shard: 40, key: 'other' }, expected: bytes('absent'), value: bytes('x') },
    ]);
    expect(outcomes.map((outcome) => ok(outcome).swapped)).toEqual([true, false, true, false]);
    expect(Buffer.from(ok((await store.get([{ shard: 5, key: 'same' }]))[0]!)!).toString()).toBe('3');
  });

  test('concurrent writers lose nothing', async () => {
    const { store } = await open();
    const at = { shard: 11, key: 'count' };
    const add = async (): Promise<void> => {
      for (;;) {
        const expected = ok((await store.get([at]))[0]!);
        const value = bytes(String(Number(expected === null ? 0 : Buffer.from(expected).toString()) + 1));
        if (ok((await store.swap([{ at, expected, value }]))[0]!).swapped) return;
      }
    };
    await Promise.all(Array.from({ length: 20 }, add));
    expect(Buffer.from(ok((await store.get([at]))[0]!)!).toString()).toBe('20');
  });

  test('the clock is Unix time in milliseconds and does not go back', async () => {
    const { store } = await open();
    const first = ok(await store.now());
    expect(Number.isInteger(first)).toBe(true);
    expect(ok(await store.now())).toBeGreaterThanOrEqual(first);
  });

  test('every shard is served by one node, whose identity stands', async () => {
    const { store } = await open();
    const nodes = ok(await store.nodes());
    const shards = nodes.flatMap((node) => node.shards).sort((a, b) => a - b);
    expect(shards).toEqual(Array.from({ length: shardCount }, (_, shard) => shard));
    expect(new Set(nodes.map((node) => node.identity)).size).toBe(nodes.length);
    expect(ok(await store.nodes())).toEqual(nodes);
  });
}

function describeEvents(open: OpenSubject): void {
  const start: EventCursor = new Array<number>(shardCount).fill(0);

  test('events count from 1 in each shard, in order, and only if the swap happened', async () => {
    const { store } = await open();
    expect(ok(await store.eventTail())).toEqual(start);
    await store.swap([put('a', '1', { event: bytes('a1') }), put('a', '2', { event: bytes('never') })]);
    await store.swap([put('b', '1', { event: bytes('b1') }), put('c', '1')]);
    await store.swap([{ at: { shard: 6, key: 'a' }, expected: null, value: bytes('x'), event: bytes('s6') }]);
    const events = await readAll(store, start);
    const seen = events.map(({ shard, sequence, payload }) => `${shard}/${sequence}/${Buffer.from(payload)}`);
    expect(seen).toEqual(['5/1/a1', '5/2/b1', '6/1/s6']);
    const tail = ok(await store.eventTail());
    expect([tail[5], tail[6], tail[7]]).toEqual([2, 1, 0]);
    expect(ok(await store.readEvents(tail, 10))).toEqual({
      events: [],
      cursor: tail,
      reset: false,
      outage: null,
    });
  });

  test('pages of any size give each event once', async () => {
    const { store } = await open();
    const swaps = Array.from({ length: 300 }, (_, i) => ({
      at: { shard: (i * i) % shardCount, key: `k${i}` },
      expected: null,
      value: bytes('v'),
      event: bytes(String(i)),
    }));
    await store.swap(swaps);
    for (const limit of [1, 7, 64, 100, 1_000]) {
      const payloads = (await readAll(store, start, limit)).map(({ payload }) =>
        Number(Buffer.from(payload).toString()),
      );
      expect(payloads.sort((a, b) => a - b)).toEqual(swaps.map((_, i) => i));
    }
  });

  test('a cursor that the trim has passed is answered by a reset to the end', async () => {
    const { store } = await open({ eventsKept: 10 });
    const swaps = Array.from({ length: 1_000 }, (_, i) => put(`k${i}`, 'v', { event: bytes(String(i)) }));
    await store.swap(swaps);
    const tail = ok(await store.eventTail());
    expect(tail[5]).toBe(1_000);
    expect(ok(await store.readEvents(start, 10))).toEqual({
      events: [],
      cursor: tail,
      reset: true,
      outage: null,
    });
    const near = tail.map((sequence, shard) => (shard === 5 ? sequence - 10 : sequence));
    expect((await readAll(store, near)).map(({ sequence }) => sequence)).toEqual([
      991, 992, 993, 994, 995, 996, 997, 998, 999, 1000,
    ]);
  });

  test('a cursor ahead of the log is answered by a reset: the log went back', async () => {
    const { store } = await open();
    await store.swap([put('a', '1', { event: bytes('1') })]);
    const tail = ok(await store.eventTail());
    const ahead = (shard: number, by: number) =>
      tail.map((sequence, i) => (i === shard ? sequence + by : sequence));
    for (const cursor of [ahead(5, 1), ahead(5, 50), ahead(8, 1)]) {
      expect(ok(await store.readEvents(cursor, 10))).toEqual({
        events: [],
        cursor: tail,
        reset: true,
        outage: null,
      });
    }
  });
}

function describeWaiting(open: OpenSubject): void {
  const start: EventCursor = new Array<number>(shardCount).fill(0);
  const event = put('w', '1', { event: bytes('e') });

  test('a wait ends with the first event, and other commands go on meanwhile', async () => {
    const { store } = await open();
    let ended = false;
    const waiting = store.waitForEvents(start, 60_000).then((answer) => {
      ended = true;
      return answer;
    });
    await store.swap([put('silent', '1')]);
    expect(await store.get([{ shard: 5, key: 'w' }])).toEqual([null]);
    expect(ended).toBe(false);
    await store.swap([event]);
    await passing(store, waiting);
    expect(ok(await store.readEvents(start, 10)).events).toHaveLength(1);
    await store.close();
  });

  test('a wait for what is already there ends at once', async () => {
    const { store } = await open();
    await store.swap([event]);
    expect(await store.waitForEvents(start, 60_000)).toBeUndefined();
    await store.close();
  });

  test('a wait ends after its time', async () => {
    const { store, pass } = await open();
    const waiting = store.waitForEvents(start, 30);
    pass(30);
    expect(await waiting).toBeUndefined();
    expect(await store.waitForEvents(start, 0)).toBeUndefined();
    await store.close();
  });

  test('an abort ends a wait, and the next wait works', async () => {
    const { store } = await open();
    const abort = new AbortController();
    const waiting = store.waitForEvents(start, 60_000, abort.signal);
    await store.now();
    abort.abort();
    expect(await waiting).toBeUndefined();
    expect(await store.waitForEvents(start, 60_000, abort.signal)).toBeUndefined();
    const next = store.waitForEvents(start, 60_000);
    await store.swap([event]);
    await passing(store, next);
    await store.close();
  });
}

async function passing(store: Store, waiting: Promise<unknown>): Promise<void> {
  expect(await waiting).toBeUndefined();
  await store.now();
}

function describeIndex(open: OpenSubject): void {
  // In the order of their UTF-8 bytes, which is not that of UTF-16 units: U+FF5E comes before U+1F600.
  const members = [
    '!',
    '0',
    'a',
    'a0',
    'aa',
    'b',
    'é',
    '\uD7FF',
    '\uE000',
    '\uFF5E',
    '\u{1F600}',
    '\u{10FFFF}',
  ];

  test('members come in the order of their bytes, page by page', async () => {
    const { store } = await open();
    const shuffled = members.filter((_, i) => i % 2 === 1).concat(members.filter((_, i) => i % 2 === 0));
    await store.swap([put('i', '1', { index: { add: [...shuffled, 'b'], remove: ['none'] } })]);
    for (const limit of [1, 5, 100]) {
      const scanned: string[] = [];
      for (let page: readonly string[]; ; scanned.push(...page)) {
        page = ok(await store.scanIndex(5, scanned.at(-1) ?? '', limit));
        expect(page.length).toBeLessThanOrEqual(limit);
        if (page.length === 0) break;
      }
      expect(scanned).toEqual(members);
    }
    expect(ok(await store.scanIndex(5, 'a00', 2))).toEqual(['aa', 'b']);
    expect(ok(await store.scanIndex(6, '', 10))).toEqual([]);
  });

  test('the index changes with the swap or not at all', async () => {
    const { store } = await open();
    await store.swap([put('i', '1', { index: { add: ['x', 'y'], remove: [] } })]);
    await store.swap([put('i', '2', { index: { add: ['z'], remove: ['x'] } })]);
    expect(ok(await store.scanIndex(5, '', 10))).toEqual(['x', 'y']);
    await store.swap([put('i', '2', { expected: bytes('1'), index: { add: ['z'], remove: ['x'] } })]);
    expect(ok(await store.scanIndex(5, '', 10))).toEqual(['y', 'z']);
  });
}

function describeEpochs(open: OpenSubject): void {
  test('an epoch value is set by compare-and-set and comes back with each swap of its shard', async () => {
    const { store } = await open();
    expect(ok(await store.epochs())).toEqual(new Array(shardCount).fill(null));
    expect(ok(await store.swapEpoch(5, 'wrong', 'e1'))).toBe(false);
    expect(ok(await store.swapEpoch(5, null, 'e1'))).toBe(true);
    expect(ok(await store.swapEpoch(5, null, 'e2'))).toBe(false);
    expect(ok(await store.swapEpoch(5, null, 'e1'))).toBe(true);
    expect(ok(await store.swapEpoch(5, 'e1', 'e2 of ü'))).toBe(true);
    const epochs = ok(await store.epochs());
    expect([epochs[4], epochs[5], epochs[6]]).toEqual([null, 'e2 of ü', null]);
    expect(await store.swap([put('a', '1'), put('a', '2')])).toMatchObject([
      { swapped: true, epoch: 'e2 of ü' },
      { swapped: false, epoch: 'e2 of ü' },
    ]);
  });

  test('of many that set an epoch value one wins', async () => {
    const { store } = await open();
    const won = await Promise.all(Array.from({ length: 12 }, (_, i) => store.swapEpoch(3, null, `e${i}`)));
    expect(won.filter((answer) => ok(answer))).toHaveLength(1);
    expect(ok(await store.epochs())[3]).toBe(`e${won.indexOf(true)}`);
  });
}

/**
 * Random batches against a plain map: the outcome of every swap, what is there at the end, and one event per
 * change.
 */
function describeModel(open: OpenSubject): void {
  const value = fc.constantFrom(null, 'a', 'b', '');
  const step = fc.record({
    shard: fc.constantFrom(0, 1, 63),
    key: fc.constantFrom('k', 'l'),
    expected: value,
    value,
    loud: fc.boolean(),
  });

  test('random batches agree with a map', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { maxLength: 12 }),
        async (batches) => {
          const { store } = await open();
          const model = new Map<string, string>();
          let events = 0;
          for (const batch of batches) {
            const swaps = batch.map(({ shard, key, expected, value, loud }) => ({
              at: { shard, key },
              expected: expected === null ? null : bytes(expected),
              value: value === null ? null : bytes(value),
              ...(loud ? { event: bytes('!') } : {}),
            }));
            const outcomes = await store.swap(swaps);
            for (const [i, { shard, key, expected, value, loud }] of batch.entries()) {
              const name = `${shard}/${key}`;
              const swapped = (model.get(name) ?? null) === expected;
              expect(ok(outcomes[i]!).swapped).toBe(swapped);
              if (!swapped) continue;
              if (loud) events++;
              if (value === null) model.delete(name);
              else model.set(name, value);
            }
          }
          const keys = [0, 1, 63].flatMap((shard) => ['k', 'l'].map((key) => ({ shard, key })));
          const held = (await store.get(keys)).map((read) =>
            ok(read) === null ? null : Buffer.from(ok(read)!).toString(),
          );
          expect(held).toEqual(keys.map(({ shard, key }) => model.get(`${shard}/${key}`) ?? null));
          expect(ok(await store.eventTail()).reduce((sum, sequence) => sum + sequence, 0)).toBe(events);
        },
      ),
      { numRuns: 40 },
    );
  });
}
