// What every request goes through, whatever it asks: negotiation, compression, limits, headers, errors.
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { bodyBytesMax, decodedBytesMax } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { openAccess } from '../src/http/access.ts';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;

beforeEach(async () => {
  server = await startApp();
  await server.post('/v1/executables', reportOf(bash));
});

async function send(path: string, body: Uint8Array<ArrayBuffer>, headers: Record<string, string>) {
  return server.app.request(path, { method: 'POST', body, headers });
}

const lookup = JSON.stringify({ ids: [bashId] });
const many = JSON.stringify({ ids: Array.from({ length: 100 }, () => bashId) });

describe('encodings', () => {
  it.each([
    [{}, 'application/json'],
    [{ accept: '*/*' }, 'application/json'],
    [{ accept: 'application/msgpack' }, 'application/msgpack'],
    [{ accept: 'application/x-msgpack' }, 'application/msgpack'],
    [{ accept: 'application/json;q=0.5, application/msgpack' }, 'application/msgpack'],
    [{ accept: 'application/msgpack;q=0.5, application/json' }, 'application/json'],
    [{ accept: 'text/html, */*;q=0.1' }, 'application/json'],
  ])('a read with %j is answered in %s', async (headers: Record<string, string>, type) => {
    const reply = await server.get(`/v1/executables/${bashId}`, headers);
    expect(reply.headers.get('content-type')).toBe(type);
    expect(await messageOf(reply)).toMatchObject({ id: bashId });
  });

  it('a message is answered in its own encoding unless another is asked for', async () => {
    const ids = { ids: [bashId] };
    const packed = await server.postMessagePack('/v1/executables/lookup', ids);
    expect(packed.headers.get('content-type')).toBe('application/msgpack');
    const asked = await server.postMessagePack('/v1/executables/lookup', ids, { accept: 'application/json' });
    expect(asked.headers.get('content-type')).toBe('application/json');
  });

  it('an error comes in the encoding of the answer', async () => {
    const reply = await server.get('/v1/executables/zz', { accept: 'application/msgpack' });
    expect(reply.headers.get('content-type')).toBe('application/msgpack');
    expect(await messageOf(reply)).toMatchObject({ error: { code: 'invalid_argument' } });
  });

  it.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('bodies may be %s', async (coding, compress) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': coding };
    const reply = await send('/v1/executables/lookup', Buffer.from(compress(lookup)), headers);
    expect(reply.status).toBe(200);
    expect(await messageOf(reply)).toMatchObject({ results: [{ record: { id: bashId } }] });
  });

  it.each([
    ['gzip', gunzipSync],
    ['zstd', zstdDecompressSync],
    ['zstd, gzip', zstdDecompressSync],
    ['gzip;q=1, zstd;q=0', gunzipSync],
  ])('large replies are compressed for accept-encoding %s', async (accepted, decompress) => {
    const headers = { 'content-type': 'application/json', 'accept-encoding': accepted };
    const reply = await send('/v1/executables/lookup', Buffer.from(many), headers);
    expect(reply.headers.get('vary')).toContain('accept-encoding');
    const bytes = decompress(Buffer.from(await reply.arrayBuffer()));
    expect(JSON.parse(bytes.toString()).results).toHaveLength(100);
    const small = await send('/v1/executables/check', Buffer.from('{"executables":[]}'), headers);
    expect(small.headers.get('content-encoding')).toBeNull();
  });
});

