// What an admin sees of the fleet: its agents, and how well it is symbolized.
import type { ExecutableId } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { type AppUnderTest, agent, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;

beforeEach(async () => {
  server = await startApp();
});

async function agents(): Promise<{ host: string; version: string; lastSeen: string }[]> {
  await server.clock.advance(5_000);
  return (await messageOf<{ items: [] }>(await server.get('/v1/admin/agents'))).items;
}

describe('the list of agents', () => {
  it('has who reported, checked, or asked for events, once', async () => {
    await server.post('/v1/executables', reportOf(bash));
    await server.post('/v1/executables', reportOf(bash));
    const check = { agent: { host: 'h0', version: '2' }, executables: [] };
    await server.post('/v1/executables/check', check);
    await server.get('/v1/events', { 'symkeep-agent': `${encodeURIComponent('höst 2')} 3` });
    expect((await agents()).map(({ host, version }) => [host, version])).toEqual([
      ['h0', '2'],
      [agent.host, agent.version],
      ['höst 2', '3'],
    ]);
  });

  it('takes no header that says nothing, or too much', async () => {
    for (const header of ['', 'host', '%zz 1', `${'h'.repeat(256)} 1`, ' 1', 'a b c'.repeat(99)]) {
      await server.get('/v1/events', { 'symkeep-agent': header });
    }
    expect(await agents()).toEqual([]);
  });

  it('tells when each was last heard of, and forgets after a week', async () => {
    const heard = async (host: string) => server.get('/v1/events', { 'symkeep-agent': `${host} 1` });
    const { roster } = server.deps.catalog;
    await heard('a');
    await heard('b');
    const [first] = await agents();
    for (let minute = 0; minute < 3; minute++) {
      await heard('a');
      await server.clock.advance(60_000);
    }
    const [a, b] = await agents();
    expect(Date.parse(a!.lastSeen)).toBeGreaterThan(Date.parse(first!.lastSeen));
    expect(b!.lastSeen).toBe(first!.lastSeen);
    expect(roster.counts.writes).toBeLessThanOrEqual(5);
    server.clock.skewWall(7 * 86_400_000);
    expect(await agents()).toEqual([]);
  });

  it('is not given in part', async () => {
    server.store.down(0);
    expect((await server.get('/v1/admin/agents')).status).toBe(503);
  });
});

describe('the statistics', () => {
  interface Stats {
    executables: number;
    states: Record<string, number>;
    agents: number;
    functions: number;
  }
  const stats = async () => messageOf<Stats>(await server.get('/v1/admin/stats'));

  it('count executables by the state of their symbols, and are up to ten seconds old', async () => {
    await server.post('/v1/executables', reportOf(bash));
    expect(await stats()).toMatchObject({ executables: 1, states: { none: 1, ready: 0 }, functions: 0 });
    const sample = server.deps.catalog.epoch.sample();
    if ('reason' in sample) throw sample;
    const digest = 'ab'.repeat(32);
    const table = {
      digest,
      quality: 'dwarf',
      functions: 7,
      ranges: 9,
      bytes: 80,
      sources: ['dwarf'],
    } as const;
    await server.deps.catalog.states.ready(bashId as ExecutableId, table, 1, sample);
    expect((await stats()).states.ready).toBe(0);
    await server.clock.advance(10_000);
    expect(await stats()).toMatchObject({
      ...{ executables: 1, ambiguous: 0, functions: 7, ranges: 9, bytes: 80, agents: 1 },
      states: { none: 0, ready: 1 },
      qualities: { dwarf: 1, none: 0 },
    });
  });

  it('are made once for all who ask at a time', async () => {
    await server.post('/v1/executables', reportOf(bash));
    const reads = () => {
      const { hits, misses } = server.deps.catalog.metrics().records;
      return hits + misses;
    };
    const before = reads();
    const all = await Promise.all(Array.from({ length: 5 }, stats));
    expect(all.map(({ executables }) => executables)).toEqual([1, 1, 1, 1, 1]);
    expect(reads() - before).toBe(1);
  });

  it('are not given in part', async () => {
    server.store.down(0);
    expect((await server.get('/v1/admin/stats')).status).toBe(503);
  });
});
