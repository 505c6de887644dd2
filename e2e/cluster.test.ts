// The main job on a Redis Cluster: a master that is away takes its share of the executables with it and no more, and what
// a master lost is reported again.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestCluster, type TestRedis } from '../tools/test-redis.ts';
import { type Agent, Fleet, listed, missing, numbers, outcomes, type Server, sum, until } from './fleet.ts';

const executableCount = 200;
const newCount = 50;

describe.skipIf(!redisAvailable)('a fleet on a Redis Cluster of three masters', () => {
  const fleet = new Fleet();
  let cluster: TestCluster;
  let away: TestRedis;
  let first: Server;
  let second: Server;
  let agent: Agent;

  beforeAll(async () => {
    cluster = await TestCluster.start(3);
    away = cluster.masters[1]!;
    const hosts = cluster.addresses.map(({ host, port }) => `${host}:${port}`);
    const url = `redis+cluster://${hosts.join(',')}`;
    first = await fleet.addServer(url);
    second = await fleet.addServer(url);
    agent = await fleet.addAgent(numbers(0, executableCount), '3s');
    await until('all is reported', () => fleet.settled());
  });
  afterAll(async () => {
    await fleet.remove();
    await cluster?.remove();
  });

  it('lacks only what a master that is away holds, and is whole when it is back', async () => {
    // Both servers have heard of all; the first has read it, too.
    const events = fleet.executables.flatMap(({ ids }) => ids).length;
    for (const server of fleet.servers) {
      await until('all is heard of', async () => {
        const heard = await server.metric('symkeep_events_events_total');
        return heard === events || `${heard} of ${events} events`;
      });
    }
    expect(await missing(first.place, fleet.executables)).toEqual([]);
    await away.kill();
    const ids = fleet.executables.map((one) => one.ids[0]!);
    const found = await outcomes(second, ids);
    const unavailable = found.filter((outcome) => outcome === 'unavailable').length;
    expect(unavailable).toBeGreaterThan(0);
    // A third of the slots, a third of the records; and the others are right.
    expect(unavailable).toBeLessThan(ids.length / 2);
    expect(found.map((outcome, at) => outcome === 'unavailable' || outcome === ids[at])).not.toContain(false);
    // The first goes on with what it has read.
    expect(await outcomes(first, ids)).toEqual(ids);

    agent.host.run(numbers(10_000, newCount));
    await until('what can be reported is, and the rest is kept', async () => {
      const metrics = await agent.metrics();
      const queued = sum(metrics, 'symkeep_agent_queue');
      const created = metrics.get('symkeep_agent_reports_total{status="created"}')!;
      const both = queued + created - executableCount;
      return (queued > 0 && queued < newCount && both === newCount) || `${queued} queued, ${created} created`;
    });

    await away.start();
    await until('the queue is empty', () => fleet.settled());
    await until('all is there again', () => fleet.whole());
    expect(await agent.metric('symkeep_agent_reports_dropped_total')).toBe(0);
    await expectEachOnce();
  });

  it('is whole within two cycles after a master was flushed', async () => {
    const epoch = await first.epoch();
    const cycles = await agent.metric('symkeep_agent_cycles_total');
    await away.cli('FLUSHALL');
    for (const server of fleet.servers) {
      await until('the loss is seen', async () => (await server.epoch()) !== epoch || 'the old epoch');
    }
    await until('all is there again', () => fleet.whole());
    expect((await agent.metric('symkeep_agent_cycles_total')) - cycles).toBeLessThanOrEqual(2);
    await expectEachOnce();
  });

  async function expectEachOnce(): Promise<void> {
    const records = await listed(first.place);
    expect(records.map(({ id }) => id).sort()).toEqual(fleet.executables.map(({ ids }) => ids[0]).sort());
  }
});
