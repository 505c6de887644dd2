import { type EpochSample, ManualClock, MemoryStore, StoreUnavailable } from '@symkeep/cache';
import {
  type ExecutableId,
  FRAME_STATUS,
  type Frame,
  gnuId,
  goId,
  htlhashId,
  type ReportedExecutable,
} from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Catalog, createCatalog, StoredRecord } from '../src/catalog/index.ts';

const gnu = gnuId('c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80');
const go = goId('dCpPNbUmDjVFyIBOaR7E/Dc2J4zBkTjRvqJ1g1Wfp/xk9f5Qv3o_Vv6kHxPGEZ/Bt1dYQY5a1sSvWQe1ZCt');
const hashes = Array.from({ length: 9 }, (_, index) => htlhashId((index + 1).toString(16).padStart(32, '0')));
const frame: Frame = { function: 'main', rawName: '', file: 'a.c', line: 3, column: 0, startLine: 1 };

function executable(over: Partial<ReportedExecutable> = {}): ReportedExecutable {
  const ids = { gnu, htlhash: hashes[0]! };
  return {
    ids,
    name: '/usr/bin/bash',
    arch: 'x86_64',
    type: 'dyn',
    size: 1,
    load: [[0x1000n, 0x10n]],
    ...over,
  };
}

let clock: ManualClock;
let store: MemoryStore;
let catalog: Catalog;
let other: Catalog;

async function started(): Promise<Catalog> {
  const made = createCatalog({ store, clock, cacheBytes: 4 * 1024 * 1024 });
  await made.start();
  return made;
}

function sampleOf(of = catalog): EpochSample {
  const sample = of.epoch.sample();
  if (sample instanceof StoreUnavailable) throw sample;
  return sample;
}

function report(items: readonly ReportedExecutable[], of = catalog) {
  return of.executables.report(items, sampleOf(of));
}

async function recordOf(id: ExecutableId, of = catalog) {
  const [outcome] = await of.executables.lookup([id]);
  return outcome instanceof StoredRecord ? outcome.record : outcome;
}

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore({ clock, nodes: 3 });
  catalog = await started();
  other = await started();
  return async () => {
    const stopped = Promise.all([catalog.stop(), other.stop()]);
    await clock.advance(60_000);
    await stopped;
  };
});

describe('executables', () => {
  it('are created, merged and unchanged, and found by each of their IDs', async () => {
    const one = executable({ ids: { gnu, htlhash: hashes[0]!, go } });
    expect(await report([one])).toMatchObject([{ status: 'created', id: gnu }]);
    expect(await report([one])).toMatchObject([{ status: 'unchanged', id: gnu }]);
    expect(await report([{ ...one, name: '/bin/bash' }])).toMatchObject([{ status: 'merged', id: gnu }]);
    for (const id of [gnu, hashes[0]!, go]) {
      expect(await recordOf(id)).toMatchObject({
        id: gnu,
        fileName: 'bash',
        names: ['/bin/bash', '/usr/bin/bash'],
      });
    }
    expect(await recordOf(hashes[1]!)).toBe('not_found');
  });

  it('of one batch with one ID become one record', async () => {
    const batch = [
      executable(),
      executable({ ids: { gnu, htlhash: hashes[1]! }, name: '/opt/bash' }),
      executable(),
    ];
    const results = await report(batch);
    expect(results.map(({ id }) => id)).toEqual([gnu, gnu, gnu]);
    expect(await recordOf(hashes[1]!)).toMatchObject({ id: gnu, ids: { htlhash: [rawOf(0), rawOf(1)] } });
  });

  it('reported through two servers at once lose nothing', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `/opt/${index}/bash`);
    await Promise.all(
      names.map((name, index) => report([executable({ name })], index % 2 ? catalog : other)),
    );
    await clock.advance(0);
    expect(await recordOf(gnu, other)).toMatchObject({ nameCount: 12 });
  });

  it('are heard of by the other server', async () => {
    await report([executable()]);
    expect(await recordOf(gnu, other)).toMatchObject({ names: ['/usr/bin/bash'] });
    await report([executable({ name: '/bin/bash' })]);
    await clock.advance(0);
    expect(await recordOf(gnu, other)).toMatchObject({ names: ['/bin/bash', '/usr/bin/bash'] });
  });

  it('reported without their GNU ID are filed where their hash leads', async () => {
    await report([executable()]);
    const bare = executable({ ids: { htlhash: hashes[0]! }, name: '/x/bash' });
    expect(await report([bare])).toMatchObject([{ status: 'merged', id: gnu }]);
  });

  it('of a store that is away are unavailable, not unknown, and served where cached', async () => {
    await report([executable()]);
    await recordOf(gnu);
    for (const node of [0, 1, 2]) store.down(node);
    expect(await recordOf(gnu)).toMatchObject({ id: gnu });
    expect(await recordOf(hashes[7]!)).toBe('unavailable');
    expect(await report([executable()])).toMatchObject([{ status: 'error', error: { code: 'unavailable' } }]);
    expect(await catalog.executables.check([{ id: hashes[7]!, generation: 1 }], sampleOf())).toEqual([
      'unavailable',
    ]);
    for (const node of [0, 1, 2]) store.up(node);
    expect(await recordOf(hashes[7]!)).toBe('not_found');
  });

  it('are seen to the day, without a new version', async () => {
    await report([executable()]);
    const before = await recordOf(gnu);
    clock.skewWall(3 * 86_400_000);
    const { generation, version, lastSeen } = before as {
      generation: number;
      version: number;
      lastSeen: string;
    };
    expect(await catalog.executables.check([{ id: gnu, generation }], sampleOf())).toEqual(['ok']);
    const after = await recordOf(gnu);
    expect(after).toMatchObject({ version, generation });
    expect((after as { lastSeen: string }).lastSeen > lastSeen).toBe(true);
  });
});

