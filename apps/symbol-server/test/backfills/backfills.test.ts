// Backfills through the front door, on a store in memory and a clock that stands still.
import type { ExecutableId } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import { beforeEach, describe, expect, it } from 'vitest';
import { inFlightMax } from '../../src/backfills/runner.ts';
import { backfillFailuresReply, backfillReply, backfillsReply, censusReply } from '../../src/schemas.ts';
import { messageOf } from '../app-under-test.ts';
import { type BackfillReply, FleetUnderTest, tableBytes } from './fleet-under-test.ts';

let fleet: FleetUnderTest;

beforeEach(async () => {
  fleet = await FleetUnderTest.start();
});

/** Ticks and works until the backfill has ended; bounded, so that one that never ends fails. */
async function untilOver(backfill: BackfillReply, failing?: ReadonlySet<string>): Promise<BackfillReply> {
  for (let ticks = 0; ticks < 100; ticks++) {
    const now = await fleet.show(backfill);
    if (now.state === 'done') return now;
    await fleet.tick();
    await fleet.work(failing);
  }
  throw new Error(`after 100 s: ${JSON.stringify(await fleet.show(backfill))}`);
}

async function failuresOf({ id }: BackfillReply, query = ''): Promise<{ id: string; code: string }[]> {
  const reply = await fleet.server.get(`/v1/admin/backfills/${id}/failed${query}`);
  return (await messageOf<{ items: { id: string; code: string }[] }>(reply)).items;
}

describe('a backfill of stored files', () => {
  it('asks for the tables of what has files, counts what comes of it, and ends', async () => {
    const ids = await fleet.report(20);
    await fleet.addFiles(ids.slice(0, 15));
    const failing = new Set(ids.slice(0, 3));
    const backfill = await fleet.begin({});
    expect(backfill).toMatchObject({ state: 'running', progress: { total: 20, done: 0 } });
    const over = await untilOver(backfill, failing);
    expect(over.progress).toMatchObject({ total: 20, done: 12, failed: 3, skipped: 5, running: 0 });
    expect(over.progress.bytes).toBe(12 * tableBytes);
    expect(over.reasons).toEqual({ malformed: 3 });
    expect(over.skippedReasons).toEqual({ no_sources: 5 });
    expect(backfillReply.safeParse(over).error?.message).toBeUndefined();
    expect((await failuresOf(over)).map(({ id }) => id)).toEqual([...failing].sort());
  });

  it('asks for nothing where the table is up to date', async () => {
    const ids = await fleet.report(5);
    await fleet.addFiles(ids);
    await untilOver(await fleet.begin({}));
    const again = await untilOver(await fleet.begin({}));
    expect(again.skippedReasons).toEqual({ up_to_date: 5 });
  });

  it('keeps to its rate, and says when it will be done', async () => {
    await fleet.addFiles(await fleet.report(100));
    const backfill = await fleet.begin({ rate: 5 });
    await fleet.tick();
    expect(await fleet.work()).toBe(5);
    await fleet.tick();
    const { progress } = await fleet.show(backfill);
    expect(progress).toMatchObject({ done: 5, running: 5, rate: 5 });
    const now = fleet.server.clock.wall();
    expect(Date.parse(progress.eta!) - now).toBe((95 / 5) * 1_000);
  });

  it('spreads less than one a second over seconds', async () => {
    await fleet.addFiles(await fleet.report(10));
    await fleet.begin({ rate: 0.25 });
    const asked: number[] = [];
    for (let second = 0; second < 8; second++) {
      await fleet.tick();
      asked.push(await fleet.work());
    }
    expect(asked).toEqual([0, 0, 0, 1, 0, 0, 0, 1]);
  });

  it('has a bounded number under way in a fleet of ten thousand, and comes to its end', async () => {
    const ids = await fleet.report(10_000);
    await fleet.addFiles(ids);
    const backfill = await fleet.begin({ rate: 10_000 });
    await fleet.tick();
    await fleet.tick();
    expect((await fleet.show(backfill)).progress.running).toBe(inFlightMax);
    const over = await untilOver(backfill);
    expect(over.progress).toMatchObject({ total: 10_000, done: 10_000 });
  }, 120_000);
});

