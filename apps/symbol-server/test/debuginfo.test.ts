// Debug files through the front door: what is taken, what is kept out, who may, and what is left behind (nothing).
import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { bytesSource, htlhashOf } from '@symkeep/elf';
import { type ExecutableId, gnuId } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { debugFileKey } from '../src/blobs/blob-store.ts';
import type { Caller } from '../src/http/access.ts';
import { contentDigestOf } from '../src/sources/content-digest.ts';
import type { SourceSet } from '../src/sources/source-set.ts';
import { type AppUnderTest, agent, messageOf, receiveLimits, startApp } from './app-under-test.ts';
import { buildId, dwzId, elfFile, withBuildId } from './sources/elf-files.ts';

const id = gnuId(buildId);
const plain = elfFile('debug-plain');
const stripped = elfFile('debug-stripped');
const debugOnly = elfFile('debug-only');
const callers = {
  agent: { token: 'a', roles: ['agent'] },
  ci: { token: 'c', roles: ['upload'] },
  admin: { token: 'r', roles: ['admin'] },
} as const satisfies Record<string, Caller>;

let server: AppUnderTest;
let caller: Caller;

beforeEach(async () => {
  caller = { token: undefined, roles: ['read', 'agent', 'upload', 'admin'] };
  server = await startApp({ access: () => caller });
});

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const pathOf = (key: string, query = ''): string => `/v1/executables/${key}/debuginfo${query}`;

interface Answer {
  readonly status: number;
  readonly reason: string | null;
  readonly body: {
    readonly status?: string;
    readonly job?: string;
    readonly id?: string;
    readonly reason?: string;
    readonly error?: { readonly code: string; readonly message: string };
  };
}

async function put(
  bytes: Uint8Array<ArrayBuffer>,
  { key = buildId, query = '', headers = {} }: { key?: string; query?: string; headers?: object } = {},
): Promise<Answer> {
  const reply = await server.app.request(pathOf(key, query), {
    method: 'PUT',
    body: bytes,
    headers: { ...headers },
  });
  return {
    status: reply.status,
    reason: reply.headers.get('symkeep-reason'),
    body: await messageOf<Answer['body']>(reply),
  };
}

async function head(query: string, key = buildId): Promise<[number, string | null]> {
  const reply = await server.app.request(pathOf(key, query), { method: 'HEAD' });
  return [reply.status, reply.headers.get('symkeep-reason')];
}

/** Has an agent asked for the file, as it is once somebody looks up its frames. */
async function leaseOf(host = 'h1'): Promise<{ 'symkeep-lease': string }> {
  const program = { ids: { gnu: buildId, htlhash: htlhashOf(bytesSource(plain)) }, size: plain.length };
  await server.post('/v1/executables', { agent: { host, version: '1' }, executables: [program] });
  await server.post('/v1/frames/lookup', { requests: [{ id: buildId, addresses: [1] }] });
  await server.clock.advance(1_000);
  const executables = [{ id: buildId, generation: 1 }];
  const reply = await server.post('/v1/executables/check', { agent: { host, version: '1' }, executables });
  const { upload } = await messageOf<{ upload: { id: string; lease: string }[] }>(reply);
  expect(upload).toMatchObject([{ id }]);
  return { 'symkeep-lease': upload[0]!.lease };
}

async function setOf(of: ExecutableId = id): Promise<SourceSet> {
  return (await server.deps.catalog.sources.read(of)) as SourceSet;
}

async function files(): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of server.blobs.list('')) keys.push(key);
  return keys;
}

async function recordOf(key: string) {
  const reply = await server.get(`/v1/executables/${key}`);
  return messageOf<{ id: string; fileName: string; arch: string; size: number; layouts: string[] }>(reply);
}

