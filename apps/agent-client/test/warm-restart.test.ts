// An agent that ends and starts again: what it knows by then, and what it says to the server about it.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeSnapshot, encodeSnapshot } from '../src/snapshot.ts';
import type { SnapshotPlace } from '../src/snapshot-file.ts';
import { agentOn, FakeHost, MemorySnapshot, type Setup, started } from './fake-host.ts';
import { executable, MemoryServer } from './memory-server.ts';

const minute = 60_000;
const reports = '/v1/executables';
const checks = '/v1/executables/check';
const lookups = '/v1/executables/lookup';

interface Kept {
  readonly server: MemoryServer;
  readonly snapshots: MemorySnapshot;
}

function hostOf(count: number): FakeHost {
  const host = new FakeHost();
  for (let n = 0; n < count; n++) host.run(executable(n));
  return host;
}

/** An agent of `count` executables that has run for a while and has ended in order; it had looked up the first five. */
async function ended(count: number): Promise<Kept> {
  const kept = { server: new MemoryServer(), snapshots: new MemorySnapshot() };
  const { agent, clock } = await started(agentOn({}, { ...kept, host: hostOf(count) }));
  await clock.advance(2 * minute);
  for (let n = 0; n < 5; n++) await agent.catalog.lookup([executable(n).ids.htlhash]);
  await agent.stop();
  return kept;
}

async function again(kept: Partial<Kept>, count: number): Promise<Setup> {
  return started(agentOn({}, { ...kept, host: hostOf(count) }));
}

describe('a restart', () => {
  it('sends nothing that was acknowledged, and opens no file that was read', async () => {
    const kept = await ended(250);
    kept.server.seen.length = 0;
    const { agent, clock, host, server } = await again(kept, 250);
    await clock.advance(10 * minute);
    expect([server.count(reports), server.count(checks)]).toEqual([0, 0]);
    expect(host.remembered).toHaveLength(250);
    expect(agent.metrics()).toMatchObject({
      executables: 250,
      reporter: { enqueued: 0, marks: 250 },
      snapshot: { restored: 1 },
    });
  });

  it('sends what is new since, alone', async () => {
    const kept = await ended(100);
    kept.server.seen.length = 0;
    const { server } = await again(kept, 103);
    expect(server.seen.filter(({ path }) => path === reports).map(({ items }) => items)).toEqual([3]);
    expect(server.records.size).toBe(103);
  });

  it('checks, and does not report, when the store has another epoch but lost nothing', async () => {
    const kept = await ended(30);
    kept.server.epoch = 'of a restarted store';
    kept.server.seen.length = 0;
    const { server, clock } = await again(kept, 30);
    await clock.advance(2 * minute);
    expect([server.count(checks), server.count(reports)]).toEqual([1, 0]);
  });

  it('fills a store that was emptied meanwhile', async () => {
    const kept = await ended(30);
    kept.server.wipe('of an emptied store');
    const { server, clock } = await again(kept, 30);
    await clock.advance(2 * minute);
    expect(server.records.size).toBe(30);
  });

  it('answers from the records it had, also while the server is away', async () => {
    const kept = await ended(20);
    kept.server.failing = 'no answer';
    // None of them runs here any more, so only the cache can know them.
    const { agent, server } = await again(kept, 0);
    for (let n = 0; n < 5; n++) {
      const { gnu, htlhash } = executable(n).ids;
      expect(await agent.catalog.lookup([htlhash, gnu!])).toMatchObject([{ id: gnu }, { id: gnu }]);
    }
    expect(await agent.catalog.lookup([executable(7).ids.gnu!])).toEqual(['unavailable']);
    expect(server.records.size).toBe(20);
  });

  it('asks again for what has changed since, and for all of it in a new epoch', async () => {
    const kept = await ended(20);
    kept.server.change(executable(1).ids.gnu!, { fileName: 'renamed' }, 'record');
    const { agent, server, clock } = await again(kept, 0);
    await clock.advance(2 * minute);
    const before = server.count(lookups);
    expect(await agent.catalog.lookup([executable(0).ids.gnu!])).toMatchObject([{ fileName: 'lib0.so' }]);
    expect(server.count(lookups)).toBe(before);
    expect(await agent.catalog.lookup([executable(1).ids.gnu!])).toMatchObject([{ fileName: 'renamed' }]);
    expect(server.count(lookups)).toBe(before + 1);
    server.epoch = 'another';
    await clock.advance(2 * minute);
    await agent.catalog.lookup([executable(0).ids.gnu!]);
    expect(server.count(lookups)).toBe(before + 2);
  });

  it('after a crash knows what the last snapshot had, and repeats the rest', async () => {
    const kept = { server: new MemoryServer(), snapshots: new MemorySnapshot() };
    const { clock, host } = await started(agentOn({}, { ...kept, host: hostOf(40) }));
    await clock.advance(6 * minute);
    for (let n = 40; n < 50; n++) host.run(executable(n));
    await clock.advance(minute);
    kept.server.seen.length = 0;
    const { agent, server } = await again(kept, 50);
    expect(server.seen.filter(({ path }) => path === reports).map(({ items }) => items)).toEqual([10]);
    expect(agent.metrics().reporter).toMatchObject({ unchanged: 10, created: 0 });
  });
});