describe('bodies', () => {
  const json = { 'content-type': 'application/json' };
  const gzipped = { ...json, 'content-encoding': 'gzip' };
  const padded = (text: string, size: number) => Buffer.from(text.padEnd(size));
  const zeros = Buffer.alloc(decodedBytesMax + 1, 0x20);
  it.each<[string, Uint8Array<ArrayBuffer>, Record<string, string>, number, string]>([
    ['no content type is JSON', Buffer.from(lookup), {}, 200, ''],
    [
      'a form',
      Buffer.from(lookup),
      { 'content-type': 'application/x-www-form-urlencoded' },
      415,
      'unsupported',
    ],
    [
      'another charset',
      Buffer.from(lookup),
      { 'content-type': 'application/json; charset=latin1' },
      415,
      'unsupported',
    ],
    ['another coding', Buffer.from(lookup), { ...json, 'content-encoding': 'br' }, 415, 'unsupported'],
    ['two codings', Buffer.from(lookup), { ...json, 'content-encoding': 'gzip, gzip' }, 415, 'unsupported'],
    ['nothing', Buffer.alloc(0), json, 400, 'invalid_argument'],
    ['no JSON', Buffer.from('{"ids":['), json, 400, 'invalid_argument'],
    ['no UTF-8', Buffer.from('{"ids":["\xff"]}', 'latin1'), json, 400, 'invalid_argument'],
    ['another shape', Buffer.from('{"ids":{}}'), json, 400, 'invalid_argument'],
    ['as many bytes as may be', padded(lookup, bodyBytesMax), json, 200, ''],
    ['as many as may be once decoded', gzipSync(padded(lookup, decodedBytesMax)), gzipped, 200, ''],
    ['one more once decoded', gzipSync(padded(lookup, decodedBytesMax + 1)), gzipped, 413, 'too_large'],
    ['too many bytes', Buffer.alloc(bodyBytesMax + 1, 0x20), json, 413, 'too_large'],
    ['a gzip bomb', gzipSync(zeros), { ...json, 'content-encoding': 'gzip' }, 413, 'too_large'],
    ['a zstd bomb', zstdCompressSync(zeros), { ...json, 'content-encoding': 'zstd' }, 413, 'too_large'],
    ['no gzip', Buffer.from(lookup), { ...json, 'content-encoding': 'gzip' }, 400, 'invalid_argument'],
    ['no zstd', Buffer.from(lookup), { ...json, 'content-encoding': 'zstd' }, 400, 'invalid_argument'],
    [
      'half a gzip',
      gzipSync(many).subarray(0, 40),
      { ...json, 'content-encoding': 'gzip' },
      400,
      'invalid_argument',
    ],
    [
      'half a zstd',
      zstdCompressSync(many).subarray(0, 40),
      { ...json, 'content-encoding': 'zstd' },
      400,
      'invalid_argument',
    ],
    [
      'two zstd frames',
      Buffer.concat([zstdCompressSync(lookup), zstdCompressSync(' ')]),
      { ...json, 'content-encoding': 'zstd' },
      400,
      'invalid_argument',
    ],
    ['a million values', Buffer.from(`{"ids":[${'[],'.repeat(500_001)}1]}`), json, 400, 'invalid_argument'],
  ])('%s', async (_name, body, headers, status, code) => {
    const reply = await send('/v1/executables/lookup', body, headers);
    const message = await messageOf<{ error?: { code: string; message: string } }>(reply);
    expect(reply.status).toBe(status);
    expect(message.error?.code ?? '').toBe(code);
    expect(server.deps.budget.held).toBe(0);
  });

  it('that come slower than the minimum rate are refused, and hold nothing', async () => {
    let sent = 0;
    const drip = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        controller.enqueue(Buffer.from('['));
        sent++;
        await new Promise<void>((resolve) => server.clock.setTimer(1_000, resolve));
      },
    });
    const init = {
      method: 'POST',
      body: drip,
      duplex: 'half' as const,
      headers: { 'content-type': 'application/json' },
    };
    const asked = Promise.resolve(server.app.request('/v1/executables/lookup', init));
    await server.clock.advance(20_000);
    const reply = await asked;
    expect(reply.status).toBe(400);
    expect(await messageOf(reply)).toMatchObject({ error: { message: expect.stringContaining('slower') } });
    expect(sent).toBeLessThan(12);
    expect(server.deps.budget.held).toBe(0);
  });
});