describe('a debug file', () => {
  it('is kept under its digest, noted as a source, and worked on', async () => {
    const { status, body } = await put(plain, { query: '?name=/srv/app/server' });
    expect([status, body.status, body.id]).toEqual([202, 'accepted', id]);
    const set = await setOf();
    expect(set.sources).toMatchObject([
      { digest: digestOf(plain), bytes: plain.length, kind: 'executable', quality: 'dwarf', trust: 'ci' },
    ]);
    expect(server.jobs.asked.get(body.job!)).toMatchObject({ id, set });
    const key = debugFileKey(id, digestOf(plain));
    expect(await files()).toEqual([key]);
    expect(Buffer.from((await server.blobs.read(key))!).equals(plain)).toBe(true);
    expect(await server.blobs.sweep(-1_000)).toBe(0);
  });

  it('of an executable that nobody reported makes its record', async () => {
    await put(debugOnly);
    expect(await recordOf(buildId)).toMatchObject({ id, arch: 'x86_64', fileName: '', size: 0, layouts: [] });
    await put(plain, { query: '?name=/srv/app/server' });
    expect(await recordOf(buildId)).toMatchObject({ id, fileName: 'server', size: plain.length });
    expect((await recordOf(buildId)).layouts).toHaveLength(1);
  });

  it('stands beside its executable', async () => {
    await put(stripped);
    await put(debugOnly);
    expect((await setOf()).sources.map(({ kind, quality }) => [kind, quality])).toEqual([
      ['debug', 'dwarf'],
      ['executable', 'none'],
    ]);
    expect(server.jobs.asked.size).toBe(2);
  });

  it('that is no better is kept out, and so is the same one again', async () => {
    await put(plain);
    const before = await setOf();
    expect(await put(stripped)).toMatchObject({
      status: 200,
      body: { status: 'kept', reason: 'not_better' },
    });
    await server.deps.catalog.executables.refresh(id);
    server.jobs.asked.clear();
    const again = await put(plain);
    // Nothing is known of work on it, so it is asked for again, and changes nothing.
    expect(again.status).toBe(202);
    expect(await setOf()).toEqual(before);
    expect(await files()).toHaveLength(1);
  });

  it('comes compressed as well', async () => {
    for (const [coding, bytes] of [
      ['gzip', gzipSync(plain)],
      ['zstd', zstdCompressSync(plain)],
    ] as const) {
      server = await startApp({ access: () => caller });
      const { status } = await put(Buffer.from(bytes), { headers: { 'content-encoding': coding } });
      expect(status).toBe(202);
      expect((await setOf()).sources[0]).toMatchObject({ digest: digestOf(plain), bytes: plain.length });
    }
  });

  it('goes under any ID that is its own', async () => {
    const htlhash = htlhashOf(bytesSource(plain));
    expect((await put(plain, { key: `htlhash:${htlhash}` })).body.id).toBe(id);
    const go = elfFile('go-id');
    expect((await put(go, { key: `htlhash:${htlhashOf(bytesSource(go))}` })).body.id).toMatch(/^htlhash:/);
    // The debug file hashes to something else than its executable.
    const wrong = await put(debugOnly, { key: `htlhash:${htlhash}` });
    expect(wrong).toMatchObject({ status: 422, reason: 'wrong_id' });
  });

  it('to which others refer is kept under its own ID', async () => {
    const { status, body } = await put(elfFile('debug-dwz'), { key: dwzId });
    expect([status, body.id]).toEqual([202, `gnu:${dwzId}`]);
    await put(elfFile('debug-dwz1'));
    expect((await setOf()).sources).toMatchObject([{ alt: dwzId }]);
  });

  it('of two executables with one ID is taken only if it says of which it is', async () => {
    const load = [['0x1000', '0x10']];
    const ids = { gnu: buildId, htlhash: '01'.repeat(16) };
    const other = { ids, name: '/a', load };
    const another = { ids: { ...ids, htlhash: '02'.repeat(16) }, name: '/b', load: [['0x2000', '0x10']] };
    await server.post('/v1/executables', { agent, executables: [other, another] });
    expect(await put(debugOnly)).toMatchObject({ status: 422, reason: 'ambiguous' });
    expect((await put(plain)).body.id).toBe(`htlhash:${htlhashOf(bytesSource(plain))}`);
  });
});

