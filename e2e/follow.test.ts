// Everyone hears: what one server learns is known to the other servers and to agents that follow, without a restart, a
// poll by hand, or the next cycle, which here would be an hour away.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { type Agent, Fleet, lookup, numbers, until } from './fleet.ts';

describe.skipIf(!redisAvailable)('events', () => {
  let redis: TestRedis;
  const fleet = new Fleet();

  beforeAll(async () => {
    redis = await TestRedis.start();
    for (let count = 0; count < 2; count++) await fleet.addServer(`redis+unix://${redis.socket}`);
    await fleet.addAgent(numbers(0, 10), '1h', fleet.servers[0], ['--events', 'follow']);
    await fleet.addAgent(numbers(0, 10), '1h', fleet.servers[1], ['--events', 'follow']);
    await until('all is reported', () => fleet.settled());
  });
  afterAll(async () => {
    await fleet.remove();
    await redis.remove();
  });

  async function statusAt(agent: Agent, id: string): Promise<number> {
    const { body } = await agent.ask('/v1/frames/lookup', { requests: [{ id, addresses: ['0x40'] }] });
    return (JSON.parse(body) as { results: { status: number[] }[] }).results[0]!.status[0]!;
  }

  it('end what agents had as an absence', async () => {
    const id = fleet.executables[1]!.ids[0]!;
    for (const agent of fleet.agents) expect(await statusAt(agent, id)).toBe(2);
    const { body } = await fleet.servers[0]!.ask('/v1/frames', {
      frames: [{ id, address: '0x40', function: 'main' }],
    });
    expect(body).toContain('created');
    for (const agent of fleet.agents) {
      await until('the agent names the frame', async () => (await statusAt(agent, id)) === 0 || 'not yet');
    }
  });

  it('end what agents had of an erased executable', async () => {
    const id = fleet.executables[2]!.ids[0]!;
    for (const { place } of fleet.agents) expect(await lookup(place, [id])).toMatchObject([{ id }]);
    await fetch(`${fleet.servers[1]!.url}/v1/executables/${id}`, { method: 'DELETE' });
    for (const { place } of [...fleet.agents, ...fleet.servers]) {
      await until('it is forgotten', async () => {
        const [found] = await lookup(place, [id]);
        return found === 'erased' || JSON.stringify(found);
      });
    }
  });

  it('go on after the server was away', async () => {
    const id = fleet.executables[3]!.ids[0]!;
    const [server] = fleet.servers;
    const [agent] = fleet.agents;
    expect(await statusAt(agent!, id)).toBe(2);
    await server!.end();
    await server!.start();
    await server!.ask('/v1/frames', { frames: [{ id, address: '0x40', function: 'main' }] });
    await until('the agent names the frame', async () => (await statusAt(agent!, id)) === 0 || 'not yet');
  });

  it('do not hold up the end of an agent', async () => {
    for (const agent of fleet.agents) expect(await agent.end('SIGTERM')).toBe(0);
  });
});
