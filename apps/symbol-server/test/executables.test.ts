import { StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, type ExecutableRecord, itemsMax } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

const unknownId = 'aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00';
let server: AppUnderTest;

interface Results<T> {
  readonly results: T[];
}

beforeEach(async () => {
  server = await startApp();
});

async function report(...executables: unknown[]) {
  const reply = await server.post('/v1/executables', reportOf(...executables));
  expect(reply.status).toBe(200);
  return messageOf<Results<{ status: string; id: string; generation: number }> & { upload: unknown[] }>(
    reply,
  );
}

describe('a reported executable', () => {
  it('is found by each of its IDs, with one ETag', async () => {
    const goId = 'a1/b2/c3/d4';
    await report({ ...bash, ids: { ...bash.ids, go: goId } });
    const texts = [
      bash.ids.gnu,
      bashId,
      bash.ids.gnu.toUpperCase(),
      `htlhash:${bash.ids.htlhash}`,
      `go:${Buffer.from(goId).toString('base64url')}`,
    ];
    const replies = await Promise.all(texts.map((text) => server.get(`/v1/executables/${text}`)));
    expect(replies.map(({ status }) => status)).toEqual(texts.map(() => 200));
    expect(new Set(replies.map(({ headers }) => headers.get('etag'))).size).toBe(1);
    const records = await Promise.all(
      replies.map((reply) => messageOf<{ id: string; names: string[] }>(reply)),
    );
    for (const record of records)
      expect(record).toMatchObject({ id: bashId, fileName: 'bash', names: ['/usr/bin/bash'] });
  });

  it('is created once, then unchanged, then merged with what is new', async () => {
    expect((await report(bash)).results[0]).toMatchObject({ status: 'created', id: bashId });
    expect((await report(bash)).results[0]).toMatchObject({ status: 'unchanged', id: bashId });
    expect((await report({ ...bash, name: '/bin/bash' })).results[0]).toMatchObject({ status: 'merged' });
    const record = await messageOf<{ names: string[] }>(await server.get(`/v1/executables/${bashId}`));
    expect(record.names.toSorted()).toEqual(['/bin/bash', '/usr/bin/bash']);
  });

  it('keeps its symbols and its generation, however often and late it is reported', async () => {
    await report(bash);
    const sample = server.deps.catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw sample;
    const table = { quality: 'dwarf', functions: 7, ranges: 9, bytes: 80, sources: ['dwarf'] } as const;
    await server.deps.catalog.states.ready(
      bashId as ExecutableId,
      { ...table, digest: 'ab'.repeat(32) },
      1,
      sample,
    );
    const ready = await messageOf<ExecutableRecord>(await server.get(`/v1/executables/${bashId}`));
    await server.clock.advance(3_600_000);
    await report({ ...bash, name: '/opt/bash' });
    const later = await messageOf<ExecutableRecord>(await server.get(`/v1/executables/${bashId}`));
    expect(later).toMatchObject({
      symbols: { ...ready.symbols, state: 'ready' },
      generation: ready.generation,
    });
    expect(later.names).toHaveLength(2);
  });

  it('answers 304 to its ETag until it changes', async () => {
    await report(bash);
    const first = await server.get(`/v1/executables/${bashId}`);
    const etag = first.headers.get('etag')!;
    expect(first.headers.get('cache-control')).toBe('private, no-cache');
    for (const header of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await server.get(`/v1/executables/${bashId}`, { 'if-none-match': header });
      expect(again.status).toBe(304);
      expect(await again.text()).toBe('');
      expect(again.headers.get('etag')).toBe(etag);
    }
    await report({ ...bash, name: '/bin/bash' });
    expect((await server.get(`/v1/executables/${bashId}`, { 'if-none-match': etag })).status).toBe(200);
  });
});

describe('a batch', () => {
  it('answers each ID in request order, duplicates too, in both encodings', async () => {
    await report(bash);
    const ids = [unknownId, bashId, 'not an id', bash.ids.gnu, 7, '', bashId];
    const expected = [
      { error: { code: 'not_found' } },
      { record: expect.objectContaining({ id: bashId }) },
      { error: { code: 'invalid_argument' } },
      { record: expect.objectContaining({ id: bashId }) },
      { error: { code: 'invalid_argument' } },
      { error: { code: 'invalid_argument' } },
      { record: expect.objectContaining({ id: bashId }) },
    ];
    const json = await server.post('/v1/executables/lookup', { ids });
    expect(await messageOf(json)).toEqual({ results: expected });
    const packed = await server.postMessagePack('/v1/executables/lookup', { ids });
    expect(packed.headers.get('content-type')).toBe('application/msgpack');
    expect(await messageOf(packed)).toEqual({ results: expected });
  });

  it('of nothing has no results', async () => {
    for (const send of [server.post, server.postMessagePack]) {
      expect(await messageOf(await send('/v1/executables/lookup', { ids: [] }))).toEqual({ results: [] });
    }
  });

  it('of reports keeps what is good beside what is not', async () => {
    const { results } = await report({ ids: { htlhash: 'zz' } }, bash, null, { ...bash, load: [['0x1']] });
    expect(results).toMatchObject([
      { status: 'error', error: { code: 'invalid_argument' } },
      { status: 'created', id: bashId },
      { status: 'error', error: { code: 'invalid_argument' } },
      { status: 'error', error: { code: 'invalid_argument' } },
    ]);
    expect((await server.get(`/v1/executables/${bashId}`)).status).toBe(200);
  });

  it('of checks says what the store still has', async () => {
    const { results } = await report(bash);
    const { generation } = results[0]!;
    const executables = [
      { id: bashId, generation },
      { id: bashId, generation: generation + 1 },
      { id: unknownId, generation: 1 },
      { id: 'zz', generation: 1 },
    ];
    const reply = await messageOf(await server.post('/v1/executables/check', { executables }));
    expect(reply).toEqual({ results: ['ok', 'changed', 'missing', 'invalid_argument'] });
  });

  it.each([
    ['lookup', (count: number) => ({ ids: Array(count).fill(unknownId) })],
    ['check', (count: number) => ({ executables: Array(count).fill({ id: unknownId, generation: 1 }) })],
    ['', (count: number) => reportOf(...Array(count).fill(bash))],
  ])('of %s is answered at its limit, and too large as a whole over it', async (path, bodyOf) => {
    const target = `/v1/executables/${path}`.replace(/\/$/, '');
    const most = await server.post(target, bodyOf(itemsMax));
    expect(most.status).toBe(200);
    expect((await messageOf<Results<unknown>>(most)).results).toHaveLength(itemsMax);
    const over = await server.post(target, bodyOf(itemsMax + 1));
    expect(over.status).toBe(413);
    expect(await messageOf(over)).toMatchObject({ error: { code: 'too_large' } });
  });
});