describe('headers', () => {
  it('every reply names the epoch, a request ID, and whether it may be kept', async () => {
    const epoch = server.deps.catalog.epoch.current!;
    for (const path of [
      '/v1/info',
      '/v1/executables/zz',
      '/v1/nothing',
      '/healthz',
      '/readyz',
      '/metrics',
      '/docs',
      '/',
    ]) {
      const reply = await server.get(path, { 'x-request-id': 'mine-1' });
      expect(reply.headers.get('symkeep-epoch'), path).toBe(epoch);
      expect(reply.headers.get('x-request-id'), path).toBe('mine-1');
      expect(reply.headers.get('cache-control'), path).toBe('no-store');
    }
    const odd = await server.get('/v1/info', { 'x-request-id': 'two words' });
    expect(odd.headers.get('x-request-id')).toMatch(/^[\w-]+$/);
  });

  it('HEAD says what GET would, without the body', async () => {
    for (const path of ['/v1/info', `/v1/executables/${bashId}`, '/healthz', '/openapi.json']) {
      const got = await server.get(path);
      const head = await server.app.request(path, { method: 'HEAD' });
      expect(head.status).toBe(200);
      expect(await head.text()).toBe('');
      expect(head.headers.get('content-length')).toBe(String((await got.arrayBuffer()).byteLength));
      expect(head.headers.get('content-type')).toBe(got.headers.get('content-type'));
    }
  });

  it('an unknown path and a method that is not offered are not found', async () => {
    expect((await server.get('/v1/none')).status).toBe(404);
    const reply = await server.app.request('/v1/frames/lookup', { method: 'DELETE' });
    expect(reply.status).toBe(404);
    expect(reply.headers.get('allow')).toBe('POST');
    expect(await messageOf(reply)).toMatchObject({ error: { code: 'not_found' } });
  });
});

describe('the epoch', () => {
  it('changing while a reply is put together makes it unavailable', async () => {
    const { executables } = server.deps.catalog;
    const search = executables.search.bind(executables);
    executables.search = async (query) => {
      server.store.flush();
      await server.deps.catalog.epoch.check();
      return search(query);
    };
    const reply = await server.get('/v1/executables');
    expect(reply.status).toBe(503);
    expect(reply.headers.get('retry-after')).toBe('1');
    expect(reply.headers.get('symkeep-epoch')).toBe(server.deps.catalog.epoch.current);
  });

  it('a write to a store that was flushed is not acknowledged', async () => {
    server.store.flush();
    const reply = await server.post('/v1/executables', reportOf({ ...bash, name: '/bin/other' }));
    const text = await reply.text();
    expect(reply.status === 503 || !/"(created|merged|unchanged)"/.test(text), text).toBe(true);
  });
});

describe('other hosts and sites', () => {
  it('an open server answers only to names of this host', async () => {
    for (const host of ['evil.example', '10.0.0.1:8520', 'localhost.evil.example']) {
      const reply = await server.app.request(`http://${host}/v1/info`);
      expect(reply.status, host).toBe(403);
      expect(await messageOf(reply)).toMatchObject({ error: { code: 'permission_denied' } });
    }
    for (const host of [
      'localhost',
      'localhost:8520',
      '127.0.0.1',
      '127.8.9.1:80',
      '[::1]:8520',
      'a.localhost',
    ]) {
      expect((await server.app.request(`http://${host}/v1/info`)).status, host).toBe(200);
    }
    const proxied = await startApp({ access: openAccess(['symbols.example']) });
    expect((await proxied.app.request('http://symbols.example/v1/info')).status).toBe(200);
  });

  it('pages of other sites may not write', async () => {
    const foreign = await server.post('/v1/executables', reportOf(bash), { origin: 'https://evil.example' });
    expect(foreign.status).toBe(403);
    const own = await server.post('/v1/executables', reportOf(bash), { origin: 'http://localhost' });
    expect(own.status).toBe(200);
  });
});
