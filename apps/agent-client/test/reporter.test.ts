import { describe, expect, it } from 'vitest';
import { agentOn, FakeHost, started } from './fake-host.ts';
import { executable, MemoryServer } from './memory-server.ts';

const minute = 60_000;
const hour = 60 * minute;

function hostOf(count: number): FakeHost {
  const host = new FakeHost();
  for (let n = 0; n < count; n++) host.run(executable(n));
  return host;
}

function seeded(): () => number {
  let state = 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

describe('reporting', () => {
  it('reports every live executable once, in batches of at most 100', async () => {
    const { server, agent } = await started(agentOn({}, { host: hostOf(250) }));
    expect(server.records.size).toBe(250);
    const reports = server.seen.filter(({ method, path }) => method === 'POST' && path === '/v1/executables');
    expect(reports.map(({ items }) => items)).toEqual([100, 100, 50]);
    expect(agent.metrics().reporter).toMatchObject({ enqueued: 250, created: 250, queued: 0, dropped: 0 });
  });

  it('sends nothing twice while nothing changes, and at least one request in each cycle', async () => {
    const { server, clock } = await started(agentOn({}, { host: hostOf(50) }));
    const before = server.count('/v1/executables');
    for (let cycle = 0; cycle < 60; cycle++) {
      const seen = server.seen.length;
      await clock.advance(72_000);
      expect(server.seen.length).toBeGreaterThan(seen);
    }
    expect(server.count('/v1/executables')).toBe(before);
    expect(server.count('/v1/executables/check')).toBe(0);
  });

  it('checks every live executable within 36 hours', async () => {
    const { server, clock, agent } = await started(agentOn({}, { host: hostOf(30), random: seeded() }));
    await clock.advance(11 * hour);
    expect(server.count('/v1/executables/check')).toBe(0);
    await clock.advance(25.1 * hour);
    expect(agent.metrics().reporter.checks.ok).toBeGreaterThanOrEqual(30);
  });

  it('reports an executable again under a better name only', async () => {
    const { server, clock, host } = await started(agentOn({}, { host: hostOf(1) }));
    host.run(executable(0, { name: '/tmp/worse.so' }), 'another file');
    await clock.advance(2 * minute);
    expect(server.count('/v1/executables')).toBe(1);
    host.run(executable(0, { name: '/a.so' }), 'a third file');
    await clock.advance(2 * minute);
    expect(server.count('/v1/executables')).toBe(2);
    expect([...server.records.values()][0]!.names).toEqual(['/a.so', '/usr/lib/lib0.so']);
  });
});

describe('a server that fails', () => {
  it('loses nothing over an outage, and waits longer and longer', async () => {
    const server = new MemoryServer();
    server.failing = 'no answer';
    const { clock, agent, host } = await started(agentOn({}, { host: hostOf(120), server }));
    await clock.advance(10 * minute);
    // Gone before anybody could be told of it; it is reported all the same.
    host.end(executable(7));
    await clock.advance(20 * minute);
    const attempts = server.count('/v1/executables');
    expect(attempts).toBeGreaterThan(8);
    expect(attempts).toBeLessThan(30);
    server.failing = undefined;
    await clock.advance(6 * minute);
    expect(server.records.size).toBe(120);
    expect(agent.metrics().reporter).toMatchObject({ dropped: 0, queued: 0, created: 120 });
  });

  it('repeats what was taken but not acknowledged', async () => {
    const server = new MemoryServer();
    server.failing = 'answer lost';
    const { clock, agent } = await started(agentOn({}, { host: hostOf(20), server }));
    server.failing = undefined;
    await clock.advance(5 * minute);
    expect(server.records.size).toBe(20);
    expect(agent.metrics().reporter).toMatchObject({ created: 0, unchanged: 20, queued: 0 });
  });

  it('waits for as long as the server asks', async () => {
    const server = new MemoryServer();
    server.failing = 'unavailable';
    server.retryAfterSeconds = 120;
    const { clock } = await started(agentOn({}, { host: hostOf(1), server }));
    expect(server.count('/v1/executables')).toBe(1);
    await clock.advance(117_000);
    expect(server.count('/v1/executables')).toBe(1);
    await clock.advance(10_000);
    expect(server.count('/v1/executables')).toBe(2);
  });

  it('keeps what was not taken for now, and drops what is refused for good', async () => {
    const server = new MemoryServer();
    server.refused.set('/usr/lib/lib1.so', 'unavailable');
    server.refused.set('/usr/lib/lib2.so', 'invalid_argument');
    server.refused.set('/usr/lib/lib3.so', 'a code of a later version');
    const { clock, agent } = await started(agentOn({}, { host: hostOf(5), server }));
    expect(server.records.size).toBe(2);
    expect(agent.metrics().reporter).toMatchObject({ created: 2, refused: 1, queued: 2 });
    server.refused.clear();
    await clock.advance(10 * minute);
    expect(server.records.size).toBe(4);
    const { enqueued, created, merged, unchanged, refused, queued } = agent.metrics().reporter;
    expect(created + merged + unchanged + refused + queued).toBe(enqueued);
  });

  it('halves a batch that is too large until it fits', async () => {
    const server = new MemoryServer();
    server.itemsMax = 10;
    const { agent } = await started(agentOn({}, { host: hostOf(100), server }));
    expect(server.records.size).toBe(100);
    expect(agent.metrics().reporter).toMatchObject({ refused: 0, queued: 0 });
  });

  it('counts what ends before the full queue has room, and loses nothing that lives', async () => {
    const server = new MemoryServer();
    server.failing = 'no answer';
    const { clock, agent, host } = await started(agentOn({ queueMax: 10 }, { host: hostOf(25), server }));
    for (let n = 20; n < 23; n++) host.end(executable(n));
    await clock.advance(5 * minute);
    expect(agent.metrics().reporter).toMatchObject({ queued: 10, dropped: 3 });
    server.failing = undefined;
    await clock.advance(15 * minute);
    expect(server.records.size).toBe(22);
  });

  it('does not take an acknowledgement without an epoch for one', async () => {
    const server = new MemoryServer();
    server.epoch = '';
    const { clock, agent } = await started(agentOn({}, { host: hostOf(3), server }));
    expect(agent.metrics().reporter).toMatchObject({ created: 0, queued: 3 });
    server.epoch = 'epoch-1';
    await clock.advance(10 * minute);
    expect(agent.metrics().reporter).toMatchObject({ queued: 0, unchanged: 3 });
  });
});

describe('epochs', () => {
  it('fills an emptied store within one cycle, asking in chunks of 100 and reporting before the next', async () => {
    const { server, clock } = await started(agentOn({}, { host: hostOf(250) }));
    server.wipe('epoch-2');
    server.seen.length = 0;
    await clock.advance(72_000);
    expect(server.records.size).toBe(250);
    const posts = server.seen
      .filter(({ method }) => method === 'POST')
      .map(({ path, items }) => `${path} ${items}`);
    expect(posts).toEqual([
      '/v1/executables/check 100',
      '/v1/executables 100',
      '/v1/executables/check 100',
      '/v1/executables 100',
      '/v1/executables/check 50',
      '/v1/executables 50',
    ]);
  });

  it('only checks when a new epoch has lost nothing', async () => {
    const { server, clock } = await started(agentOn({}, { host: hostOf(120) }));
    server.epoch = 'epoch-2';
    server.seen.length = 0;
    await clock.advance(2 * minute);
    expect(server.count('/v1/executables/check')).toBe(2);
    expect(server.count('/v1/executables')).toBe(0);
  });

  it('tells two stores behind one address once each, and says so', async () => {
    const first = new MemoryServer();
    const second = new MemoryServer();
    second.epoch = 'epoch-of-the-other';
    const random = seeded();
    const both = new MemoryServer();
    Object.assign(both, {
      transport: (request: never) => (random() < 0.5 ? first : second).transport(request),
    });
    const { clock, agent } = await started(agentOn({}, { host: hostOf(40), server: both }));
    await clock.advance(30 * minute);
    expect([first.records.size, second.records.size]).toEqual([40, 40]);
    const reports = () => first.count('/v1/executables') + second.count('/v1/executables');
    const before = reports();
    await clock.advance(5 * hour);
    expect(reports()).toBe(before);
    expect(agent.metrics().reporter.epochsBack).toBeGreaterThan(100);
  });

  it('keeps the marks of four epochs, not of five', async () => {
    const { server, clock } = await started(agentOn({}, { host: hostOf(10) }));
    const visit = async (epoch: string) => {
      server.epoch = epoch;
      server.seen.length = 0;
      await clock.advance(3 * minute);
      return server.count('/v1/executables/check');
    };
    for (const epoch of ['b', 'c', 'd']) expect(await visit(epoch)).toBe(1);
    for (const epoch of ['epoch-1', 'b', 'c', 'd']) expect(await visit(epoch)).toBe(0);
    // As long as epochs come back, what a store lacks is reported without a check.
    await clock.advance(6 * minute);
    expect(await visit('e')).toBe(1);
    await clock.advance(6 * minute);
    expect(await visit('epoch-1')).toBe(1);
  });

  it('mends a loss that no epoch tells of, at the next check at the latest', async () => {
    const { server, clock, agent } = await started(agentOn({}, { host: hostOf(10) }));
    server.lose(executable(3).ids.gnu!);
    await clock.advance(37 * hour);
    expect(server.records.size).toBe(10);
    expect(agent.metrics().reporter.checks.missing).toBe(1);
  });

  it('mends it at once when somebody asks for the executable', async () => {
    const { server, clock, agent } = await started(agentOn({}, { host: hostOf(10) }));
    const { gnu } = executable(3).ids;
    server.lose(gnu!);
    const [record] = await agent.catalog.lookup([gnu!]);
    expect(record).toMatchObject({ id: gnu, fileName: 'lib3.so' });
    await clock.advance(2_000);
    expect(server.records.size).toBe(10);
  });
});

describe('events and checks', () => {
  it('reports again when an ID became ambiguous, and learns the ID of this file', async () => {
    const { server, clock, agent } = await started(agentOn({}, { host: hostOf(1) }));
    const mine = executable(0);
    const other = { ...executable(0), ids: { ...mine.ids, htlhash: executable(77).ids.htlhash } };
    const another = await started(agentOn({}, { server }));
    another.host.run({ ...other, load: [[0x2000n, 0x50n]] });
    await another.clock.advance(minute);
    await clock.advance(3 * minute);
    expect(server.records.get(mine.ids.gnu!)!.ambiguous).toBe(true);
    expect(server.records.get(mine.ids.htlhash)).toMatchObject({ id: mine.ids.htlhash, fileName: 'lib0.so' });
    const [byHash, byGnu] = await agent.catalog.lookup([mine.ids.htlhash, mine.ids.gnu!]);
    expect(byHash).toMatchObject({ id: mine.ids.htlhash, ambiguous: false });
    expect(byGnu).toMatchObject({ ambiguous: true });
  });

  it('checks everything after a reset', async () => {
    const { server, clock } = await started(agentOn({}, { host: hostOf(10) }));
    await clock.advance(2 * minute);
    server.change(executable(1).ids.gnu!);
    server.trimEvents();
    server.seen.length = 0;
    await clock.advance(2 * minute);
    expect(server.count('/v1/executables/check')).toBe(1);
    expect(server.count('/v1/executables')).toBe(1);
  });

  it('neither reports nor checks what was erased', async () => {
    const { server, clock } = await started(agentOn({}, { host: hostOf(3) }));
    server.erase(executable(1).ids.gnu!);
    server.seen.length = 0;
    await clock.advance(40 * hour);
    expect(server.records.size).toBe(2);
    expect(server.count('/v1/executables')).toBe(0);
    const checked = server.seen.filter(({ path }) => path === '/v1/executables/check');
    expect(checked.reduce((sum, { items }) => sum + items, 0)).toBe(2);
  });
});