describe('check', () => {
  it('tells ok, changed and missing, by any ID', async () => {
    const [{ generation } = { generation: 0 }] = await report([executable()]);
    const items = [
      { id: gnu, generation: generation! },
      { id: hashes[0]!, generation: generation! },
      { id: gnu, generation: 1 },
      { id: hashes[5]!, generation: 1 },
    ];
    expect(await catalog.executables.check(items, sampleOf())).toEqual(['ok', 'ok', 'changed', 'missing']);
  });

  it('mends aliases that a partial loss took', async () => {
    const ids = { gnu, htlhash: hashes[0]!, go };
    const [{ generation } = { generation: 0 }] = await report([executable({ ids })]);
    for (const alias of [hashes[0]!, go]) await removeEntry(alias);
    await other.executables.check([{ id: gnu, generation: generation! }], sampleOf(other));
    const third = await started();
    for (const alias of [hashes[0]!, go]) expect(await recordOf(alias, third)).toMatchObject({ id: gnu });
    await third.stop();
  });
});

describe('two files with one GNU ID', () => {
  const one = executable();
  const two = executable({
    ids: { gnu, htlhash: hashes[1]! },
    name: '/usr/bin/other',
    load: [[0x1000n, 0x999n]],
  });

  it.each([
    ['in one batch', [[one, two]]],
    ['one after the other', [[one], [two]]],
    ['the other way round', [[two], [one]]],
  ])('are told apart by their hash: %s', async (_, batches) => {
    for (const batch of batches) await report(batch);
    expect(await report([one, two])).toMatchObject([{ id: hashes[0] }, { id: hashes[1] }]);
    expect(await recordOf(gnu)).toMatchObject({ id: gnu, ambiguous: true });
    expect(await recordOf(hashes[0]!)).toMatchObject({ id: hashes[0], ambiguous: false, fileName: 'bash' });
    expect(await recordOf(hashes[1]!)).toMatchObject({ id: hashes[1], ambiguous: false, fileName: 'other' });
  });

  it('change the generation that agents know, so that they ask again', async () => {
    const [first] = await report([one]);
    await report([two]);
    expect(
      await catalog.executables.check([{ id: gnu, generation: first!.generation! }], sampleOf()),
    ).toEqual(['changed']);
  });
});

describe('frames of agents', () => {
  const at = 0x401234n;
  const lookup = async (id: ExecutableId, addresses: bigint[], of = catalog) =>
    (await of.frames.lookup([{ id, addresses }]))[0]!;

  it('are known by address at once and to every server', async () => {
    await report([executable()]);
    expect((await lookup(gnu, [at], other)).at[0]!.status).toBe(FRAME_STATUS.symbolsNotReady);
    const [result] = await catalog.frames.report([{ id: gnu, address: at, frame }], sampleOf());
    expect(result).toMatchObject({ status: 'created', id: gnu });
    await clock.advance(0);
    for (const of of [catalog, other]) {
      const found = await lookup(hashes[0]!, [at, at + 1n, at], of);
      expect(found.canonical).toBe(gnu);
      expect(found.at.map(({ status, source }) => [status, source])).toEqual([
        [FRAME_STATUS.resolved, 'agent'],
        [FRAME_STATUS.symbolsNotReady, 'none'],
        [FRAME_STATUS.resolved, 'agent'],
      ]);
      expect(found.at[0]!.frames).toEqual([frame]);
    }
  });

  it('never lose to less, and change the generation only if they say more', async () => {
    await report([executable()]);
    await catalog.frames.report([{ id: gnu, address: at, frame }], sampleOf());
    const { generation } = await lookup(gnu, [at]);
    const less = { ...frame, function: 'zzz', file: '', line: 0 };
    const [result] = await other.frames.report([{ id: gnu, address: at, frame: less }], sampleOf(other));
    expect(result).toMatchObject({ status: 'unchanged' });
    expect(await lookup(gnu, [at])).toMatchObject({ generation, at: [{ frames: [frame] }] });
    await other.frames.report([{ id: gnu, address: at, frame: { ...frame, column: 9 } }], sampleOf(other));
    await clock.advance(0);
    const after = await lookup(gnu, [at]);
    expect(after.at[0]!.frames[0]!.column).toBe(9);
    expect(after.generation).toBeGreaterThan(generation);
  });

  it('of an executable that nobody reported are refused', async () => {
    const [result] = await catalog.frames.report([{ id: gnu, address: at, frame }], sampleOf());
    expect(result).toMatchObject({ status: 'error', error: { code: 'not_found' } });
    expect((await lookup(gnu, [at])).at[0]!.status).toBe(FRAME_STATUS.unknownExecutable);
  });

  it('live at the ends of the address space', async () => {
    await report([executable()]);
    const ends = [0n, 0xffff_ffff_ffff_ffffn, 0xffff_ffff_8100_0000n];
    await catalog.frames.report(
      ends.map((address) => ({ id: gnu, address, frame })),
      sampleOf(),
    );
    expect((await lookup(gnu, ends)).at.map(({ status }) => status)).toEqual([0, 0, 0]);
  });
});

