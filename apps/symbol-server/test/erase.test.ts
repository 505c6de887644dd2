import { StoreUnavailable } from '@symkeep/cache';
import type { ExecutableId } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { shardOf } from '../src/catalog/keys.ts';
import { type AppUnderTest, agent, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;
const id = bashId as ExecutableId;
const frame = { id: bashId, address: '0x2f010', function: 'main' };

beforeEach(async () => {
  server = await startApp();
  await server.post('/v1/executables', reportOf(bash));
  await server.post('/v1/frames', { frames: [frame] });
});

async function erase(what = bashId): Promise<Response> {
  return server.app.request(`/v1/executables/${what}`, { method: 'DELETE' });
}

async function codeOf(reply: Response): Promise<[number, string]> {
  return [reply.status, (await messageOf<{ error: { code: string } }>(reply)).error.code];
}

describe('an erased executable', () => {
  it('is gone by all its IDs, frames too, and the reply says what is out of reach', async () => {
    const reply = await messageOf<{ erased: string[]; remains: string[] }>(await erase());
    expect(reply.erased).toEqual([bashId]);
    expect(reply.remains.join()).toMatch(/backups.*logs.*snapshots/);
    for (const one of [bashId, bash.ids.gnu, `htlhash:${bash.ids.htlhash}`]) {
      expect(await codeOf(await server.get(`/v1/executables/${one}`))).toEqual([410, 'erased']);
    }
    const { results } = await messageOf<{ results: unknown[] }>(
      await server.post('/v1/executables/lookup', { ids: [bashId] }),
    );
    expect(results).toEqual([{ error: { code: 'erased' } }]);
    const frames = await messageOf<{ results: { status: number[] }[] }>(
      await server.post('/v1/frames/lookup', { requests: [{ id: bashId, addresses: [frame.address] }] }),
    );
    expect(frames.results[0]!.status).toEqual([3]);
    expect(
      (await messageOf<{ items: unknown[] }>(await server.get('/v1/executables?name=bash'))).items,
    ).toEqual([]);
  });

  it('leaves nothing but a tombstone in the store', async () => {
    const digest = 'ab'.repeat(32);
    const sample = server.deps.catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw sample;
    const table = { shard: shardOf(id), key: `t:${id}:${digest}`, field: 'h' };
    await server.store.swap([{ at: table, expected: null, value: Uint8Array.of(1) }]);
    await server.deps.catalog.sources.change(
      id,
      (set) => ({
        ...set,
        tables: [{ digest, generation: 1, format: 1, quality: 'dwarf', from: [], at: 1 }],
      }),
      sample,
    );
    await erase();
    const held = server.store.snapshot()[shardOf(id)]!;
    expect(
      [...held.values].filter(([key]) => key.endsWith(id)).map(([key, value]) => [key, value.length]),
    ).toEqual([[`x:${id}`, 9]]);
    expect([...held.fields.keys()].filter((key) => key.includes(id))).toEqual([]);
    expect(held.index.filter((member) => member.includes(id))).toEqual([]);
  });

  it('stays erased whatever is reported of it, under any of its IDs', async () => {
    await erase();
    const { htlhash } = bash.ids;
    for (const again of [bash, { ...bash, ids: { htlhash } }, { ...bash, load: [['0x1000', '0x99']] }]) {
      const { results } = await messageOf<{ results: { status: string; error: { code: string } }[] }>(
        await server.post('/v1/executables', { agent, executables: [again] }),
      );
      expect(results).toMatchObject([{ status: 'error', error: { code: 'erased' } }]);
    }
    const { results } = await messageOf<{ results: { error: { code: string } }[] }>(
      await server.post('/v1/frames', { frames: [frame] }),
    );
    expect(results).toMatchObject([{ error: { code: 'erased' } }]);
    const { results: checks } = await messageOf<{ results: string[] }>(
      await server.post('/v1/executables/check', { executables: [{ id: bashId, generation: 1 }] }),
    );
    expect(checks).toEqual(['erased']);
  });

  it('is an event, once, and explained', async () => {
    const { cursor } = await messageOf<{ cursor: string }>(await server.get('/v1/events'));
    await erase();
    const { events } = await messageOf<{ events: { id: string; kind: string }[] }>(
      await server.get(`/v1/events?cursor=${cursor}`),
    );
    expect(events.map(({ id: one, kind }) => [one, kind])).toEqual([[bashId, 'erased']]);
    expect((await messageOf<{ erased: string[] }>(await erase())).erased).toEqual([]);
    const { steps } = await messageOf<{ steps: { kind: string }[] }>(
      await server.get(`/v1/executables/${bashId}/explain`),
    );
    expect(steps.map(({ kind }) => kind)).toEqual(['erased']);
  });

  it('takes both files of an ambiguous ID along', async () => {
    const other = { ...bash, ids: { ...bash.ids, htlhash: 'fe'.repeat(16) }, load: [['0x1000', '0x99']] };
    await server.post('/v1/executables', reportOf(other));
    const { erased } = await messageOf<{ erased: string[] }>(await erase());
    expect(erased.sort()).toEqual(
      [bashId, `htlhash:${bash.ids.htlhash}`, `htlhash:${other.ids.htlhash}`].sort(),
    );
    expect((await server.get(`/v1/executables/htlhash:${other.ids.htlhash}`)).status).toBe(410);
  });

  it('must have been known, and the store must be there', async () => {
    expect(await codeOf(await erase(`gnu:${'cd'.repeat(20)}`))).toEqual([404, 'not_found']);
    server.store.down(0);
    expect(await codeOf(await erase())).toEqual([503, 'unavailable']);
  });
});
