import { StoreUnavailable } from '@symkeep/cache';
import type { ExecutableId } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;
const unknownId = `gnu:${'ab'.repeat(20)}`;

interface Wanted {
  items: { id: string; samples: number; record?: { symbols: { state: string } } }[];
}

beforeEach(async () => {
  server = await startApp();
  await server.post('/v1/executables', reportOf(bash));
});

async function ask(id: string, addresses: readonly number[], weights?: readonly number[]): Promise<void> {
  const request = { id, addresses, ...(weights === undefined ? {} : { weights }) };
  await server.post('/v1/frames/lookup', { requests: [request] });
}

async function wanted(): Promise<Wanted> {
  return messageOf<Wanted>(await server.get('/v1/admin/wanted'));
}

describe('demand', () => {
  it('counts samples, or addresses without weights, by executable, most wanted first', async () => {
    await ask(bash.ids.gnu, [1, 2, 3]);
    await ask(`htlhash:${bash.ids.htlhash}`, [4], [2.0]);
    await ask(unknownId, [1, 2], [40, 2]);
    await server.get(`/v1/executables/${bashId}/frames/0x10`);
    expect(await wanted()).toEqual({ items: [], nextCursor: null });
    await server.clock.advance(1_000);
    const { items } = await wanted();
    expect(items.map(({ id, samples }) => [id, samples])).toEqual([
      [unknownId, 42],
      [bashId, 6],
    ]);
    expect(items.map(({ record }) => record?.symbols.state)).toEqual([undefined, 'wanted']);
  });

  it('makes the record say so, once, and leaves its generation alone', async () => {
    const before = await messageOf<{ generation: number }>(await server.get(`/v1/executables/${bashId}`));
    await ask(bashId, [1]);
    await server.clock.advance(1_000);
    const marked = await server.get(`/v1/executables/${bashId}`);
    const record = await messageOf<{ generation: number; symbols: { state: string } }>(marked);
    expect([record.symbols.state, record.generation]).toEqual(['wanted', before.generation]);
    await ask(bashId, [1]);
    await server.clock.advance(1_000);
    expect((await server.get(`/v1/executables/${bashId}`)).headers.get('etag')).toBe(
      marked.headers.get('etag'),
    );
    const found = await messageOf<Wanted>(await server.get('/v1/executables?state=wanted'));
    expect(found.items.map(({ id }) => id)).toEqual([bashId]);
  });

  it('does not count what was resolved', async () => {
    await server.post('/v1/frames', { frames: [{ id: bashId, address: 16, function: 'main' }] });
    await ask(bashId, [16]);
    await server.clock.advance(1_000);
    expect((await wanted()).items).toEqual([]);
  });

  it('is kept through an outage, and is not listed in part', async () => {
    const { demand } = server.deps.catalog;
    await ask(bashId, [1]);
    server.store.down(0);
    await server.clock.advance(1_000);
    expect(demand.counts.outages).toBe(1);
    expect((await server.get('/v1/admin/wanted')).status).toBe(503);
    await expect(demand.top(1)).rejects.toBeInstanceOf(StoreUnavailable);
    server.store.up(0);
    await server.clock.advance(1_000);
    expect((await wanted()).items).toMatchObject([{ id: bashId, samples: 1 }]);
  });

  it('is bounded between two writes, and what does not fit is counted', async () => {
    const { demand } = server.deps.catalog;
    for (let n = 0; n < 10_005; n++)
      demand.note(`gnu:${n.toString(16).padStart(16, '0')}` as ExecutableId, 2);
    expect(demand.counts).toMatchObject({ asked: 20_010, dropped: 10 });
  });

  it('ends when it is satisfied', async () => {
    const { demand } = server.deps.catalog;
    await ask(bashId, [1]);
    await demand.flush();
    expect(await demand.of([bashId as ExecutableId, unknownId as ExecutableId])).toEqual([1, 0]);
    await demand.satisfied([bashId as ExecutableId]);
    expect(await demand.of([bashId as ExecutableId])).toEqual([0]);
    expect((await wanted()).items).toEqual([]);
  });
});