describe('what is refused', () => {
  const zeros = Buffer.alloc(receiveLimits.fileBytesMax + 1);
  it.each<[string, Buffer<ArrayBuffer>, object, number, string, string | null]>([
    ['another build', withBuildId(plain, buildId, 'ab'.repeat(20)), {}, 422, 'unprocessable', 'wrong_id'],
    ['a file without a build ID', elfFile('shapes-no-id'), {}, 422, 'unprocessable', 'wrong_id'],
    ['no ELF file', Buffer.from('#!/bin/sh\n'), {}, 422, 'unprocessable', 'not_elf'],
    ['nothing', Buffer.alloc(0), {}, 422, 'unprocessable', 'not_elf'],
    ['a file cut short', Buffer.from(plain.subarray(0, 5_000)), {}, 422, 'unprocessable', 'truncated'],
    ['a file over the limit', zeros, {}, 413, 'too_large', null],
    ['a bomb of gzip', Buffer.from(gzipSync(zeros)), { 'content-encoding': 'gzip' }, 413, 'too_large', null],
    [
      'a bomb of zstd',
      Buffer.from(zstdCompressSync(zeros)),
      { 'content-encoding': 'zstd' },
      413,
      'too_large',
      null,
    ],
    ['gzip that is none', plain, { 'content-encoding': 'gzip' }, 400, 'invalid_argument', null],
    [
      'gzip cut short',
      Buffer.from(gzipSync(plain).subarray(0, 900)),
      { 'content-encoding': 'gzip' },
      400,
      'invalid_argument',
      null,
    ],
    [
      'zstd and more',
      Buffer.concat([zstdCompressSync(plain), Buffer.from('more')]),
      { 'content-encoding': 'zstd' },
      400,
      'invalid_argument',
      null,
    ],
    ['another coding', plain, { 'content-encoding': 'br' }, 415, 'unsupported', null],
    [
      'a file that hashes to something else',
      plain,
      { 'content-digest': contentDigestOf('ab'.repeat(32)) },
      400,
      'invalid_argument',
      'digest',
    ],
    ['a digest that is none', plain, { 'content-digest': 'sha-256=:xyz:' }, 400, 'invalid_argument', null],
  ])('%s', async (_name, bytes, headers, status, code, reason) => {
    const answer = await put(bytes, { headers });
    expect([answer.status, answer.body.error?.code, answer.reason]).toEqual([status, code, reason]);
    expect(await files()).toEqual([]);
    expect(await server.blobs.sweep(-1_000)).toBe(0);
    expect(server.deps.receiver.running).toBe(0);
    expect((await setOf()).sources).toEqual([]);
  });

  it('never what its digest vouches for, whatever other digests say', async () => {
    const good = `unixsum=:AAA=:, ${contentDigestOf(digestOf(plain))}`;
    expect((await put(plain, { headers: { 'content-digest': good } })).status).toBe(202);
    server = await startApp({ access: () => caller });
    const packed = Buffer.from(gzipSync(plain));
    // Of what is sent, not of what it inflates to (RFC 9530, section 2).
    const headers = { 'content-encoding': 'gzip', 'content-digest': contentDigestOf(digestOf(packed)) };
    expect((await put(packed, { headers })).status).toBe(202);
  });

  it('what was erased', async () => {
    await put(plain);
    await server.app.request(`/v1/executables/${buildId}`, { method: 'DELETE' });
    expect((await put(plain)).status).toBe(410);
    expect((await put(debugOnly)).status).toBe(410);
    expect(await head('?quality=dwarf')).toEqual([410, null]);
  });

  it('more than so many at once', async () => {
    const gate = Promise.withResolvers<void>();
    const slow = () =>
      new ReadableStream<Uint8Array>({
        pull: async (controller) => {
          await gate.promise;
          controller.enqueue(plain);
          controller.close();
        },
      });
    const send = () =>
      server.app.request(pathOf(buildId), { method: 'PUT', body: slow(), duplex: 'half' } as RequestInit);
    const first = Array.from({ length: receiveLimits.uploadsMax }, send);
    while (server.deps.receiver.running < receiveLimits.uploadsMax) await new Promise(setImmediate);
    const refused = await send();
    expect([refused.status, refused.headers.get('symkeep-reason')]).toEqual([503, 'busy']);
    expect(refused.headers.get('retry-after')).toBe('1');
    gate.resolve();
    expect((await Promise.all(first)).map(({ status }) => status).sort()).toEqual([202, 202, 202, 202]);
    expect(server.deps.receiver.running).toBe(0);
  });

  it('what comes by the byte, and its file is gone', async () => {
    let sent = 0;
    const drip = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        controller.enqueue(plain.subarray(sent, ++sent));
        await new Promise<void>((resolve) => server.clock.setTimer(1_000, resolve));
      },
    });
    const asked = Promise.resolve(
      server.app.request(pathOf(buildId), { method: 'PUT', body: drip, duplex: 'half' } as RequestInit),
    );
    // Between two bytes the file is written, for which time does not wait.
    let seconds = 0;
    const reply = await Promise.race([
      asked,
      (async () => {
        for (; seconds < 10_000; seconds++) await server.clock.advance(1_000);
        throw new Error('it was never refused');
      })(),
    ]);
    expect(sent).toBeLessThan(100);
    expect(reply.status).toBe(400);
    expect(await messageOf(reply)).toMatchObject({ error: { message: expect.stringContaining('slower') } });
    expect(await server.blobs.sweep(-60_000)).toBe(0);
  });
});

