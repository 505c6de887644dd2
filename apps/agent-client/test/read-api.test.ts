// The read API of an agent by its front door: in memory, and over a unix socket and loopback.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { decode, type ExecutableRecord, encode, htlhashId } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { httpTransport } from '../src/http-transport.ts';
import { createReadApi } from '../src/read-api/api.ts';
import {
  type Listening,
  listenOnLoopback,
  listenOnSocket,
  socketPathBytesMax,
} from '../src/read-api/listener.ts';
import { metricsText } from '../src/read-api/metrics-text.ts';
import { ServerClient } from '../src/server-client.ts';
import type { Transport } from '../src/transport.ts';
import { agentOn, FakeHost, type Setup, started } from './fake-host.ts';
import { executable } from './memory-server.ts';

const { gnu, htlhash } = executable(0).ids;
const unknown = htlhashId('ab'.repeat(16));

let setup: Setup;
let api: Transport;
beforeEach(async () => {
  const host = new FakeHost();
  for (let n = 0; n < 3; n++) host.run(executable(n));
  setup = await started(agentOn({}, { host }));
  const { agent } = setup;
  api = createReadApi({
    catalog: agent.catalog,
    version: '1.2.3',
    epoch: () => agent.epoch,
    metricsText: () => metricsText(agent.metrics(), '1.2.3'),
  });
});

type Headers = Record<string, string>;
const get = (path: string, headers: Headers = {}) => api({ method: 'GET', path, headers });
const post = (path: string, body: Uint8Array | string, headers: Headers = {}) =>
  api({ method: 'POST', path, headers, body: Buffer.from(body) });
const jsonOf = ({ body }: { body: Uint8Array }) => decode(body, 'json') as Record<string, never>;

