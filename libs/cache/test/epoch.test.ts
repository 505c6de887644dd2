// The epoch changes whenever the store may have lost something, and only then; all servers agree on it.
import { beforeEach, describe, expect, test } from 'vitest';
import { Epoch, ManualClock, MemoryStore, StoreUnavailable, shardCount } from '../src/index.ts';
import { ok } from './store-contract.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);

let clock: ManualClock;
let store: MemoryStore;
let drawn: number;

function server(of = store): Epoch {
  return new Epoch(of, { random: () => `r${drawn++}` });
}

beforeEach(() => {
  clock = new ManualClock();
  store = new MemoryStore({ clock, nodes: 3 });
  drawn = 0;
});

test('an epoch is made once, is opaque text of 32 characters, and stands while nothing is lost', async () => {
  const first = server();
  expect(first.current).toBeUndefined();
  const epoch = ok(await first.check());
  expect(epoch).toMatch(/^[A-Za-z0-9_-]{32}$/);
  expect(first.current).toBe(epoch);
  await store.swap([{ at: { shard: 1, key: 'k' }, expected: null, value: bytes('v'), event: bytes('e') }]);
  expect(await first.check()).toBe(epoch);
  expect(first.counts).toMatchObject({ partsMade: shardCount, changes: 0 });
});

test('many servers that meet a new store at once converge on one epoch', async () => {
  const servers = Array.from({ length: 8 }, () => server());
  const epochs = await Promise.all(servers.map((one) => one.check()));
  expect(new Set(epochs).size).toBe(1);
  expect(servers.reduce((made, one) => made + one.counts.partsMade, 0)).toBe(shardCount);
});

const losses: Readonly<Record<string, () => void>> = {
  'all is flushed': () => store.flush(),
  'one shard is flushed': () => store.flush([17]),
  'one of three nodes is flushed': () => store.flush(Array.from({ length: 22 }, (_, i) => i)),
  'a node restarts': () => store.restart(1),
  'a failover keeps the epoch key and loses three seconds': () => store.failover(2, 3_000),
  'a failover loses nothing, as far as anyone can tell': () => store.failover(0, 0),
};

describe('the epoch changes when', () => {
  for (const [what, lose] of Object.entries(losses)) {
    test(what, async () => {
      const one = server();
      const other = server();
      const before = ok(await one.check());
      await other.check();
      clock.advanceSync(10_000);
      const heard: string[] = [];
      one.onChange((epoch) => heard.push(epoch));
      lose();
      const after = ok(await one.check());
      expect(one.counts.changes).toBe(1);
      expect(after).not.toBe(before);
      expect(heard).toEqual([after]);
      expect(await other.check()).toBe(after);
      expect([await one.check(), heard.length]).toEqual([after, 1]);
    });
  }

  test('a backup is restored, and again when the same backup is restored again', async () => {
    const one = server();
    await one.check();
    const backup = store.snapshot();
    clock.advanceSync(36_000_000);
    const seen = new Set([one.current]);
    for (let i = 0; i < 3; i++) {
      store.restore(backup);
      seen.add(ok(await one.check()));
    }
    expect(seen.size).toBe(4);
  });

  test('another store answers behind the same address', async () => {
    const one = server();
    const before = ok(await one.check());
    const other = server(new MemoryStore({ clock, nodes: 3, name: 'other' }));
    expect(await other.check()).not.toBe(before);
  });
});

test('an outage is no loss: the epoch is known on, and stands when the store is back', async () => {
  const one = server();
  const epoch = ok(await one.check());
  store.down(1);
  expect(await one.check()).toMatchObject({ reason: 'unreachable' });
  expect(one.current).toBe(epoch);
  store.up(1);
  expect(await one.check()).toBe(epoch);
  expect(one.counts).toMatchObject({ outages: 1, changes: 0 });
});

test('a store that answers one question and is away for the next is an outage', async () => {
  const one = server();
  const epoch = ok(await one.check());
  const { nodes } = store;
  store.nodes = async () => {
    const answer = await nodes.call(store);
    store.down(2);
    return answer;
  };
  expect(await one.check()).toMatchObject({ reason: 'unreachable' });
  expect(one.current).toBe(epoch);
});

test('a full store that lost its parts has no epoch until it takes writes again', async () => {
  const one = server();
  const before = ok(await one.check());
  store.flush([5]);
  store.setFull(0, true);
  expect(await one.check()).toMatchObject({ reason: 'store_full' });
  expect(one.current).toBe(before);
  store.setFull(0, false);
  expect(await one.check()).not.toBe(before);
});

describe('a reply', () => {
  const swap = { at: { shard: 5, key: 'k' }, expected: null, value: bytes('v') };

  async function confirmed(one: Epoch): Promise<StoreUnavailable | null> {
    const sample = ok(one.sample());
    const [swapped] = await store.swap([swap]);
    sample.confirm(5, ok(swapped!).epoch);
    return sample.outage();
  }

  test('cannot be sampled before the store was seen', () => {
    expect(server().sample()).toBeInstanceOf(StoreUnavailable);
  });

  test('carries the epoch of its sample if nothing happened', async () => {
    const one = server();
    const epoch = ok(await one.check());
    expect(ok(one.sample()).epoch).toBe(epoch);
    expect(await confirmed(one)).toBeNull();
  });

  test('is an outage if its write fell into a store that was just flushed, and the next is not', async () => {
    const one = server();
    const before = ok(await one.check());
    store.flush();
    expect(await confirmed(one)).toMatchObject({ reason: 'epoch_changed' });
    expect(ok(await one.check())).not.toBe(before);
    expect(await confirmed(one)).toBeNull();
  });

  test('is an outage if another server had renewed the part', async () => {
    const [one, other] = [server(), server()];
    await one.check();
    await other.check();
    store.restart(0);
    await other.check();
    expect(await confirmed(one)).toMatchObject({ reason: 'epoch_changed' });
    expect(await one.check()).toBe(other.current);
  });

  test('is an outage if the epoch changed between its sample and its end', async () => {
    const one = server();
    await one.check();
    const sample = ok(one.sample());
    store.restart(0);
    await one.check();
    expect(sample.outage()).toMatchObject({ reason: 'epoch_changed' });
    expect(ok(one.sample()).outage()).toBeNull();
  });
});
