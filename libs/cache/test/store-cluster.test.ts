// The store contract on a real Cluster of three, and what it answers while one of them is away.
import { Cluster } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisAvailable, TestCluster, type TestRedis } from '../../../tools/test-redis.ts';
import { RedisStore, StoreUnavailable, SystemClock, shardCount, storeClientOptions } from '../src/index.ts';
import { describeStore, ok } from './store-contract.ts';

describe.skipIf(!redisAvailable)('redis cluster', () => {
  let servers: TestCluster;
  let client: Cluster;
  let subjects = 0;

  beforeAll(async () => {
    servers = await TestCluster.start();
    const { enableOfflineQueue: _, ...redisOptions } = storeClientOptions;
    client = new Cluster(servers.addresses, {
      redisOptions,
      clusterNodeRetryStrategy: () => 10,
      lazyConnect: true,
    });
    await client.connect();
  });
  afterAll(async () => {
    client.disconnect();
    await servers.remove();
  });

  describeStore('a Redis Cluster', async (options = {}) => {
    const store = new RedisStore(client, {
      clock: new SystemClock(),
      namespace: `t${subjects++}`,
      ...options,
    });
    return { store, pass: () => undefined };
  });

  test('while a master is away its shards are outages and the others are served; then all are again', async () => {
    const store = new RedisStore(client, { clock: new SystemClock(), namespace: 'away' });
    const keys = Array.from({ length: shardCount }, (_, shard) => ({ shard, key: 'k' }));
    const value = Buffer.from('v');
    await store.swap(keys.map((at) => ({ at, expected: null, value, event: value })));
    const before = ok(await store.nodes());
    // Shard 2 has slot 4996, of the first master's third.
    const gone = before.find(({ shards }) => shards.includes(2))!;
    const other = before.find((node) => node !== gone)!;
    await servers.masters[0]!.kill();
    const start = new Array<number>(shardCount).fill(0);
    const reads = await store.get(keys);
    const outcomes = await store.swap(
      keys.map((at) => ({ at, expected: value, value: Buffer.from('w'), event: value })),
    );
    const away = keys.filter((_, i) => reads[i] instanceof StoreUnavailable).map(({ shard }) => shard);
    expect(away).toEqual([...gone.shards]);
    for (const [shard, read] of reads.entries()) if (!away.includes(shard)) expect(ok(read)).not.toBeNull();
    for (const [shard, outcome] of outcomes.entries()) {
      if (away.includes(shard)) expect(outcome).toMatchObject({ reason: 'unreachable' });
      else expect(outcome).toMatchObject({ swapped: true });
    }
    const page = ok(await store.readEvents(start, 1_000));
    expect(page.events).toHaveLength(2 * (shardCount - away.length));
    expect(page.outage).toMatchObject({ reason: 'unreachable' });
    expect(away.map((shard) => page.cursor[shard])).toEqual(away.map(() => 0));
    expect(other.shards.map((shard) => page.cursor[shard])).toEqual(other.shards.map(() => 2));
    expect(await store.nodes()).toMatchObject({ reason: 'unreachable' });
    expect(typeof (await store.now())).toBe('number');

    await servers.masters[0]!.start();
    await servers.masters[0]!.until('cluster_state:ok', 'CLUSTER', 'INFO');
    let nodes = await store.nodes();
    while (nodes instanceof StoreUnavailable) nodes = await store.nodes();
    expect(nodes.map(({ shards }) => shards.length).reduce((sum, n) => sum + n)).toBe(shardCount);
    expect(nodes.some(({ identity }) => identity === gone.identity)).toBe(false);
    // It came back empty: its shards have lost what they had, and say so.
    const page2 = ok(
      await store.readEvents(
        start.map((_, shard) => (away.includes(shard) ? 1 : 2)),
        10,
      ),
    );
    expect(page2.reset).toBe(true);
  });

  test('a slot that moves takes its shard along', async () => {
    const store = new RedisStore(client, { clock: new SystemClock(), namespace: 'moving' });
    const at = { shard: 0, key: 'k' };
    const value = Buffer.from('v');
    await store.swap([{ at, expected: null, value }]);
    const slot = await servers.masters[0]!.cli('CLUSTER', 'KEYSLOT', '{00}');
    const range = (i: number) =>
      Number(slot) >= Math.floor((i * 16_384) / 3) && Number(slot) < Math.floor(((i + 1) * 16_384) / 3);
    const from = servers.masters.find((_, i) => range(i))!;
    const to = servers.masters.find((_, i) => !range(i))!;
    const idOf = (redis: TestRedis) => redis.cli('CLUSTER', 'MYID');
    await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await idOf(from));
    await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await idOf(to));
    const migrated = (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, '1000')).split('\n');
    for (const key of migrated) await from.cli('MIGRATE', '127.0.0.1', String(to.port), key, '0', '1000');
    // Half moved: the old node sends each command on to the new one.
    expect((await store.get([at])).map((read) => Buffer.from(ok(read)!).toString())).toEqual(['v']);
    for (const master of [to, from]) await master.cli('CLUSTER', 'SETSLOT', slot, 'NODE', await idOf(to));
    expect(await store.swap([{ at, expected: value, value: Buffer.from('w') }])).toMatchObject([
      { swapped: true },
    ]);
    expect((await store.get([at])).map((read) => Buffer.from(ok(read)!).toString())).toEqual(['w']);
  });
});