describe('its filter', () => {
  async function chosen(filter: object): Promise<number> {
    const reply = await fleet.server.post('/v1/admin/backfills', { source: 'stored', filter, dryRun: true });
    expect(reply.status).toBe(200);
    const census = await messageOf<{ total: number }>(reply);
    expect(censusReply.safeParse(census).error?.message).toBeUndefined();
    return census.total;
  }

  it('chooses by name, state, quality, day, format and ID', async () => {
    const ids = await fleet.report(6, 'web');
    await fleet.report(4, 'db');
    await fleet.addFiles(ids.slice(0, 3));
    await fleet.conclude(ids[0]!, false, symbolTableVersion - 1);
    await fleet.conclude(ids[1]!, false);
    await fleet.conclude(ids[2]!, true);
    expect(await chosen({})).toBe(10);
    expect(await chosen({ name: 'WEB' })).toBe(6);
    expect(await chosen({ state: 'ready' })).toBe(2);
    expect(await chosen({ state: 'failed' })).toBe(1);
    expect(await chosen({ qualityBelow: 'dynsym' })).toBe(8);
    expect(await chosen({ qualityBelow: 'dwarf', name: 'db' })).toBe(4);
    expect(await chosen({ formatBelow: symbolTableVersion })).toBe(1);
    expect(await chosen({ formatBelow: symbolTableVersion + 1 })).toBe(2);
    expect(await chosen({ lastSeenAfter: '2026-01-01T12:00:00Z' })).toBe(10);
    expect(await chosen({ lastSeenAfter: '2026-01-02T00:00:00Z' })).toBe(0);
    expect(await chosen({ ids: ids.slice(2, 5) })).toBe(3);
    expect(await chosen({ ids: ids.slice(2, 5), state: 'failed' })).toBe(1);
  });

  it('says of a dry run how many are in which state and would be asked for, and starts nothing', async () => {
    const ids = await fleet.report(5);
    await fleet.addFiles(ids.slice(0, 3));
    await fleet.conclude(ids[0]!, false);
    const body = { source: 'stored', dryRun: true };
    expect(await messageOf(await fleet.server.post('/v1/admin/backfills', body))).toEqual({
      ...{ dryRun: true, total: 5, asked: 2, complete: true },
      ...{ states: { ready: 1, none: 4 }, qualities: { symtab: 1, none: 4 } },
      skipped: { up_to_date: 1, no_sources: 2 },
    });
    expect(await messageOf(await fleet.server.get('/v1/admin/backfills'))).toEqual({
      items: [],
      nextCursor: null,
    });
  });

  it('names what is not known, and takes an executable by any of its IDs, once', async () => {
    const ids = await fleet.report(2);
    await fleet.addFiles(ids);
    const raw = ids[0]!.slice('gnu:'.length);
    const filter = { ids: [ids[0], raw, `htlhash:${raw.slice(0, 32)}`, `gnu:${'ab'.repeat(20)}`] };
    const over = await untilOver(await fleet.begin({ filter }));
    expect(over.progress).toMatchObject({ total: 2, done: 1, skipped: 1 });
    expect(over.skippedReasons).toEqual({ unknown: 1 });
  });

  it.each([
    [{ source: 'elsewhere' }, 'source'],
    [{ filter: { state: 'odd' } }, 'filter.state'],
    [{ filter: { ids: ['zz'] } }, 'zz'],
    [{ filter: { ids: [] } }, 'filter.ids'],
    [{ filter: { lastSeenAfter: 'yesterday' } }, 'filter.lastSeenAfter'],
    [{ rate: 0 }, 'rate'],
    [{ priority: 11 }, 'priority'],
  ])('%j is refused with its place', async (body, place) => {
    const reply = await fleet.server.post('/v1/admin/backfills', { source: 'stored', ...body });
    expect(reply.status).toBe(400);
    expect((await messageOf<{ error: { message: string } }>(reply)).error.message).toContain(place);
  });
});

