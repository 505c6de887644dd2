// The store contract on a real Redis, and what a real Redis does when it is full, a replica, slow or gone.
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { redisAvailable, TestRedis, type TestRedisOptions } from '../../../tools/test-redis.ts';
import {
  type EventCursor,
  RedisStore,
  redisFitness,
  StoreUnavailable,
  type Swap,
  SystemClock,
  shardCount,
  storeClientOptions,
} from '../src/index.ts';
import { describeStore, ok } from './store-contract.ts';

describe.skipIf(!redisAvailable)('redis', () => {
  let server: TestRedis;
  let client: Redis;
  let subjects = 0;

  beforeAll(async () => {
    server = await TestRedis.start();
    client = new Redis({ ...storeClientOptions, path: server.socket, lazyConnect: true });
    await client.connect();
  });
  afterAll(async () => {
    client.disconnect();
    await server.remove();
  });

  describeStore('a Redis', async (options = {}) => {
    const store = new RedisStore(client, {
      clock: new SystemClock(),
      namespace: `t${subjects++}`,
      ...options,
    });
    return { store, pass: () => undefined };
  });

  describe('in trouble', () => {
    const at = { shard: 5, key: 'k' };
    const swap = (expected: string | null, value: string): Swap => ({
      at,
      expected: expected === null ? null : Buffer.from(expected),
      value: Buffer.from(value),
      event: Buffer.from(value),
    });
    const start: EventCursor = new Array<number>(shardCount).fill(0);
    const opened: { remove(): Promise<void> }[] = [];

    async function open(
      options: TestRedisOptions = {},
    ): Promise<{ own: TestRedis; store: RedisStore; link: Redis }> {
      const own = await TestRedis.start(options);
      const link = new Redis({
        ...storeClientOptions,
        commandTimeout: 300,
        path: own.socket,
        retryStrategy: () => 10,
      });
      link.on('error', () => undefined);
      const store = new RedisStore(link, { clock: new SystemClock() });
      opened.push(own, { remove: async () => link.disconnect() }, { remove: () => store.close() });
      await untilUp(store);
      return { own, store, link };
    }

    async function untilUp(store: RedisStore): Promise<void> {
      while ((await store.now()) instanceof StoreUnavailable)
        await new Promise((resolve) => setImmediate(resolve));
    }

    /** Every question of a store, while it cannot answer. */
    async function answersOf(store: RedisStore): Promise<unknown[]> {
      const answers = await Promise.all([
        store.get([at, { ...at, field: 'f' }]),
        store.swap([swap('1', '2'), swap(null, '3')]),
        store.countFields(at),
        store.scanIndex(5, '', 10),
        store.now(),
        store.eventTail(),
        store.readEvents(start, 10),
        store.waitForEvents(
          start.map((_, shard) => (shard === 5 ? 1 : 0)),
          50,
        ),
        store.nodes(),
        store.epochs(),
        store.swapEpoch(5, null, 'e'),
      ]);
      return answers.flat();
    }

    /** All of them; a wait may also end as one that nothing has come to. */
    function expectOutages(answers: readonly unknown[]): void {
      const reasons = answers.map((answer) => (answer instanceof StoreUnavailable ? answer.reason : answer));
      expect(new Set(reasons.filter((reason) => reason !== undefined))).toEqual(new Set(['unreachable']));
      expect(reasons.length - reasons.filter((reason) => reason === 'unreachable').length).toBeLessThan(2);
    }

    afterEach(async () => {
      for (const one of opened.splice(0).reverse()) await one.remove();
    });

    test('gone: every answer is an outage, none an absence; back: nothing is missing', async () => {
      const { own, store } = await open({ appendOnly: true });
      expect(await store.swap([swap(null, '1')])).toMatchObject([{ swapped: true }]);
      const waiting = store.waitForEvents(
        start.map((_, shard) => (shard === 5 ? 1 : 0)),
        60_000,
      );
      await own.kill();
      expect(await waiting).toMatchObject({ reason: 'unreachable' });
      expectOutages(await answersOf(store));
      await own.start();
      await untilUp(store);
      expect((await store.get([at])).map((read) => Buffer.from(ok(read)!).toString())).toEqual(['1']);
      // The scripts went with the process.
      expect(
        await store.swap([swap('1', '2'), { ...swap(null, '2'), at: { shard: 6, key: 'k' } }]),
      ).toMatchObject([{ swapped: true }, { swapped: true }]);
      expect(ok(await store.readEvents(start, 10)).events).toHaveLength(3);
    });

    test('hung: every answer is an outage within the client’s timeout', async () => {
      const { own, store } = await open();
      await store.swap([swap(null, '1')]);
      own.suspend();
      const answers = await answersOf(store);
      own.resume();
      expectOutages(answers);
      await untilUp(store);
      expect(Buffer.from(ok((await store.get([at]))[0]!)!).toString()).toBe('2');
    });

    test('full: reads go on, writes are refused whole', async () => {
      const { own, store } = await open();
      await store.swap([swap(null, '1')]);
      await own.cli('CONFIG', 'SET', 'maxmemory', '1');
      expect(await store.swap([swap('1', '2'), swap('1', '3')])).toMatchObject([
        { reason: 'store_full' },
        { reason: 'store_full' },
      ]);
      expect(await store.swapEpoch(5, null, 'e')).toMatchObject({ reason: 'store_full' });
      expect(Buffer.from(ok((await store.get([at]))[0]!)!).toString()).toBe('1');
      expect(ok(await store.eventTail())[5]).toBe(1);
      await own.cli('CONFIG', 'SET', 'maxmemory', '0');
      expect(await store.swap([swap('1', '2')])).toMatchObject([{ swapped: true }]);
    });

    test('demoted: a replica takes no writes and is no node', async () => {
      const { own, store, link } = await open();
      await store.swap([swap(null, '1')]);
      await own.cli('REPLICAOF', '127.0.0.1', '1');
      expect(await store.swap([swap('1', '2')])).toMatchObject([{ reason: 'wrong_role' }]);
      expect(await store.nodes()).toMatchObject({ reason: 'wrong_role' });
      expect(ok(await redisFitness(link))[0]!.refusals).toEqual(['not_master']);
      await own.cli('REPLICAOF', 'NO', 'ONE');
      expect(await store.swap([swap('1', '2')])).toMatchObject([{ swapped: true }]);
    });

    test('scripts forgotten: they are sent again', async () => {
      const { own, store } = await open();
      await store.swap([swap(null, '1')]);
      await own.cli('SCRIPT', 'FLUSH');
      const many = Array.from({ length: 200 }, (_, i) => ({
        ...swap(null, 'v'),
        at: { shard: i % shardCount, key: `k${i}` },
      }));
      expect((await store.swap(many)).every((outcome) => ok(outcome).swapped)).toBe(true);
    });

    test('unfit: what would lose facts is refused, what might is warned of', async () => {
      const { own, link } = await open();
      const fitness = async (options = {}) => ok(await redisFitness(link, options))[0]!;
      expect(await fitness()).toMatchObject({
        role: 'master',
        refusals: [],
        warnings: ['append_only_off', 'memory_unbounded'],
      });
      await own.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
      expect((await fitness()).refusals).toEqual(['evicts']);
      expect(await fitness({ allowEviction: true })).toMatchObject({
        refusals: [],
        evictionPolicy: 'allkeys-lru',
      });
      await own.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      await own.cli('CONFIG', 'SET', 'maxmemory', '100000000');
      await own.cli('CONFIG', 'SET', 'appendonly', 'yes');
      const fit = await fitness();
      expect(fit).toMatchObject({
        refusals: [],
        warnings: [],
        appendOnly: true,
        maxMemoryBytes: 100_000_000,
      });
      expect(fit.usedMemoryBytes).toBeGreaterThan(100_000);
    });

    test('a key of the wrong kind is a bug that is thrown, no outage', async () => {
      const { store } = await open();
      await store.swap([{ ...swap(null, '1'), at: { ...at, field: 'f' } }]);
      await expect(store.swap([swap(null, '1')])).rejects.toThrow('WRONGTYPE');
    });

    test('a namespace that would break the key is refused', () => {
      for (const namespace of ['', 'a:b', '{x}', 'A', 'a'.repeat(33)]) {
        expect(() => new RedisStore(client, { clock: new SystemClock(), namespace })).toThrow(RangeError);
      }
    });
  });
});