describe('events', () => {
  it('tell what changed since a cursor, once per executable', async () => {
    const { cursor } = (await catalog.events.read(undefined, 0)) as { cursor: string };
    await report([executable()]);
    await report([executable({ name: '/bin/bash' })]);
    await clock.advance(0);
    const page = await other.events.read(cursor, 0);
    expect(page).toMatchObject({
      events: expect.arrayContaining([expect.objectContaining({ id: gnu, kind: 'record' })]),
    });
    expect((page as { events: { id: string }[] }).events.filter(({ id }) => id === gnu)).toHaveLength(1);
    expect(await other.events.read(page.cursor, 0)).toEqual({ events: [], cursor: page.cursor });
  });

  it('wait for one to come, and no longer than asked', async () => {
    const { cursor } = await catalog.events.read(undefined, 0);
    const waiting = other.events.read(cursor, 5_000);
    await report([executable()]);
    await clock.advance(0);
    const { events } = (await waiting) as { events: { id: string }[] };
    expect(events.map(({ id }) => id)).toContain(gnu);
    const { cursor: end } = await catalog.events.read(undefined, 0);
    const idle = catalog.events.read(end, 5_000);
    await clock.advance(5_000);
    expect(await idle).toMatchObject({ events: [] });
  });

  it('are reset by another epoch, and by logs that were trimmed', async () => {
    const { cursor } = await catalog.events.read(undefined, 0);
    store.flush();
    await clock.advance(1_500);
    expect(await catalog.events.read(cursor, 0)).toMatchObject({ reset: true });
    await expect(catalog.events.read('nonsense', 0)).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('search', () => {
  it('finds parts of names in any case, in order, page by page', async () => {
    const all = Array.from({ length: 300 }, (_, index) =>
      executable({
        ids: {
          gnu: gnuId(`77${String(index).padStart(38, '0')}`),
          htlhash: htlhashId(`77${String(index).padStart(30, '0')}`),
        },
        name: `/opt/Server-${String(index).padStart(3, '0')}${index % 3 === 0 ? '.so' : ''}`,
      }),
    );
    await report(all);
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await catalog.executables.search({
        name: '.SO',
        limit: 7,
        ...(cursor === undefined ? {} : { cursor }),
      });
      found.push(...page.items.map(({ record }) => record.fileName));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(found).toEqual(all.map(({ name }) => name.slice(5)).filter((name) => name.endsWith('.so')));
    expect((await catalog.executables.search({ state: 'ready', limit: 5 })).items).toEqual([]);
  });
});

describe('a new epoch', () => {
  it('is followed from its own beginning, though its logs have grown to where the old ones were', async () => {
    const one = executable();
    const renamed = { ...one, name: '/opt/bash' };
    await report([one]);
    await report([renamed]);
    await clock.advance(1_000);
    store.flush();
    await clock.advance(1_000);
    await report([one]);
    expect(await recordOf(gnu, other)).toMatchObject({ names: [one.name] });
    await report([renamed]);
    await clock.advance(1_000);
    expect(await recordOf(gnu, other)).toMatchObject({ names: expect.arrayContaining([renamed.name]) });
  });

  it('forgets what this process had cached, and a reply in between is not given', async () => {
    await report([executable()]);
    await recordOf(gnu);
    const sample = sampleOf();
    store.flush();
    expect(sample.outage()).toBeNull();
    await clock.advance(1_500);
    expect(sample.outage()).toBeInstanceOf(StoreUnavailable);
    expect(await recordOf(gnu)).toBe('not_found');
  });
});

function rawOf(index: number): string {
  return hashes[index]!.slice('htlhash:'.length);
}

async function removeEntry(id: ExecutableId): Promise<void> {
  const { recordAt } = await import('../src/catalog/keys.ts');
  const [value] = await store.get([recordAt(id)]);
  await store.swap([{ at: recordAt(id), expected: value as Uint8Array, value: null }]);
}
