// Asking agents through the front door: who is asked for what, when another is, and who may send under which lease.
import { bytesSource, htlhashOf } from '@symkeep/elf';
import { type ExecutableId, gnuId } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import type { AskMode } from '../src/asking/asking.ts';
import { seekAnew } from '../src/asking/seek-anew.ts';
import { uploadLeaseAt } from '../src/catalog/keys.ts';
import type { Caller } from '../src/http/access.ts';
import type { SourceSet } from '../src/sources/source-set.ts';
import { type AppUnderTest, bash, bashId, messageOf, startApp } from './app-under-test.ts';
import { buildId, dwzId, elfFile, withBuildId } from './sources/elf-files.ts';

const id = gnuId(buildId);
const plain = elfFile('debug-plain');
const program = {
  ids: { gnu: buildId, htlhash: htlhashOf(bytesSource(plain)) },
  name: '/srv/program',
  size: plain.length,
};
const leaseAt = uploadLeaseAt(id);
const leaseMs = 120_000;
const agentOnly: Caller = { token: 'a', roles: ['agent'] };

let server: AppUnderTest;
let caller: Caller;

beforeEach(() => start());

async function start(mode: AskMode = 'wanted'): Promise<void> {
  caller = { token: undefined, roles: ['read', 'agent', 'upload', 'admin'] };
  server = await startApp({ access: () => caller }, { mode });
}

interface Asked {
  readonly upload: readonly { id: string; lease: string; url: string; of?: string }[];
  readonly waiting: readonly string[];
}

/** Lists that are empty may be left out. */
const none: Asked = { upload: [], waiting: [] };

async function report(host: string, more: object = {}, executables: unknown[] = [program]): Promise<Asked> {
  const agent = { host, version: '1', ...more };
  return {
    ...none,
    ...(await messageOf<object>(await server.post('/v1/executables', { agent, executables }))),
  };
}

async function check(host: string, more: object = {}, of: string = id): Promise<Asked> {
  const agent = { host, version: '1', ...more };
  const body = { agent, executables: [{ id: of, generation: 1 }] };
  return { ...none, ...(await messageOf<object>(await server.post('/v1/executables/check', body))) };
}

async function miss(of: string = id): Promise<void> {
  await server.post('/v1/frames/lookup', { requests: [{ id: of, addresses: [1] }] });
  await server.clock.advance(1_000);
}

async function put(lease: string | undefined, bytes: Uint8Array<ArrayBuffer> = plain, of: string = id) {
  const headers: Record<string, string> = lease === undefined ? {} : { 'symkeep-lease': lease };
  const reply = await server.app.request(`/v1/executables/${of}/debuginfo`, {
    method: 'PUT',
    body: bytes,
    headers,
  });
  const body = await messageOf<{ status?: string; error?: { code: string } }>(reply);
  return [reply.status, body.status ?? body.error?.code, reply.headers.get('symkeep-reason')];
}

async function giveBack(lease: string, reason = ''): Promise<number> {
  const query = reason === '' ? '' : `?reason=${reason}`;
  const path = `/v1/executables/${id}/debuginfo${query}`;
  return (await server.app.request(path, { method: 'DELETE', headers: { 'symkeep-lease': lease } })).status;
}

async function setOf(of: ExecutableId = id): Promise<SourceSet> {
  return (await server.deps.catalog.sources.read(of)) as SourceSet;
}

/** What the store's events say of symbols that are missed. */
async function cursor(): Promise<string> {
  return (await messageOf<{ cursor: string }>(await server.get('/v1/events'))).cursor;
}

async function wantedAfter(from: string): Promise<string[]> {
  const reply = await server.get(`/v1/events?cursor=${encodeURIComponent(from)}`);
  const { events } = await messageOf<{ events: { id: string; wanted?: true }[] }>(reply);
  return events.filter(({ wanted }) => wanted).map((event) => event.id);
}