describe('a repeated POST', () => {
  const key = { 'idempotency-key': 'night-1' };

  it('with one idempotency-key is one backfill', async () => {
    await fleet.report(1);
    const first = await fleet.begin({}, key);
    expect((await fleet.begin({}, key)).id).toBe(first.id);
    expect((await fleet.begin({}, { 'idempotency-key': 'night-2' })).id).not.toBe(first.id);
    expect((await fleet.begin({})).id).not.toBe((await fleet.begin({})).id);
  });

  it('for something else with that key is a conflict', async () => {
    await fleet.begin({}, key);
    const reply = await fleet.server.post('/v1/admin/backfills', { source: 'upstream' }, key);
    expect(reply.status).toBe(409);
  });
});

describe('several at once', () => {
  it('share what there is room for by their priorities', async () => {
    const [web, db] = [await fleet.report(2_000, 'web'), await fleet.report(2_000, 'db')];
    await fleet.addFiles([...web, ...db]);
    const high = await fleet.begin({ filter: { name: 'web' }, priority: 8, rate: 10_000 });
    const low = await fleet.begin({ filter: { name: 'db' }, priority: 2, rate: 10_000 });
    await fleet.tick();
    expect((await fleet.show(high)).progress.running).toBe(0.8 * inFlightMax);
    expect((await fleet.show(low)).progress.running).toBe(0.2 * inFlightMax);
    expect((await untilOver(low)).progress.done).toBe(2_000);
    expect((await untilOver(high)).progress.done).toBe(2_000);
  }, 120_000);
});

describe('an admin', () => {
  let ids: ExecutableId[];
  let backfill: BackfillReply;

  beforeEach(async () => {
    ids = await fleet.report(20);
    await fleet.addFiles(ids);
    backfill = await fleet.begin({ rate: 5 });
    await fleet.tick();
  });

  it('pauses it: what is under way ends, nothing more is asked for until it is resumed', async () => {
    expect((await fleet.act(backfill, 'pause')).state).toBe('paused');
    expect((await fleet.act(backfill, 'pause')).state).toBe('paused');
    expect(await fleet.work()).toBe(5);
    for (let second = 0; second < 5; second++) await fleet.tick();
    expect(fleet.server.jobs.asked.size).toBe(0);
    expect(await fleet.show(backfill)).toMatchObject({ state: 'paused', progress: { done: 5, running: 0 } });
    expect((await fleet.act(backfill, 'resume')).state).toBe('running');
    expect((await untilOver(backfill)).progress.done).toBe(20);
  });

  it('cancels it for good', async () => {
    const over = await fleet.act(backfill, 'cancel');
    expect(over).toMatchObject({ state: 'cancelled', skippedReasons: { cancelled: 5 } });
    await fleet.work();
    for (let second = 0; second < 3; second++) await fleet.tick();
    expect(fleet.server.jobs.asked.size).toBe(0);
    expect((await fleet.act(backfill, 'cancel')).state).toBe('cancelled');
    for (const action of ['pause', 'resume']) {
      await expect(fleet.act(backfill, action)).rejects.toThrow('409');
    }
  });

  it('retries the failed ones, and no others', async () => {
    const failing = new Set(ids.slice(0, 7));
    const over = await untilOver(backfill, failing);
    expect(over.progress).toMatchObject({ done: 13, failed: 7 });
    expect((await fleet.act(over, 'retry')).state).toBe('running');
    const asked = new Set<string>();
    const stillFailing = new Set(ids.slice(0, 2));
    for (let second = 0; second < 10; second++) {
      await fleet.tick();
      for (const { id } of fleet.server.jobs.asked.values()) asked.add(id);
      await fleet.work(stillFailing);
    }
    expect([...asked].sort()).toEqual([...failing].sort());
    const retried = await fleet.show(over);
    expect(retried).toMatchObject({ state: 'done', progress: { total: 20, done: 18, failed: 2 } });
    expect(retried.reasons).toEqual({ malformed: 2 });
    expect((await failuresOf(over)).map(({ id }) => id)).toEqual([...stillFailing].sort());
    const all = await untilOver(await fleet.act(over, 'retry'));
    expect(all.progress).toMatchObject({ done: 20, failed: 0 });
    expect(await failuresOf(over)).toEqual([]);
    expect(await fleet.act(over, 'retry')).toMatchObject({ state: 'done' });
  });

  it('pages through the failed ones and through the backfills', async () => {
    await untilOver(backfill, new Set(ids.slice(0, 7)));
    const path = `/v1/admin/backfills/${backfill.id}/failed?limit=3`;
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = await messageOf(await fleet.server.get(`${path}&cursor=${cursor}`));
      const { items, reasons, nextCursor } = backfillFailuresReply.parse(page);
      expect(reasons).toEqual({ malformed: 7 });
      expect(items.every(({ code, message }) => code === 'malformed' && message === 'no')).toBe(true);
      seen.push(...items.map(({ id }) => id));
      cursor = nextCursor;
    }
    expect(seen).toEqual(ids.slice(0, 7).sort());
    await fleet.server.clock.advance(1_000);
    const second = await fleet.begin({});
    const first = backfillsReply.parse(
      await messageOf(await fleet.server.get('/v1/admin/backfills?limit=1')),
    );
    expect(first.items.map(({ id }) => id)).toEqual([second.id]);
    const rest = await fleet.server.get(`/v1/admin/backfills?limit=1&cursor=${first.nextCursor}`);
    const { items, nextCursor } = backfillsReply.parse(await messageOf(rest));
    expect([items.map(({ id }) => id), nextCursor]).toEqual([[backfill.id], null]);
  });

  it('asks for one that is not there in vain', async () => {
    expect((await fleet.server.get('/v1/admin/backfills/0123')).status).toBe(404);
    await expect(fleet.act({ id: '0123' }, 'pause')).rejects.toThrow('404');
  });
});