describe('a request', () => {
  it('for an executable is answered by any of its IDs, with an ETag that spares the body', async () => {
    for (const id of [gnu!, gnu!.slice(4), gnu!.toUpperCase().replace('GNU', 'gnu'), htlhash]) {
      const reply = await get(`/v1/executables/${encodeURIComponent(id)}`);
      expect([reply.status, jsonOf(reply)]).toMatchObject([200, { id: gnu, fileName: 'lib0.so' }]);
      expect(reply.headers['symkeep-epoch']).toBe('epoch-1');
    }
    const { headers } = await get(`/v1/executables/${gnu}`);
    const again = await get(`/v1/executables/${gnu}`, { 'if-none-match': `"x", W/${headers.etag}` });
    expect([again.status, again.body.length]).toEqual([304, 0]);
    expect(await api({ method: 'HEAD', path: `/v1/executables/${gnu}`, headers: {} })).toMatchObject({
      status: 200,
    });
  });

  it('of a batch is answered item by item, in order, in the encoding asked for', async () => {
    const ids = [gnu, 'zz', unknown, 7, htlhash];
    const expected = [
      { record: { id: gnu } },
      { error: {} },
      { error: {} },
      { error: {} },
      { record: { id: gnu } },
    ];
    const reply = await post('/v1/executables/lookup', JSON.stringify({ ids }));
    expect(jsonOf(reply)).toMatchObject({ results: expected });
    const { results } = jsonOf(reply) as unknown as { results: { error?: { code: string } }[] };
    expect(results.map((one) => one.error?.code)).toEqual([
      undefined,
      'invalid_argument',
      'not_found',
      'invalid_argument',
      undefined,
    ]);
    const packed = await post('/v1/executables/lookup', encode({ ids: [gnu] }, 'msgpack'), {
      'content-type': 'application/msgpack',
    });
    expect(packed.headers['content-type']).toBe('application/msgpack');
    expect(decode(packed.body, 'msgpack')).toMatchObject({ results: [{ record: { id: gnu } }] });
  });

  it('for frames is columnar, or single by path', async () => {
    const { server } = setup;
    server.setFrames(gnu!, 0x10n, [
      { function: 'f', rawName: '_f', file: 'f.c', line: 3, column: 0, startLine: 1 },
    ]);
    const requests = [
      { id: gnu, addresses: ['0x10', 32] },
      { id: unknown, addresses: ['0x10'] },
    ];
    const reply = jsonOf(await post('/v1/frames/lookup', JSON.stringify({ requests })));
    expect(reply).toMatchObject({
      strings: ['', 'f', '_f', 'f.c'],
      results: [
        { id: gnu, canonical: gnu, status: [0, 2], frameCounts: [1, 0], line: [3] },
        { id: unknown, canonical: '', status: [3] },
      ],
    });
    expect(jsonOf(await get(`/v1/executables/${gnu}/frames/0x10`))).toMatchObject({
      status: 0,
      frames: [{ function: 'f', rawName: '_f', file: 'f.c', line: 3 }],
    });
  });

  it.each([
    ['GET', '/v1/executables/zz', 400],
    ['GET', '/v1/executables/%', 400],
    ['GET', `/v1/executables/${unknown}`, 404],
    ['GET', `/v1/executables/${unknown}/frames/0x10`, 404],
    ['GET', `/v1/executables/${gnu}/frames/10`, 400],
    ['GET', '/', 404],
    ['POST', '/v1/executables', 404],
    ['DELETE', `/v1/executables/${gnu}`, 404],
    ['PUT', `/v1/executables/${gnu}/debuginfo`, 404],
  ])('%s %s gets %i and an error body', async (method, path, status) => {
    const reply = await api({ method, path, headers: {} });
    expect(reply.status).toBe(status);
    expect(jsonOf(reply)).toMatchObject({ error: { code: expect.any(String), message: expect.any(String) } });
  });

  it.each([
    ['nothing', '', {}, 400],
    ['no JSON', '{', {}, 400],
    ['no IDs', '{}', {}, 400],
    ['another type', 'ids=1', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['an unknown coding', '{}', { 'content-encoding': 'br' }, 415],
    ['no gzip', '{}', { 'content-encoding': 'gzip' }, 400],
    [
      'two zstd frames',
      Buffer.concat([zstdCompressSync('{"ids":'), zstdCompressSync('[]}')]),
      { 'content-encoding': 'zstd' },
      400,
    ],
    ['a gzip bomb', gzipSync(Buffer.alloc(9_000_000, 32)), { 'content-encoding': 'gzip' }, 413],
    ['a zstd bomb', zstdCompressSync(Buffer.alloc(9_000_000, 32)), { 'content-encoding': 'zstd' }, 413],
    ['too large a body', Buffer.alloc(2_097_153, 32), {}, 413],
    ['too many IDs', JSON.stringify({ ids: new Array(100_000).fill(gnu) }), {}, 413],
  ] as const)('with %s as its body is refused', async (_, body, headers, status) => {
    const reply = await post('/v1/executables/lookup', body, headers);
    expect(reply.status).toBe(status);
    expect(jsonOf(reply)).toMatchObject({ error: { code: expect.any(String) } });
  });

  it('gets 503 and when to ask again while the server is away, but for what is cached or runs here', async () => {
    await get(`/v1/executables/${gnu}`);
    setup.server.failing = 'no answer';
    const reply = await get(`/v1/executables/${unknown}`);
    expect([reply.status, reply.headers['retry-after']]).toEqual([503, '1']);
    expect((await get(`/v1/executables/${gnu}`)).status).toBe(200);
    expect((await get(`/v1/executables/${executable(2).ids.gnu}`)).status).toBe(200);
  });

  it('for metrics gets them in the text format, whose counts add up', async () => {
    const text = Buffer.from((await get('/metrics')).body).toString();
    expect(text).toMatch(/^symkeep_agent_info\{version="1.2.3"\} 1$/m);
    expect(text).toMatch(/^symkeep_agent_executables 3$/m);
    for (const line of text.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) .+|\w+(\{.*\})? -?[\d.e+-]+)$/);
  });
});