describe('trust', () => {
  it('follows from the role of who sends', async () => {
    for (const [role, trust] of [
      ['agent', 'agent'],
      ['ci', 'ci'],
      ['admin', 'admin'],
    ] as const) {
      server = await startApp({ access: () => callers[role] });
      await put(plain, { headers: role === 'agent' ? await leaseOf() : {} });
      expect((await setOf()).sources[0]!.trust).toBe(trust);
    }
  });

  it('of the same file only grows', async () => {
    const headers = await leaseOf();
    caller = callers.admin;
    await put(plain);
    caller = callers.agent;
    expect((await put(plain, { headers })).status).toBe(202);
    expect((await setOf()).sources).toMatchObject([{ trust: 'admin' }]);
  });

  it('decides before quality', async () => {
    const headers = await leaseOf();
    caller = callers.ci;
    await put(stripped);
    caller = callers.agent;
    expect(await put(plain, { headers })).toMatchObject({ status: 200, body: { reason: 'not_better' } });
  });

  it('an admin may replace what is better, and nobody else', async () => {
    caller = callers.ci;
    await put(plain);
    expect((await put(stripped, { query: '?replace=true' })).status).toBe(403);
    caller = callers.admin;
    expect((await put(stripped, { query: '?replace=true' })).status).toBe(202);
    const quarantined = `replaced by ${digestOf(stripped)}`;
    expect((await setOf()).sources).toMatchObject([
      { digest: digestOf(stripped), trust: 'admin' },
      { digest: digestOf(plain), quarantined },
    ]);
    caller = callers.ci;
    expect((await put(plain)).body).toMatchObject({ status: 'kept' });
    caller = callers.admin;
    expect((await put(plain, { query: '?replace=true' })).status).toBe(202);
    expect(
      (await setOf()).sources.find(({ digest }) => digest === digestOf(plain))!.quarantined,
    ).toBeUndefined();
  });
});

describe('whether one is wanted', () => {
  it('is yes for what is not known at all', async () => {
    expect(await head('?quality=dynsym')).toEqual([200, null]);
    expect(await head('')).toEqual([200, null]);
  });

  it('is no for what is there, with the reason', async () => {
    await put(plain);
    expect(await head(`?quality=dwarf&digest=${digestOf(plain)}`)).toEqual([409, 'known']);
    expect(await head('?quality=dwarf')).toEqual([409, 'not_better']);
    expect(await head('?quality=symtab&kind=executable')).toEqual([409, 'not_better']);
    // The first debug file is always wanted.
    expect(await head('?quality=symtab&kind=debug')).toEqual([200, null]);
    const { covered } = (await setOf()).sources[0]!;
    expect(await head(`?quality=dwarf&kind=executable&covered=${covered + 1}`)).toEqual([200, null]);
    expect(await head(`?quality=dwarf&kind=executable&covered=${covered}`)).toEqual([409, 'not_better']);
  });

  it('is yes for the same file from who is trusted more', async () => {
    caller = callers.agent;
    await put(plain, { headers: await leaseOf() });
    expect(await head(`?digest=${digestOf(plain)}`)).toEqual([409, 'known']);
    caller = callers.admin;
    expect(await head(`?digest=${digestOf(plain)}`)).toEqual([200, null]);
  });

  it('is asked by HEAD alone, and in words that are known', async () => {
    expect((await server.get(pathOf(buildId))).status).toBe(404);
    expect((await head('?quality=good'))[0]).toBe(400);
    expect((await head('?digest=xyz'))[0]).toBe(400);
    expect((await head('?quality=dwarf', 'zz'))[0]).toBe(400);
  });
});
