// What readers of an agent are told: from its cache, from the server, from the files of its host; and what they are not
// told, for how long.
import { ManualClock } from '@symkeep/cache';
import { type ExecutableId, FRAME_STATUS, type Frame, htlhashId } from '@symkeep/protocol';
import { describe, expect, it } from 'vitest';
import { agentOn, FakeHost, type Setup, started } from './fake-host.ts';
import { executable, MemoryServer } from './memory-server.ts';

const minute = 60_000;
const lookups = '/v1/executables/lookup';
const gnuOf = (n: number): ExecutableId => executable(n).ids.gnu!;
const frame = (name: string): Frame => ({
  function: name,
  rawName: name,
  file: 'a.c',
  line: 1,
  column: 0,
  startLine: 1,
});

/** An agent whose host runs nothing, over a server that knows `count` executables of another host. */
async function reader(count: number, options: Parameters<typeof agentOn>[0] = {}): Promise<Setup> {
  const server = new MemoryServer();
  const other = new FakeHost();
  for (let n = 0; n < count; n++) other.run(executable(n));
  await started(agentOn({}, { server, host: other }));
  return started(agentOn(options, { server }));
}

describe('a lookup', () => {
  it('asks the server once, and answers from the cache from then on', async () => {
    const { agent, server, clock } = await reader(3);
    const before = server.count(lookups);
    for (let round = 0; round < 100; round++) {
      expect(await agent.catalog.lookup([gnuOf(0), gnuOf(1)])).toMatchObject([
        { id: gnuOf(0) },
        { id: gnuOf(1) },
      ]);
      await clock.advance(5 * minute);
    }
    expect(server.count(lookups)).toBe(before + 1);
  });

  it('by the hash of a file and by its build ID is one entry and one request', async () => {
    const { agent, server } = await reader(1);
    const before = server.count(lookups);
    expect(await agent.catalog.lookup([executable(0).ids.htlhash])).toMatchObject([{ id: gnuOf(0) }]);
    expect(await agent.catalog.lookup([gnuOf(0)])).toMatchObject([{ id: gnuOf(0) }]);
    expect(server.count(lookups)).toBe(before + 1);
  });

  it('of many at once is one request, and joins one that is under way', async () => {
    const { agent, server } = await reader(50);
    const ids = Array.from({ length: 50 }, (_, n) => gnuOf(n));
    const before = server.count(lookups);
    const answers = await Promise.all([agent.catalog.lookup(ids), agent.catalog.lookup(ids.slice(10, 20))]);
    expect(answers.flat().every((one) => typeof one === 'object')).toBe(true);
    expect(server.count(lookups)).toBe(before + 1);
    expect(agent.metrics().catalog.records.coalesced).toBe(10);
  });

  it('loses nothing to a full cache but the time of a request', async () => {
    const { agent, server } = await reader(20, { cacheExecutables: 8 });
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 20; n++)
        expect(await agent.catalog.lookup([gnuOf(n)])).toMatchObject([{ id: gnuOf(n) }]);
    }
    const { records } = agent.metrics().catalog;
    expect(records.size).toBe(8);
    expect(records.inserted - records.evicted - records.expired - records.removed).toBe(records.size);
    expect(server.count(lookups)).toBeGreaterThan(20);
  });

  it('gives what is new after an event, and not what was read before it', async () => {
    const { agent, server, clock } = await reader(1);
    await agent.catalog.lookup([gnuOf(0)]);
    server.change(gnuOf(0), { fileName: 'renamed' }, 'record');
    expect(await agent.catalog.lookup([gnuOf(0)])).toMatchObject([{ fileName: 'lib0.so' }]);
    await clock.advance(2 * minute);
    expect(await agent.catalog.lookup([gnuOf(0)])).toMatchObject([{ fileName: 'renamed' }]);
  });

  it('keeps no record that came under another ID while an event about it arrived', async () => {
    const { agent, server } = await reader(1);
    const answer = server.hold();
    const asked = agent.catalog.lookup([executable(0).ids.htlhash]);
    await answer.given;
    // What the event tells of happened after the server read the record, and before its answer is here.
    server.change(gnuOf(0), { fileName: 'renamed' }, 'silent');
    agent.catalog.noteEvent({ id: gnuOf(0) });
    answer.deliver();
    await asked;
    expect(await agent.catalog.lookup([gnuOf(0)])).toMatchObject([{ fileName: 'renamed' }]);
  });
});