describe('a stop', () => {
  it('sends what waits', async () => {
    const server = new MemoryServer();
    const { agent, clock, host } = await started(agentOn({}, { server, host: hostOf(3) }));
    host.run(executable(3));
    await clock.advance(28_200);
    expect(server.records.size).toBe(3);
    await agent.stop();
    expect(server.records.size).toBe(4);
  });

  it('does not wait for a server that does not answer, and keeps what was acknowledged', async () => {
    const kept = { server: new MemoryServer(), snapshots: new MemorySnapshot() };
    const { agent, clock, host } = await started(agentOn({}, { ...kept, host: hostOf(3) }));
    host.run(executable(3));
    kept.server.failing = 'no answer';
    await clock.advance(31_000);
    let done = false;
    const stopped = agent.stop().then(() => {
      done = true;
    });
    await clock.advance(4_000);
    expect(done).toBe(true);
    await stopped;
    kept.server.failing = undefined;
    const { server } = await again(kept, 4);
    expect(server.records.size).toBe(4);
  });
});

describe('a snapshot', () => {
  const empty = { host: 'h', executables: [], epochs: [], records: [] };

  it.each([
    ['cut', 'corrupt', (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 1)],
    ['empty', 'corrupt', () => new Uint8Array()],
    [
      'of something else',
      'corrupt',
      () => Buffer.from('no snapshot at all, but long enough to be one, surely'),
    ],
    ['damaged in one bit', 'corrupt', (bytes: Uint8Array) => flipped(bytes, bytes.length - 3)],
    ['of another version', 'version', (bytes: Uint8Array) => flipped(bytes, 8)],
    ['of another host', 'foreign', () => encodeSnapshot({ ...empty, host: 'another' })],
  ] as const)('that is %s is left aside and counted as %s', async (_, reason, change) => {
    const kept = await ended(10);
    kept.snapshots.bytes = change(kept.snapshots.bytes!);
    const { agent } = await again(kept, 10);
    const { restored, ignored } = agent.metrics().snapshot;
    expect([restored, ignored[reason]]).toEqual([0, 1]);
    // It costs a report of everything, of which the store learns nothing.
    expect(agent.metrics().reporter).toMatchObject({ unchanged: 10, created: 0 });
  });

  it('that cannot be read or written is counted, and stops nothing', async () => {
    const broken: SnapshotPlace = {
      read: () => Promise.reject(new Error('EIO')),
      write: () => Promise.reject(new Error('ENOSPC')),
    };
    const { agent, clock, server } = await started(agentOn({}, { snapshots: broken, host: hostOf(3) }));
    await clock.advance(6 * minute);
    await agent.stop();
    expect(server.records.size).toBe(3);
    expect(agent.metrics().snapshot).toMatchObject({
      written: 0,
      writeFailures: 2,
      ignored: { unreadable: 1 },
    });
  });

  it('is what docs/formats.md says', () => {
    const docs = readFileSync(new URL('../../../docs/formats.md', import.meta.url), 'utf8');
    const [, hex = ''] = /Of the host `h`, without anything in it: `([0-9a-f]+)`/.exec(docs)!;
    expect(Buffer.from(encodeSnapshot({ ...empty, host: 'h' })).toString('hex')).toBe(hex);
    expect(decodeSnapshot(Buffer.from(hex, 'hex'), 'h')).toEqual({ ...empty, host: 'h' });
  });

  it('round-trips', async () => {
    const kept = await ended(10);
    const snapshot = decodeSnapshot(kept.snapshots.bytes!, 'test-host');
    expect(snapshot.executables).toHaveLength(10);
    expect(snapshot.records.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4].map((n) => executable(n).ids.gnu));
    expect(decodeSnapshot(encodeSnapshot(snapshot), 'test-host')).toEqual(snapshot);
  });
});

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at]! ^= 0x10;
  return copy;
}