describe('a write', () => {
  it('takes an idempotency key, and repeated changes nothing', async () => {
    const key = { 'idempotency-key': '8e03978e-40d5-43dd-bc93-6894a57f9324' };
    const first = await server.post('/v1/executables', reportOf(bash), key);
    const again = await server.post('/v1/executables', reportOf(bash), key);
    const [created] = (await messageOf<Results<{ status: string }>>(first)).results;
    const [repeated] = (await messageOf<Results<{ status: string }>>(again)).results;
    expect(created).toMatchObject({ status: 'created' });
    expect(repeated).toEqual({ ...created, status: 'unchanged' });
    for (const wrong of ['', 'two words', 'x'.repeat(256)]) {
      const reply = await server.post('/v1/executables', reportOf(bash), { 'idempotency-key': wrong });
      expect(reply.status).toBe(400);
    }
  });
});

describe('search', () => {
  it('finds by part of the name, page by page', async () => {
    const libs = Array.from({ length: 7 }, (_, index) => ({
      ...bash,
      ids: { htlhash: (index + 16).toString(16).repeat(16) },
      name: `/usr/lib/libsearch${index}.so`,
    }));
    await report(bash, ...libs);
    const names: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const path: string = `/v1/executables?name=LibSearch&limit=3&cursor=${encodeURIComponent(cursor)}`;
      const page: { items: { fileName: string }[]; nextCursor: string | null } = await messageOf(
        await server.get(path),
      );
      names.push(...page.items.map(({ fileName }) => fileName));
      cursor = page.nextCursor;
    }
    expect(names).toEqual(libs.map((_, index) => `libsearch${index}.so`));
    const none = await messageOf(await server.get('/v1/executables?state=ready'));
    expect(none).toEqual({ items: [], nextCursor: null });
    const packed = await server.get('/v1/executables?name=bash', { accept: 'application/msgpack' });
    expect(await messageOf(packed)).toMatchObject({ items: [{ id: bashId }], nextCursor: null });
  });

  it.each(['limit=0', 'limit=x', 'limit=1001', 'state=lost', 'quality=good', 'cursor=zz'])(
    'refuses %s',
    async (query) => {
      const reply = await server.get(`/v1/executables?${query}`);
      expect(reply.status).toBe(400);
      expect(await messageOf(reply)).toMatchObject({ error: { code: 'invalid_argument' } });
    },
  );
});

describe('explain', () => {
  it('says that an executable was never reported', async () => {
    const reply = await messageOf(await server.get(`/v1/executables/${unknownId}/explain`));
    expect(reply).toMatchObject({
      steps: [{ kind: 'never_reported', text: expect.stringContaining(unknownId) }],
    });
  });

  it('tells since when it is known, and what stands at an address', async () => {
    await report(bash);
    const reply = await server.get(`/v1/executables/${bashId}/explain?address=0x2f010`);
    const { steps } = await messageOf<{ steps: { at: string; kind: string }[] }>(reply);
    expect(steps.map(({ kind }) => kind)).toEqual(['known_since', 'last_seen', 'symbols_none', 'frame']);
    expect(steps[0]!.at).toBe('2026-01-01T00:00:00Z');
  });
});

describe('the store out of reach', () => {
  it('is told apart from what is not known, and what is cached is still answered', async () => {
    await report(bash);
    await server.get(`/v1/executables/${bashId}`);
    server.store.down(0);
    const cached = await server.get(`/v1/executables/${bashId}`);
    expect(cached.status).toBe(200);
    const reply = await server.post('/v1/executables/lookup', { ids: [bashId, unknownId] });
    expect(await messageOf(reply)).toMatchObject({
      results: [{ record: {} }, { error: { code: 'unavailable' } }],
    });
    const one = await server.get(`/v1/executables/${unknownId}`);
    expect(one.status).toBe(503);
    expect(one.headers.get('retry-after')).toBe('1');
    const checked = await server.post('/v1/executables/check', {
      executables: [{ id: unknownId, generation: 1 }],
    });
    expect(await messageOf(checked)).toEqual({ results: ['unavailable'] });
    const reported = await server.post('/v1/executables', reportOf({ ...bash, name: '/x' }));
    expect(reported.status).toBe(503);
    expect(reported.headers.get('retry-after')).toBe('1');
    expect(await messageOf(reported)).toMatchObject({
      error: { code: 'unavailable', details: { reason: 'unreachable' } },
    });
  });
});