describe('an unknown executable', () => {
  const unknown = htlhashId('ab'.repeat(16));

  it('is asked for again after a minute, however often it is looked up meanwhile', async () => {
    const { agent, server, clock } = await reader(0);
    const before = server.count(lookups);
    for (let at = 0; at < 50_000; at += 1_000) {
      expect(await agent.catalog.lookup([unknown])).toEqual(['not_found']);
      await clock.advance(1_000);
    }
    expect(server.count(lookups)).toBe(before + 1);
    await clock.advance(30_000);
    await agent.catalog.lookup([unknown]);
    expect(server.count(lookups)).toBe(before + 2);
  });

  it('is known within a cycle of its report by another host, long before the absence ends', async () => {
    const { agent, server, clock } = await reader(0);
    for (let times = 0; times < 8; times++) {
      expect(await agent.catalog.lookup([gnuOf(5)])).toEqual(['not_found']);
      await clock.advance(10 * minute);
    }
    await agent.catalog.lookup([gnuOf(5)]);
    const other = new FakeHost();
    other.run(executable(5));
    await started(agentOn({}, { server, host: other }));
    await clock.advance(1.2 * minute);
    expect(await agent.catalog.lookup([gnuOf(5)])).toMatchObject([{ id: gnuOf(5) }]);
  });

  it('is asked for again in a new epoch', async () => {
    const { agent, server, clock } = await reader(0);
    await agent.catalog.lookup([unknown]);
    server.epoch = 'another';
    await clock.advance(1.2 * minute);
    const before = server.count(lookups);
    await agent.catalog.lookup([unknown]);
    expect(server.count(lookups)).toBe(before + 1);
  });

  it('takes bounded memory', async () => {
    const { agent } = await reader(0);
    for (let at = 0; at < 40_000; at += 1_000) {
      const ids = Array.from({ length: 1_000 }, (_, n) =>
        htlhashId((at + n + 1).toString(16).padStart(32, '0')),
      );
      await agent.catalog.lookup(ids);
    }
    const { unknown: absences, records } = agent.metrics().catalog;
    expect(absences.size).toBe(16_384);
    expect(records.size).toBe(0);
  });
});

describe('while the server is away', () => {
  it('what is cached is served, what is not is unavailable, and neither is kept as unknown', async () => {
    const { agent, server, clock } = await reader(2);
    await agent.catalog.lookup([gnuOf(0)]);
    server.failing = 'no answer';
    for (let hour = 0; hour < 12; hour++) {
      await clock.advance(60 * minute);
      expect(await agent.catalog.lookup([gnuOf(0), gnuOf(1)])).toMatchObject([
        { id: gnuOf(0) },
        'unavailable',
      ]);
    }
    server.failing = undefined;
    await clock.advance(minute);
    expect(await agent.catalog.lookup([gnuOf(1)])).toMatchObject([{ id: gnuOf(1) }]);
  });

  it('a live file of this host is identified on a miss, at most every ten seconds', async () => {
    const { agent, server, clock, host } = await reader(0);
    server.failing = 'no answer';
    host.run(executable(7));
    const scans = host.scans;
    const [record] = await agent.catalog.lookup([gnuOf(7)]);
    expect(record).toMatchObject({ id: gnuOf(7), fileName: 'lib7.so', generation: 0 });
    expect(host.scans).toBe(scans + 1);
    // By every ID that the file has, and without looking at the host again.
    expect(await agent.catalog.lookup([executable(7).ids.htlhash])).toMatchObject([{ id: gnuOf(7) }]);
    for (let times = 0; times < 20; times++) {
      expect(await agent.catalog.lookup([htlhashId(`${10 + times}`.repeat(16))])).toEqual(['unavailable']);
    }
    expect(host.scans).toBe(scans + 1);
    await clock.advance(11_000);
    await agent.catalog.lookup([gnuOf(9)]);
    expect(agent.metrics().catalog.rescans).toBe(2);
  });

  it('readers are answered at once, and few requests are wasted on it', async () => {
    const { agent, server, clock } = await reader(0);
    server.failing = 'no answer';
    const before = server.count(lookups);
    for (let second = 0; second < 600; second++) {
      await agent.catalog.lookup([gnuOf(second)]);
      await clock.advance(1_000);
    }
    expect(server.count(lookups) - before).toBeLessThan(60);
    expect(server.count(lookups) - before).toBeGreaterThan(10);
  });
});