describe('a worker that is killed', () => {
  it('has its place taken: what may have been asked for is asked for again, and nothing is counted twice', async () => {
    await fleet.addFiles(await fleet.report(30));
    const backfill = await fleet.begin({ rate: 10 });
    await fleet.tick();
    // The step is written down, and the jobs are lost with the worker.
    fleet.server.jobs.asked.clear();
    await fleet.replaceRunner();
    await fleet.tick();
    expect((await fleet.show(backfill)).progress.running).toBe(20);
    expect(await fleet.work()).toBe(20);
    expect((await untilOver(backfill)).progress).toMatchObject({ total: 30, done: 30 });
  });

  it('and jobs that the queue lost are asked for again by the same worker, after a minute', async () => {
    await fleet.addFiles(await fleet.report(3));
    const backfill = await fleet.begin({});
    await fleet.tick();
    fleet.server.jobs.asked.clear();
    await fleet.tick();
    expect(fleet.server.jobs.asked.size).toBe(0);
    await fleet.server.clock.advance(60_000);
    await fleet.tick();
    expect(await fleet.work()).toBe(3);
    expect((await untilOver(backfill)).progress.done).toBe(3);
  });

  it('or a store that is away for a while costs time, and nothing else', async () => {
    await fleet.addFiles(await fleet.report(10));
    const backfill = await fleet.begin({ rate: 3 });
    await fleet.tick();
    fleet.server.store.down(0);
    await fleet.tick();
    fleet.server.store.up(0);
    await fleet.server.clock.advance(1_000);
    expect((await untilOver(backfill)).progress).toMatchObject({ total: 10, done: 10 });
  });
});

