// The same on real Redis: what it tells of itself must betray each way to lose something.
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { redisAvailable, TestRedis } from '../../../tools/test-redis.ts';
import { Epoch, RedisStore, StoreUnavailable, SystemClock, storeClientOptions } from '../src/index.ts';
import { ok } from './store-contract.ts';

describe.skipIf(!redisAvailable)('the epoch on Redis', () => {
  const opened: { remove(): Promise<void> }[] = [];
  let server: TestRedis;
  let epoch: Epoch;

  async function startRedis(options = {}): Promise<TestRedis> {
    const redis = await TestRedis.start(options);
    opened.push(redis);
    return redis;
  }

  function epochOf(redis: TestRedis): Epoch {
    const client = new Redis({ ...storeClientOptions, path: redis.socket, retryStrategy: () => 10 });
    client.on('error', () => undefined);
    opened.push({ remove: async () => client.disconnect() });
    return new Epoch(new RedisStore(client, { clock: new SystemClock() }));
  }

  /** The epoch, as soon as the client has connected. */
  async function settled(of: Epoch): Promise<string> {
    for (;;) {
      const answer = await of.check();
      if (!(answer instanceof StoreUnavailable)) return answer;
      if (answer.reason !== 'unreachable') throw answer;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  beforeEach(async () => {
    server = await startRedis({ appendOnly: true });
    epoch = epochOf(server);
  });
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.remove();
  });

  test('stands across a lost connection, and is the same for each server', async () => {
    const before = await settled(epoch);
    expect(await settled(epochOf(server))).toBe(before);
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    expect(await settled(epoch)).toBe(before);
  });

  test('changes with FLUSHALL', async () => {
    const before = await settled(epoch);
    await server.cli('FLUSHALL');
    expect(await settled(epoch)).not.toBe(before);
  });

  test('changes with a restart, though the append-only file brings everything back', async () => {
    const before = await settled(epoch);
    await server.kill('SIGTERM');
    expect(await epoch.check()).toMatchObject({ reason: 'unreachable' });
    expect(epoch.current).toBe(before);
    await server.start();
    expect(await server.cli('EXISTS', 'sk1:main:{00}/epoch')).toBe('1');
    expect(await settled(epoch)).not.toBe(before);
  });

  test('changes when a master is demoted, resynced and promoted again: its run ID is the same', async () => {
    const before = await settled(epoch);
    const runId = async () => /run_id:(\w+)/.exec(await server.cli('INFO', 'server'))?.[1];
    const lived = await runId();
    const other = await startRedis();
    await other.cli('REPLICAOF', '127.0.0.1', String(server.port));
    await other.until('master_link_status:up', 'INFO', 'replication');
    await other.cli('REPLICAOF', 'NO', 'ONE');
    await server.cli('REPLICAOF', '127.0.0.1', String(other.port));
    await server.until('master_link_status:up', 'INFO', 'replication');
    expect(await epoch.check()).toMatchObject({ reason: 'wrong_role' });
    await server.cli('REPLICAOF', 'NO', 'ONE');
    expect(await runId()).toBe(lived);
    expect(await server.cli('EXISTS', 'sk1:main:{00}/epoch')).toBe('1');
    expect(await settled(epoch)).not.toBe(before);
  });

  test('changes when a replica takes over that has the epoch keys', async () => {
    const before = await settled(epoch);
    const replica = await startRedis();
    await replica.cli('REPLICAOF', '127.0.0.1', String(server.port));
    await replica.until('master_link_status:up', 'INFO', 'replication');
    await server.kill();
    await replica.cli('REPLICAOF', 'NO', 'ONE');
    expect(await replica.cli('EXISTS', 'sk1:main:{00}/epoch')).toBe('1');
    expect(await settled(epochOf(replica))).not.toBe(before);
  });

  test('changes when keys are evicted', async () => {
    const before = await settled(epoch);
    await server.cli('SET', 'sk1:main:{00}:victim', 'x'.repeat(100_000));
    await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    const used = Number(/used_memory:(\d+)/.exec(await server.cli('INFO', 'memory'))?.[1]);
    await server.cli('CONFIG', 'SET', 'maxmemory', String(used - 10_000));
    await server.cli('SET', 'more', 'x'.repeat(50_000));
    await server.cli('CONFIG', 'SET', 'maxmemory', '0');
    expect(Number(/evicted_keys:(\d+)/.exec(await server.cli('INFO', 'stats'))?.[1])).toBeGreaterThan(0);
    expect(await settled(epoch)).not.toBe(before);
    ok(await epoch.check());
  });
});