describe('an agent', () => {
  it('is asked for the file of what is missed, and no other is while its lease holds', async () => {
    expect(await report('h1')).toMatchObject({ upload: [], waiting: [] });
    await miss();
    const asked = await check('h1');
    expect(asked).toMatchObject({
      upload: [{ id, url: `/v1/executables/${id}/debuginfo`, lease: expect.any(String) }],
      waiting: [],
    });
    for (const host of ['h1', 'h2']) {
      expect(await check(host)).toMatchObject({ upload: [], waiting: [id] });
      expect(await report(host)).toMatchObject({ upload: [], waiting: [id] });
    }
    expect(server.deps.asking.counts.asked).toBe(1);
  });

  it('that reports what was missed before anyone reported it is asked at once', async () => {
    await miss();
    expect(await report('h1')).toMatchObject({ upload: [{ id }] });
  });

  it('hears by an event that something is missed', async () => {
    await report('h1');
    const from = await cursor();
    await miss();
    expect(await wantedAfter(from)).toEqual([id]);
  });

  it('is asked by any ID, under that of the record', async () => {
    await report('h1');
    await miss(`htlhash:${program.ids.htlhash}`);
    expect(await check('h1', {}, `htlhash:${program.ids.htlhash}`)).toMatchObject({ upload: [{ id }] });
  });

  it('is not asked for what nobody missed, what has a source, is ready, erased or in no file', async () => {
    const kernel = { ids: { gnu: 'ab'.repeat(20), htlhash: 'ab'.repeat(16) }, name: 'vmlinux', size: 0 };
    await report('h1', {}, [program, bash, kernel]);
    expect(await check('h1', {}, bashId)).toMatchObject({ upload: [], waiting: [] });
    await miss(`gnu:${kernel.ids.gnu}`);
    expect(await check('h1', {}, `gnu:${kernel.ids.gnu}`)).toMatchObject({ upload: [], waiting: [] });
    await miss();
    expect(await put(undefined)).toEqual([202, 'accepted', null]);
    expect(await check('h1')).toMatchObject({ upload: [], waiting: [] });
    await miss(bashId);
    await server.app.request(`/v1/executables/${bashId}`, { method: 'DELETE' });
    expect(await check('h1', {}, bashId)).toMatchObject({ upload: [], waiting: [] });
  });

  it('that never uploads is not asked, and one that is busy only later', async () => {
    await report('h1');
    await miss();
    expect(await check('h1', { uploads: false })).toMatchObject({ upload: [], waiting: [] });
    expect(await report('h1', { uploads: false })).toMatchObject({ upload: [], waiting: [] });
    expect(await check('h1', { uploading: true })).toMatchObject({ upload: [], waiting: [id] });
    const anonymous = await server.post('/v1/executables/check', { executables: [{ id, generation: 1 }] });
    expect(await messageOf(anonymous)).toEqual({ results: ['changed'] });
    expect(await check('h1')).toMatchObject({ upload: [{ id }] });
  });

  it('is asked for four files at once, and told of the others', async () => {
    const many = Array.from({ length: 6 }, (_, n) => ({
      ...program,
      ids: { gnu: `${n}`.repeat(40), htlhash: `${n + 1}`.repeat(32) },
    })).slice(1);
    await report('h1', {}, many);
    for (const { ids } of many) await miss(`gnu:${ids.gnu}`);
    const { upload, waiting } = await report('h1', {}, many);
    expect([upload.length, waiting.length]).toEqual([4, 1]);
    expect(await report('h2', {}, many)).toMatchObject({ upload: [{ id: waiting[0] }] });
  });

  it('is asked for all that has no symbols, or for nothing, if the server is told so', async () => {
    await start('all');
    expect(await report('h1')).toMatchObject({ upload: [{ id }] });
    await start('never');
    await report('h1');
    await miss();
    expect(await check('h1')).toMatchObject({ upload: [], waiting: [] });
  });

  it('is asked for nothing in an outage, and then as before', async () => {
    await report('h1');
    await miss();
    await server.get(`/v1/executables/${id}`);
    server.store.down(leaseAt.shard);
    expect(await server.deps.asking.ask({ host: 'h1' }, [id])).toEqual({ upload: [], waiting: [] });
    expect(server.deps.asking.counts.outages).toBe(1);
    server.store.up(leaseAt.shard);
    expect(await report('h1')).toMatchObject({ upload: [{ id }] });
  });
});