describe('a backfill from upstreams', () => {
  it('asks for each once, says what they had not, and waits for the tables of what came', async () => {
    const ids = await fleet.report(6);
    const [came, absent, kept, away, forbidden, worse] = ids as [ExecutableId, ...ExecutableId[]];
    const answers = new Map([
      [came, 'accepted'],
      [absent, 'absent'],
      [kept, 'kept'],
      [away, 'failed'],
      [forbidden, 'not_allowed'],
      [worse, 'accepted'],
    ] as const);
    fleet.answer = (id) => answers.get(id)!;
    const backfill = await fleet.begin({ source: 'upstream' });
    await fleet.tick();
    expect([...fleet.fetched].sort()).toEqual([...ids].sort());
    await fleet.addFiles([came, worse!]);
    await fleet.tick();
    expect((await fleet.show(backfill)).progress).toMatchObject({ running: 2, failed: 2, skipped: 2 });
    await fleet.conclude(came, false);
    await fleet.conclude(worse!, true);
    await fleet.tick();
    const over = await fleet.show(backfill);
    expect(over).toMatchObject({ state: 'done', progress: { total: 6, done: 1, failed: 3, skipped: 2 } });
    expect(over.reasons).toEqual({ absent: 1, upstream_failed: 1, malformed: 1 });
    expect(over.skippedReasons).toEqual({ not_better: 1, not_allowed: 1 });
    expect(fleet.fetched).toHaveLength(6);
  });
});

describe('a worker that dies after a file came from an upstream', () => {
  it('and before its job was asked for, costs that job nothing', async () => {
    const [id] = (await fleet.report(1)) as [ExecutableId];
    fleet.answer = () => 'accepted';
    const backfill = await fleet.begin({ source: 'upstream' });
    await fleet.tick();
    await fleet.addFiles([id]);
    await fleet.replaceRunner();
    await fleet.tick();
    expect(await fleet.work()).toBe(1);
    expect((await untilOver(backfill)).progress).toMatchObject({ total: 1, done: 1 });
    expect(fleet.fetched).toEqual([id]);
  });
});

describe('a store that lost its last second', () => {
  it('has what an upstream had given asked for again', async () => {
    const [id] = (await fleet.report(1)) as [ExecutableId];
    fleet.answer = () => 'accepted';
    const backfill = await fleet.begin({ source: 'upstream' });
    await fleet.tick();
    // It was accepted, and the set is as if it never had been.
    for (let second = 0; second < 61; second++) await fleet.tick();
    expect(fleet.fetched).toEqual([id, id]);
    await fleet.addFiles([id]);
    await fleet.conclude(id, false);
    expect((await untilOver(backfill)).progress).toMatchObject({ total: 1, done: 1 });
  });
});

describe('an outage of ours', () => {
  it('is no failure of an upstream: it is asked again a little later', async () => {
    const [id] = (await fleet.report(1)) as [ExecutableId];
    fleet.answer = () => 'unavailable';
    const backfill = await fleet.begin({ source: 'upstream' });
    for (let second = 0; second < 11; second++) await fleet.tick();
    expect(fleet.fetched).toEqual([id, id]);
    expect((await fleet.show(backfill)).progress).toMatchObject({ failed: 0, running: 1 });
  });
});

describe('a backfill by agents', () => {
  it('makes them the most wanted, and gives up after ten minutes', async () => {
    const [came, missing] = (await fleet.report(2)) as [ExecutableId, ExecutableId];
    const backfill = await fleet.begin({ source: 'agents' });
    await fleet.tick();
    await fleet.server.clock.advance(1_000);
    const { demand } = fleet.server.deps.catalog;
    expect((await demand.top(5)).map(({ id }) => id).sort()).toEqual([came, missing].sort());
    await fleet.addFiles([came]);
    await fleet.conclude(came, false);
    await fleet.tick();
    expect((await fleet.show(backfill)).progress).toMatchObject({ done: 1, running: 1 });
    await fleet.server.clock.advance(600_000);
    await fleet.tick();
    const over = await fleet.show(backfill);
    expect(over).toMatchObject({ state: 'done', reasons: { no_agent: 1 } });
    expect(await failuresOf(over)).toMatchObject([{ id: missing, code: 'no_agent' }]);
  });
});
