import { SystemClock } from '@symkeep/cache';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../../../../tools/test-redis.ts';
import type { JobState } from '../../src/jobs/jobs.ts';
import { JobFailure, JobQueue, JobRunner, type RunningJob } from '../../src/jobs/queue.ts';
import { createRedis, createWaitingRedis, redisReady } from '../../src/redis.ts';

const clock = new SystemClock();
let redis: TestRedis;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  if (redisAvailable) redis = await TestRedis.start();
});

afterAll(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await redis?.remove();
});

const nothing = async () => undefined;

function url(): string {
  return `unix://${redis.socket}`;
}

async function queueIn(namespace: string): Promise<JobQueue> {
  const client = createRedis(url(), () => undefined);
  const queue = new JobQueue({ client, namespace, clock, retryMs: 1 });
  closing.push(() => queue.close());
  await redisReady(client, 2_000, clock);
  return queue;
}

function runnerIn(namespace: string, run: (job: RunningJob) => Promise<void>): JobRunner {
  const client = createWaitingRedis(url(), () => undefined);
  const runner = new JobRunner({ client, namespace, concurrency: 2, onTrouble: () => undefined }, run);
  closing.push(() => runner.close());
  return runner;
}

/** The state of a job once it is one of these. */
async function until(queue: JobQueue, job: string, ...states: JobState['state'][]): Promise<JobState> {
  for (;;) {
    const state = await queue.state(job);
    if (state !== null && states.includes(state.state)) return state;
  }
}

describe.skipIf(!redisAvailable)('the queue of jobs', () => {
  it('runs a job once however often it is asked for', async () => {
    const queue = await queueIn('once');
    const ran: string[] = [];
    await Promise.all([1, 2, 3].map(() => queue.add('a-1', { id: 'a' }, nothing)));
    await queue.add('b-1', { id: 'b' }, nothing);
    expect(await queue.state('a-1')).toEqual({ state: 'queued', progress: 0, position: 1 });
    expect(await queue.state('none-1')).toBeNull();
    runnerIn('once', async ({ data, progress }) => {
      ran.push(data.id);
      await progress(0.5);
    });
    expect(await until(queue, 'b-1', 'done')).toEqual({ state: 'done', progress: 0.5 });
    await until(queue, 'a-1', 'done');
    expect(ran.sort()).toEqual(['a', 'b']);
  });

  it('says the place of each job, those without a priority first', async () => {
    const queue = await queueIn('places');
    await queue.add('late-1', { id: 'late' }, nothing, 5);
    for (const job of ['a-1', 'b-1']) await queue.add(job, { id: job }, nothing);
    await queue.add('later-1', { id: 'later' }, nothing, 9);
    const places = ['a-1', 'b-1', 'late-1', 'later-1'].map(async (job) => (await queue.state(job))?.position);
    expect(await Promise.all(places)).toEqual([1, 2, 3, 4]);
  });

  it('runs a job again that is asked for after it ended', async () => {
    const queue = await queueIn('again');
    let runs = 0;
    runnerIn('again', async () => {
      if (++runs === 1) throw new JobFailure('malformed', 'no: ELF file', false);
    });
    await queue.add('a-1', { id: 'a' }, nothing);
    const failed = await until(queue, 'a-1', 'failed');
    expect(failed.error).toEqual({ code: 'malformed', message: 'no: ELF file' });
    await queue.add('a-1', { id: 'a' }, nothing);
    await until(queue, 'a-1', 'done');
    expect(runs).toBe(2);
    await queue.add('a-1', { id: 'a' }, nothing);
    while (runs < 3) await until(queue, 'a-1', 'done');
    expect(runs).toBe(3);
  });

  it('tries what may pass again, and what may not only once', async () => {
    const queue = await queueIn('retry');
    const last: boolean[] = [];
    runnerIn('retry', async ({ data, isLast }) => {
      if (data.id === 'never') throw new JobFailure('no_symbols', 'none', false);
      last.push(isLast);
      if (last.length < 3) throw new JobFailure('unavailable', 'not now', true);
    });
    await queue.add('a-1', { id: 'passing' }, nothing);
    await queue.add('b-1', { id: 'never' }, nothing);
    await until(queue, 'a-1', 'done');
    expect(last).toEqual([false, false, false]);
    expect((await until(queue, 'b-1', 'failed')).error?.code).toBe('no_symbols');
  });

  it('does not let a job wait for its next attempt that is asked for again', async () => {
    const client = createRedis(url(), () => undefined);
    const queue = new JobQueue({ client, namespace: 'delayed', clock, retryMs: 3_600_000 });
    closing.push(() => queue.close());
    await redisReady(client, 2_000, clock);
    let runs = 0;
    runnerIn('delayed', async () => {
      if (++runs === 1) throw new JobFailure('timeout', 'took long', true);
    });
    await queue.add('a-1', { id: 'a' }, nothing);
    while ((await queue.state('a-1'))?.error === undefined);
    await queue.add('a-1', { id: 'a' }, nothing);
    await until(queue, 'a-1', 'done');
    expect(runs).toBe(2);
  });

  it('keeps namespaces apart, in one slot of a Cluster each', async () => {
    const [one, other] = [await queueIn('one'), await queueIn('other')];
    await one.add('a-1', { id: 'a' }, nothing);
    expect(await other.state('a-1')).toBeNull();
    const keys = (await redis.cli('KEYS', '*sk-jobs*')).split('\n');
    expect(keys.filter((key) => !key.startsWith('{sk-jobs}:'))).toEqual([]);
  });

  it('is unavailable while Redis is away, and comes back by itself', async () => {
    const own = await TestRedis.start({ appendOnly: true, settings: { appendfsync: 'always' } });
    const client = createRedis(`unix://${own.socket}`, () => undefined);
    const queue = new JobQueue({ client, namespace: 'away', clock });
    try {
      await expect(queue.add('a-1', { id: 'a' }, nothing)).rejects.toMatchObject({ code: 'unavailable' });
      await redisReady(client, 2_000, clock);
      await queue.add('a-1', { id: 'a' }, nothing);
      await own.kill();
      await expect(queue.state('a-1')).rejects.toMatchObject({ code: 'unavailable' });
      await own.start();
      await redisReady(client, 5_000, clock);
      expect(await queue.state('a-1')).toMatchObject({ state: 'queued' });
    } finally {
      await queue.close();
      await own.remove();
    }
  });
});