describe('frames', () => {
  const at = 0x1000n;
  const asked = [{ id: gnuOf(0), addresses: [at, at, 0x2000n] }];

  it('are asked for once, in order, with duplicates kept', async () => {
    const { agent, server } = await reader(1);
    server.change(gnuOf(0), { symbols: { ...server.records.get(gnuOf(0))!.symbols, state: 'ready' } });
    server.setFrames(gnuOf(0), at, [frame('inner'), frame('outer')]);
    for (let round = 0; round < 5; round++) {
      const [outcome] = await agent.catalog.frames(asked);
      expect(outcome!.at.map(({ status, frames }) => [status, frames.map((one) => one.function)])).toEqual([
        [FRAME_STATUS.resolved, ['inner', 'outer']],
        [FRAME_STATUS.resolved, ['inner', 'outer']],
        [FRAME_STATUS.noSymbol, []],
      ]);
    }
    expect(server.count('/v1/frames/lookup')).toBe(1);
  });

  it('that are not ready are asked for again after a minute, and at once in a new generation', async () => {
    const { agent, server, clock } = await reader(1);
    const statuses = async () => (await agent.catalog.frames(asked))[0]!.at.map(({ status }) => status);
    const waiting = [
      FRAME_STATUS.symbolsNotReady,
      FRAME_STATUS.symbolsNotReady,
      FRAME_STATUS.symbolsNotReady,
    ];
    expect(await statuses()).toEqual(waiting);
    expect(await statuses()).toEqual(waiting);
    expect(server.count('/v1/frames/lookup')).toBe(1);
    server.setFrames(gnuOf(0), at, [frame('answer')]);
    server.change(gnuOf(0), { symbols: { ...server.records.get(gnuOf(0))!.symbols, state: 'ready' } });
    await clock.advance(1.2 * minute);
    expect(await statuses()).toEqual([FRAME_STATUS.resolved, FRAME_STATUS.resolved, FRAME_STATUS.noSymbol]);
  });

  it('of an older generation are a miss', async () => {
    const { agent, server, clock } = await reader(1);
    server.setFrames(gnuOf(0), at, [frame('before')]);
    await agent.catalog.frames(asked);
    server.setFrames(gnuOf(0), at, [frame('after')]);
    server.change(gnuOf(0));
    await clock.advance(1.2 * minute);
    const [outcome] = await agent.catalog.frames(asked);
    expect(outcome!.at[0]!.frames[0]!.function).toBe('after');
    expect(agent.metrics().catalog.frames.outdated).toBeGreaterThan(0);
  });

  it('that the cache has are served while the server is away; others are unavailable', async () => {
    const { agent, server } = await reader(1);
    server.setFrames(gnuOf(0), at, [frame('kept')]);
    await agent.catalog.frames([{ id: gnuOf(0), addresses: [at] }]);
    server.failing = 'no answer';
    const [outcome] = await agent.catalog.frames(asked);
    expect(outcome!.at.map(({ status }) => status)).toEqual([
      FRAME_STATUS.resolved,
      FRAME_STATUS.resolved,
      FRAME_STATUS.unavailable,
    ]);
    const [unknown] = await agent.catalog.frames([{ id: gnuOf(3), addresses: [at] }]);
    expect(unknown!.at).toMatchObject([{ status: FRAME_STATUS.unavailable }]);
  });
});

describe('the clock of an agent', () => {
  it('is the only one it has: nothing happens while it stands', async () => {
    const clock = new ManualClock();
    const { server, agent } = await started(agentOn({}, { clock }));
    const seen = server.seen.length;
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(server.seen.length).toBe(seen);
    await agent.stop();
  });
});