describe('sockets', () => {
  let directory: string;
  const listening: Listening[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sk-api-'));
  });
  afterEach(async () => {
    await Promise.all(listening.splice(0).map((one) => one.close()));
    rmSync(directory, { recursive: true });
  });

  const onSocket = async (path: string) => {
    const one = await listenOnSocket(api, path);
    listening.push(one);
    return one;
  };
  const overTcp = (address: string, path: string, headers: Headers = {}, method = 'GET', body?: Buffer) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const [host, port] = [address.slice(0, address.lastIndexOf(':')), Number(address.split(':').at(-1))];
      const asked = httpRequest({ host, port, path, method, headers, agent: false }, async (response) => {
        const chunks = await response.toArray();
        resolve({ status: response.statusCode!, body: Buffer.concat(chunks).toString() });
      });
      asked.on('error', reject);
      asked.end(body);
    });

  it('answer over a unix socket that its owner and group may use, as a server to another client', async () => {
    const { address } = await onSocket(join(directory, 'a/agent.sock'));
    expect(statSync(address).mode & 0o777).toBe(0o660);
    const { transport, close } = httpTransport(`unix:${address}`);
    const agent = () => ({ host: 'x', version: '1', uploads: false, uploading: false });
    const client = new ServerClient({ transport, clock: setup.clock, agent });
    const { value } = await client.lookup([gnu!, unknown]);
    expect((value[0] as { record: ExecutableRecord }).record.id).toBe(gnu);
    expect(value[1]).toMatchObject({ error: { code: 'not_found' } });
    close();
  });

  it('under a path too long for one stand elsewhere, at the same place after a restart', async () => {
    const path = join(directory, 'long/'.repeat(30), 'agent.sock');
    expect(Buffer.byteLength(path)).toBeGreaterThan(socketPathBytesMax);
    const first = await onSocket(path);
    expect(readFileSync(`${path}.place`, 'utf8')).toBe(`${first.address}\n`);
    expect(statSync(join(first.address, '..')).mode & 0o777).toBe(0o700);
    // One that answers is not pushed aside.
    await expect(listenOnSocket(api, path)).rejects.toThrow('another agent answers there');
    await listening.pop()!.close();
    const second = await onSocket(path);
    expect(second.address).toBe(first.address);
    await listening.pop()!.close();
    // What was cleaned away meanwhile is made anew, and nothing that others may write to is trusted.
    rmSync(join(first.address, '..'), { recursive: true });
    writeFileSync(`${path}.place`, `${join(directory, 'nowhere/agent.sock')}\n`);
    const third = await onSocket(path);
    expect(existsSync(third.address)).toBe(true);
    rmSync(join(third.address, '..'), { recursive: true });
  });

  it('take the place of what a dead agent left, not of a live one or of another file', async () => {
    const path = join(directory, 'agent.sock');
    const { address } = await onSocket(path);
    await expect(listenOnSocket(api, path)).rejects.toThrow('another agent answers there');
    await listening.pop()!.close();
    // A listener that ends without closing leaves its socket behind.
    const dead = createServer().listen(path);
    await new Promise((resolve) => dead.once('listening', resolve));
    (dead as unknown as { _handle: { close(): void } })._handle.close();
    expect((await onSocket(path)).address).toBe(address);
    writeFileSync(join(directory, 'file'), '');
    await expect(listenOnSocket(api, join(directory, 'file'))).rejects.toThrow('is no socket');
  });

  it('answer over loopback to those who name this host, and to no other', async () => {
    const { address } = await listenOnLoopback(api, { host: '127.0.0.1', port: 0 }).then((one) => {
      listening.push(one);
      return one;
    });
    const port = address.split(':')[1];
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, 'LOCALHOST', '[::1]:80']) {
      expect((await overTcp(address, `/v1/executables/${gnu}`, { host })).status).toBe(200);
    }
    for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', '10.0.0.1']) {
      expect((await overTcp(address, `/v1/executables/${gnu}`, { host })).status).toBe(403);
    }
    await expect(listenOnLoopback(api, { host: '0.0.0.0', port: 0 })).rejects.toThrow('not loopback');
    await expect(listenOnLoopback(api, { host: '127.0.0.1', port: Number(port) })).rejects.toThrow(
      'is taken',
    );
  });

  it('refuse a body over the limit before it is read', async () => {
    const one = await listenOnLoopback(api, { host: '127.0.0.1', port: 0 });
    listening.push(one);
    const chunked = await overTcp(
      one.address,
      '/v1/executables/lookup',
      { 'transfer-encoding': 'chunked' },
      'POST',
      Buffer.alloc(2_200_000, 32),
    );
    expect(chunked.status).toBe(413);
    expect((await overTcp(one.address, '/healthz')).body).toBe('ok\n');
  });
});