describe('a lease', () => {
  it('lets an agent send the file, once it was asked', async () => {
    await report('h1');
    await miss();
    caller = agentOnly;
    expect(await put(undefined)).toEqual([403, 'permission_denied', 'not_asked']);
    const { upload } = await check('h1');
    expect(await put('1-AAAAAAAAAAAAAAAA')).toEqual([409, 'conflict', 'lease_lost']);
    expect(await put('mine')).toEqual([400, 'invalid_argument', null]);
    expect(await put(upload[0]!.lease)).toEqual([202, 'accepted', null]);
    expect((await setOf()).sources).toMatchObject([{ trust: 'agent' }]);
    expect(await check('h2')).toMatchObject({ upload: [], waiting: [] });
  });

  it('makes what an admin sends under it an agent’s', async () => {
    await report('h1');
    await miss();
    const { upload } = await check('h1');
    await put(upload[0]!.lease);
    expect((await setOf()).sources).toMatchObject([{ trust: 'agent' }]);
  });

  it('that ran out goes to another, and fences its holder off', async () => {
    await report('h1');
    await miss();
    const first = await check('h1');
    await server.clock.advance(leaseMs - 1);
    expect(await check('h2')).toMatchObject({ upload: [], waiting: [id] });
    await server.clock.advance(1);
    const second = await check('h2');
    expect(second.upload).toMatchObject([{ id }]);
    expect(await put(first.upload[0]!.lease)).toEqual([409, 'conflict', 'lease_lost']);
    expect(await giveBack(first.upload[0]!.lease)).toBe(409);
    expect(await check('h1')).toMatchObject({ upload: [], waiting: [id] });
    expect(await put(second.upload[0]!.lease)).toEqual([202, 'accepted', null]);
    expect(server.deps.asking.counts.lost).toBe(1);
  });

  it('that is lost while the file comes keeps it out', async () => {
    await report('h1');
    await miss();
    const first = await check('h1');
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        controller.enqueue(plain.subarray(0, 1_000));
        await server.store.drop([leaseAt]);
        controller.enqueue(plain.subarray(1_000));
        controller.close();
      },
    });
    const reply = await server.app.request(`/v1/executables/${id}/debuginfo`, {
      ...{ method: 'PUT', body, duplex: 'half' },
      headers: { 'symkeep-lease': first.upload[0]!.lease },
    } as RequestInit);
    expect([reply.status, reply.headers.get('symkeep-reason')]).toEqual([409, 'lease_lost']);
    expect((await setOf()).sources).toEqual([]);
  });

  it('is renewed by what comes', async () => {
    await report('h1');
    await miss();
    const { upload } = await check('h1');
    const { asking } = server.deps;
    const slow = async function* () {
      for (let n = 0; n < 10; n++) {
        await server.clock.advance(leaseMs / 2);
        yield new Uint8Array(1);
      }
    };
    let chunks = 0;
    for await (const _ of asking.holding(id, upload[0]!.lease, slow())) chunks++;
    expect(chunks).toBe(10);
    expect(await check('h2')).toMatchObject({ upload: [], waiting: [id] });
  });

  it.each([
    ['that is of another build', withBuildId(plain, buildId, 'cd'.repeat(20))],
    ['that is cut short', plain.subarray(0, 4_000)],
  ])('is freed by a file %s, and others hear of it and are asked first', async (_, bytes) => {
    await report('h1');
    await miss();
    const from = await cursor();
    const { upload } = await check('h1');
    expect((await put(upload[0]!.lease, Buffer.from(bytes)))[0]).toBe(422);
    expect(await wantedAfter(from)).toEqual([id]);
    expect(await check('h1')).toMatchObject({ upload: [], waiting: [id] });
    expect(await check('h2')).toMatchObject({ upload: [{ id }] });
    await server.clock.advance(600_000);
    expect(await check('h1')).toMatchObject({ upload: [{ id }] });
  });

  it('may be given back: then others are asked, and this host only if it stopped', async () => {
    await report('h1');
    await miss();
    const from = await cursor();
    const first = await check('h1');
    expect(await giveBack(first.upload[0]!.lease, 'stopped')).toBe(200);
    expect(await giveBack(first.upload[0]!.lease, 'stopped')).toBe(200);
    expect(await wantedAfter(from)).toEqual([id]);
    const again = await check('h1');
    expect(await giveBack(again.upload[0]!.lease, 'absent')).toBe(200);
    expect(await check('h1')).toMatchObject({ upload: [], waiting: [] });
    const other = await check('h2');
    expect(await giveBack(other.upload[0]!.lease, 'absent')).toBe(200);
    expect(await giveBack('')).toBe(400);
    expect(server.deps.asking.counts.returned).toBe(3);
  });

  it('is offered to sixteen hosts that have nothing, and then to nobody for a day', async () => {
    await report('h1');
    await miss();
    for (let host = 0; host < 16; host++) {
      const { upload } = await check(`host ${host}`);
      expect(await giveBack(upload[0]!.lease, 'absent')).toBe(200);
    }
    expect(await check('h1')).toMatchObject({ upload: [], waiting: [] });
    await server.clock.advance(24 * 3_600_000);
    expect(await check('h1')).toMatchObject({ upload: [{ id }] });
  });

  it('goes with the executable that is erased', async () => {
    await report('h1');
    await miss();
    const { upload } = await check('h1');
    await server.app.request(`/v1/executables/${id}`, { method: 'DELETE' });
    expect((await put(upload[0]!.lease))[0]).toBe(409);
    expect(await server.store.get([leaseAt])).toEqual([null]);
  });
});

