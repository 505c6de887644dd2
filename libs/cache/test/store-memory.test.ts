// The store contract in memory, and the levers of what can happen to a store.
import { describe, expect, test } from 'vitest';
import { ManualClock, MemoryStore, type StoreUnavailable, type Swap, shardCount } from '../src/index.ts';
import { describeStore, ok } from './store-contract.ts';

for (const nodes of [1, 3]) {
  describeStore(`a memory store of ${nodes}`, async (options = {}) => {
    const clock = new ManualClock();
    return { store: new MemoryStore({ clock, nodes, ...options }), pass: (ms) => clock.advanceSync(ms) };
  });
}

describe('a memory store', () => {
  const clock = new ManualClock();
  const open = () => new MemoryStore({ clock, nodes: 3 });
  const bytes = (text: string): Uint8Array => Buffer.from(text);
  const put = (shard: number, value: string, expected: string | null = null): Swap => ({
    at: { shard, key: 'k' },
    expected: expected === null ? null : bytes(expected),
    value: bytes(value),
    event: bytes(`${shard}=${value}`),
    index: { add: [value], remove: expected === null ? [] : [expected] },
  });
  const first = 0;
  const last = shardCount - 1;
  const readAt = async (store: MemoryStore, shard: number) => {
    const value = ok((await store.get([{ shard, key: 'k' }]))[0]!);
    return value === null ? null : Buffer.from(value).toString();
  };

  test('answers for the nodes that are up while one is away', async () => {
    const store = open();
    await store.swap([put(first, 'a'), put(last, 'b')]);
    store.down(0);
    const [away, there] = await store.get([first, last].map((shard) => ({ shard, key: 'k' })));
    expect(away).toMatchObject({ reason: 'unreachable' });
    expect(Buffer.from(there as Uint8Array).toString()).toBe('b');
    expect(await store.swap([put(first, 'x', 'a'), put(last, 'c', 'b')])).toMatchObject([
      { reason: 'unreachable' },
      { swapped: true },
    ]);
    const page = ok(await store.readEvents(new Array(shardCount).fill(0), 100));
    expect(page.events.map(({ payload }) => Buffer.from(payload).toString())).toEqual([
      `${last}=b`,
      `${last}=c`,
    ]);
    expect([page.outage?.reason, page.cursor[first], page.cursor[last]]).toEqual(['unreachable', 0, 2]);
    for (const whole of [store.nodes(), store.epochs(), store.eventTail()]) {
      expect(await whole).toMatchObject({ reason: 'unreachable' });
    }
    store.down(1);
    store.down(2, 'wrong_role');
    for (const all of [
      store.now(),
      store.readEvents(page.cursor, 1),
      store.waitForEvents(page.cursor, 1_000),
    ]) {
      expect(await all).toMatchObject({ name: 'StoreUnavailable' });
    }
    for (const node of [0, 1, 2]) store.up(node);
    expect(await readAt(store, first)).toBe('a');
  });

  test('full refuses writes and answers reads', async () => {
    const store = open();
    await store.swap([put(first, 'a')]);
    store.setFull(0, true);
    expect(await store.swap([put(first, 'b', 'a')])).toMatchObject([{ reason: 'store_full' }]);
    expect(await readAt(store, first)).toBe('a');
    store.setFull(0, false);
    expect(await store.swap([put(first, 'b', 'a')])).toMatchObject([{ swapped: true }]);
  });

  test('a failover loses the changes of the time it lags, of its node alone', async () => {
    const store = open();
    await store.swap([put(first, '1'), put(last, '1')]);
    await store.swapEpoch(first, null, 'kept');
    clock.advanceSync(5_000);
    await store.swap([put(first, '2', '1'), put(last, '2', '1')]);
    await store.swap([put(first, '3', '2')]);
    await store.swap([{ at: { shard: first, key: 'new', field: 'f' }, expected: null, value: bytes('x') }]);
    clock.advanceSync(1_000);
    const before = ok(await store.nodes()).map(({ identity }) => identity);
    store.failover(0, 3_000);
    expect([await readAt(store, first), await readAt(store, last)]).toEqual(['1', '2']);
    expect(ok(await store.countFields({ shard: first, key: 'new' }))).toBe(0);
    expect(ok(await store.scanIndex(first, '', 10))).toEqual(['1']);
    expect(ok(await store.eventTail())[first]).toBe(1);
    expect(ok(await store.epochs())[first]).toBe('kept');
    const after = ok(await store.nodes()).map(({ identity }) => identity);
    expect(after.map((identity, i) => identity === before[i])).toEqual([false, true, true]);
    expect(() => store.failover(0, 60_000)).toThrow(RangeError);
  });

  test('a backup holds what was there and nothing later', async () => {
    const store = open();
    await store.swap([put(first, '1'), put(last, '1')]);
    await store.swapEpoch(last, null, 'old');
    const backup = store.snapshot();
    await store.swap([put(first, '2', '1')]);
    await store.swapEpoch(last, 'old', 'new');
    store.restore(backup);
    expect([
      await readAt(store, first),
      ok(await store.epochs())[last],
      ok(await store.eventTail())[first],
    ]).toEqual(['1', 'old', 1]);
    await store.swap([put(first, '9', '1')]);
    store.restore(backup);
    expect(await readAt(store, first)).toBe('1');
  });

  test('a flush takes all of some shards and tells nobody', async () => {
    const store = open();
    await store.swap([put(first, '1'), put(last, '1')]);
    const identities = ok(await store.nodes());
    store.flush([first]);
    expect([await readAt(store, first), await readAt(store, last)]).toEqual([null, '1']);
    expect(ok(await store.nodes())).toEqual(identities);
    const outages: (StoreUnavailable | null)[] = [
      ok(await store.readEvents(new Array(shardCount).fill(0), 10)).outage,
    ];
    expect(outages).toEqual([null]);
  });
});