describe('a file that did not help', () => {
  async function fail(): Promise<void> {
    const { catalog } = server.deps;
    const sample = catalog.epoch.sample();
    if (!('confirm' in sample)) throw sample;
    await catalog.states.failed(id, (await setOf()).version, 'malformed: broken', sample);
  }

  it('is asked of an agent, once a day, if what was pushed cannot be used', async () => {
    await report('h1');
    await put(undefined);
    await fail();
    expect(await check('h1')).toEqual({ ...none, results: ['changed'] });
    await miss();
    const { upload } = await check('h1');
    expect((await put(upload[0]!.lease))[0]).toBe(200);
    await server.clock.advance(leaseMs);
    for (const host of ['h1', 'h2']) expect(await check(host)).toMatchObject(none);
    const steps = await messageOf<{ steps: { kind: string }[] }>(
      await server.get(`/v1/executables/${id}/explain`),
    );
    expect(steps.steps.map(({ kind }) => kind)).toContain('agent_asked');
  });

  it('is asked for anew if an admin wants it, of those that had nothing, too', async () => {
    await report('h1');
    await miss();
    const { upload } = await check('h1');
    await giveBack(upload[0]!.lease, 'absent');
    expect(await check('h1')).toMatchObject(none);
    const from = await cursor();
    await seekAnew(server.store, server.deps.catalog, id, 10);
    expect(await wantedAfter(from)).toEqual([id]);
    const again = await check('h1');
    expect(again.upload).toMatchObject([{ id }]);
    expect((await put(upload[0]!.lease))[0]).toBe(409);
    expect((await put(again.upload[0]!.lease))[0]).toBe(202);
  });
});

describe('a dwz file', () => {
  it('is asked for while the table that will lack it is still to be made', async () => {
    await report('h1');
    await miss();
    const { upload } = await check('h1');
    await put(upload[0]!.lease, elfFile('debug-dwz1'));
    const { catalog } = server.deps;
    const sample = catalog.epoch.sample();
    if (!('confirm' in sample)) throw sample;
    await catalog.states.queued(id, (await setOf()).version, sample);
    expect(await check('h1')).toMatchObject({ upload: [{ id: `gnu:${dwzId}`, of: id }] });
  });

  it('is asked for under its own ID once a table lacks it', async () => {
    await report('h1');
    expect(await put(undefined, elfFile('debug-dwz1'))).toEqual([202, 'accepted', null]);
    const { catalog } = server.deps;
    const set = await setOf();
    expect(set.sources).toMatchObject([{ alt: dwzId }]);
    const sample = catalog.epoch.sample();
    if (!('confirm' in sample)) throw sample;
    await catalog.states.failed(id, set.version, 'missing_alt: the dwz file is not here', sample);
    const { upload } = await check('h1');
    expect(upload).toMatchObject([{ id: `gnu:${dwzId}`, of: id }]);
    expect(await check('h2')).toMatchObject({ upload: [], waiting: [id] });
    expect((await put(upload[0]!.lease, elfFile('debug-dwz'), `gnu:${dwzId}`))[0]).toBe(202);
    expect(await check('h2')).toMatchObject({ upload: [], waiting: [] });
  });
});
