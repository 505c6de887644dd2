// What a server gets that is on the open network, or beside a broken client: each answered with its documented code, and
// the server unharmed.
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { encode } from '@symkeep/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { exchange, type RawRequest, request, ServerProcess } from './server-process.ts';

const MiB = 2 ** 20;
/** With a few hundred MiB of bodies allowed at once. */
const residentBytesMax = 900 * MiB;
const lookup = '/v1/executables/lookup';
const known = '33a5554034feb2af38e8c75872058883b2988bc5';
const unknown = 'ab'.repeat(20);
const executable = { ids: { gnu: known, htlhash: '01'.repeat(16) }, name: '/bin/known' };
const report = JSON.stringify({ agent: { host: 'h', version: '1' }, executables: [executable] });
const ids = JSON.stringify({ ids: [known] });
const packed = { 'content-type': 'application/msgpack' };

function get(path: string, headers: Record<string, string> = {}): RawRequest {
  return request('GET', path, headers);
}
function post(body: string | Uint8Array, headers: Record<string, string> = {}, path = lookup): RawRequest {
  return request('POST', path, headers, body);
}
function bytes(...values: (number | string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    values.map((value) => (typeof value === 'number' ? Buffer.from([value]) : Buffer.from(value as string))),
  );
}
function coded(coding: string, body: Uint8Array): RawRequest {
  return post(body, { 'content-encoding': coding });
}
/** `{"ids": …` in MessagePack. */
const idsKey = bytes(0x81, 0xa3, 'ids');
const spaces = Buffer.alloc(64 * MiB, 0x20);
const wideZstd = zstdCompressSync(Buffer.alloc(20 * MiB, 0x20), {
  params: { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_enableLongDistanceMatching]: 1 },
});

const idTable: [string, RawRequest, number, string][] = [
  ['an ID that is no hex', get('/v1/executables/zz'), 400, 'invalid_argument'],
  ['an ID of odd length', get('/v1/executables/abc'), 400, 'invalid_argument'],
  ['an ID too short to be a digest', get('/v1/executables/0123456789abcd'), 400, 'invalid_argument'],
  ['an ID longer than any digest', get(`/v1/executables/${'ab'.repeat(65)}`), 400, 'invalid_argument'],
  ['an ID of a thousand letters', get(`/v1/executables/${'a'.repeat(1_000)}`), 400, 'invalid_argument'],
  ['an ID of zeros', get(`/v1/executables/${'00'.repeat(20)}`), 400, 'invalid_argument'],
  ['an ID of ones', get(`/v1/executables/${'ff'.repeat(20)}`), 400, 'invalid_argument'],
  [
    'the ID of redacted Go builds',
    get('/v1/executables/b68919aff001d8366249403a2544fba2d833084f'),
    400,
    'invalid_argument',
  ],
  ['an unknown kind of ID', get(`/v1/executables/md5:${unknown}`), 400, 'invalid_argument'],
  ['a short htlhash', get('/v1/executables/htlhash:abcd'), 400, 'invalid_argument'],
  ['a Go ID that is no base64url', get('/v1/executables/go:!!'), 400, 'invalid_argument'],
  [
    'a Go ID of no build',
    get(`/v1/executables/go:${Buffer.from('redacted').toString('base64url')}`),
    400,
    'invalid_argument',
  ],
  ['a path in the ID', get('/v1/executables/%2e%2e%2fetc%2fpasswd'), 400, 'invalid_argument'],
  ['broken percent-encoding', get('/v1/executables/%zz'), 400, 'invalid_argument'],
  ['a NUL in the ID', get('/v1/executables/ab%00cd'), 400, 'invalid_argument'],
  ['an ID in another script', get('/v1/executables/%D0%B0%D0%B1'), 400, 'invalid_argument'],
  ['an ID that nothing has', get(`/v1/executables/${unknown}`), 404, 'not_found'],
  ['a decimal address in a path', get(`/v1/executables/${known}/frames/17`), 400, 'invalid_argument'],
  [
    'an address of 65 bits',
    get(`/v1/executables/${known}/frames/0x10000000000000000`),
    400,
    'invalid_argument',
  ],
  ['frames of what nothing has', get(`/v1/executables/${unknown}/frames/0x1`), 404, 'not_found'],
  ['an unknown path', get('/v2/executables'), 404, 'not_found'],
  ['a method that is not offered', request('DELETE', '/v1/frames/lookup'), 404, 'not_found'],
  ['a method that is none', ['BREW / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'], 400, 'invalid_argument'],
  ['a limit of nothing', get('/v1/executables?limit=0'), 400, 'invalid_argument'],
  ['a limit over the most', get('/v1/executables?limit=1001'), 400, 'invalid_argument'],
  ['a limit that is no number', get('/v1/executables?limit=many'), 400, 'invalid_argument'],
  ['an unknown state', get('/v1/executables?state=lost'), 400, 'invalid_argument'],
  ['an unknown quality', get('/v1/executables?quality=good'), 400, 'invalid_argument'],
  ['a name too long', get(`/v1/executables?name=${'n'.repeat(256)}`), 400, 'invalid_argument'],
  ['a cursor of nobody', get('/v1/executables?cursor=AAAA'), 400, 'invalid_argument'],
  ['a cursor for events of nobody', get('/v1/events?cursor=AAAA'), 400, 'invalid_argument'],
  ['a wait before now', get('/v1/events?wait=-1'), 400, 'invalid_argument'],
  [
    'an address that is none to explain',
    get(`/v1/executables/${known}/explain?address=main`),
    400,
    'invalid_argument',
  ],
];

const jsonTable: [string, RawRequest, number, string][] = [
  ['no body', post(''), 400, 'invalid_argument'],
  ['half of JSON', post('{"ids":["'), 400, 'invalid_argument'],
  ['JSON and more', post(`${ids} x`), 400, 'invalid_argument'],
  ['bytes that are no UTF-8', post(Buffer.from('{"ids":["\xc3\x28"]}', 'latin1')), 400, 'invalid_argument'],
  ['a list instead of a message', post('[]'), 400, 'invalid_argument'],
  ['null', post('null'), 400, 'invalid_argument'],
  ['a message without IDs', post('{}'), 400, 'invalid_argument'],
  ['IDs that are no list', post('{"ids":{"length":9}}'), 400, 'invalid_argument'],
  ['a prototype', post('{"__proto__":{"ids":[]}}'), 400, 'invalid_argument'],
  ['a hundred thousand brackets', post('['.repeat(100_000)), 400, 'invalid_argument'],
  ['a million values', post(`{"ids":[${'{},'.repeat(600_000)}1]}`), 400, 'invalid_argument'],
  ['one ID too many', post(JSON.stringify({ ids: Array(1_001).fill(known) })), 413, 'too_large'],
  ['a report of nobody', post('{"executables":[]}', {}, '/v1/executables'), 400, 'invalid_argument'],
  [
    'a report too long',
    post(
      JSON.stringify({ agent: { host: 'h', version: '1' }, executables: Array(1_001).fill({}) }),
      {},
      '/v1/executables',
    ),
    413,
    'too_large',
  ],
  [
    'a host name too long',
    post(
      JSON.stringify({ agent: { host: 'h'.repeat(256), version: '1' }, executables: [] }),
      {},
      '/v1/executables',
    ),
    400,
    'invalid_argument',
  ],
  [
    'one address too many',
    post(
      JSON.stringify({ requests: [{ id: known, addresses: Array(65_537).fill(1) }] }),
      {},
      '/v1/frames/lookup',
    ),
    413,
    'too_large',
  ],
  ['frames that are no list', post('{"frames":1}', {}, '/v1/frames'), 400, 'invalid_argument'],
  ['a form', post(ids, { 'content-type': 'application/x-www-form-urlencoded' }), 415, 'unsupported'],
  ['text', post(ids, { 'content-type': 'text/plain' }), 415, 'unsupported'],
  ['UTF-16', post(ids, { 'content-type': 'application/json; charset=utf-16' }), 415, 'unsupported'],
];

const messagePackTable: [string, RawRequest, number, string][] = [
  ['nothing', post('', packed), 400, 'invalid_argument'],
  ['an unused type', post(bytes(0xc1), packed), 400, 'invalid_argument'],
  ['an extension', post(bytes(idsKey, 0xd4, 1, 1), packed), 400, 'invalid_argument'],
  ['a timestamp', post(bytes(idsKey, 0xd6, 0xff, 0, 0, 0, 0), packed), 400, 'invalid_argument'],
  ['a list cut short', post(bytes(idsKey, 0x93, 0xa1, 'x'), packed), 400, 'invalid_argument'],
  [
    'a list of four billion',
    post(bytes(idsKey, 0xdd, 0xff, 0xff, 0xff, 0xff), packed),
    400,
    'invalid_argument',
  ],
  ['a map of four billion', post(bytes(0xdf, 0xff, 0xff, 0xff, 0xff), packed), 400, 'invalid_argument'],
  [
    'a text of four gigabytes',
    post(bytes(idsKey, 0x91, 0xdb, 0xff, 0xff, 0xff, 0xff), packed),
    400,
    'invalid_argument',
  ],
  ['a list in a list in a list …', post(Buffer.alloc(100_000, 0x91), packed), 400, 'invalid_argument'],
  [
    'millions of empty lists',
    post(bytes(idsKey, 0xdd, 0, 0x40, 0, 0, Buffer.alloc(0x40_0000, 0x90)), packed),
    400,
    'invalid_argument',
  ],
  ['a message and more', post(bytes(idsKey, 0x90, 0xc0), packed), 400, 'invalid_argument'],
  ['a number instead of a message', post(bytes(7), packed), 400, 'invalid_argument'],
  ['JSON', post(ids, packed), 400, 'invalid_argument'],
  ['one ID too many', post(encode({ ids: Array(1_001).fill(known) }, 'msgpack'), packed), 413, 'too_large'],
  [
    'IDs of other types',
    post(encode({ ids: [1, null, [], { a: 1 }, 1.5, true] }, 'msgpack'), packed),
    200,
    '',
  ],
];

const codingTable: [string, RawRequest, number, string][] = [
  ['another coding', coded('br', Buffer.from(ids)), 415, 'unsupported'],
  ['two codings', coded('gzip, zstd', Buffer.from(ids)), 415, 'unsupported'],
  ['gzip that is none', coded('gzip', Buffer.from(ids)), 400, 'invalid_argument'],
  ['zstd that is none', coded('zstd', Buffer.from(ids)), 400, 'invalid_argument'],
  ['gzip cut short', coded('gzip', gzipSync(ids).subarray(0, -4)), 400, 'invalid_argument'],
  ['zstd cut short', coded('zstd', zstdCompressSync(ids).subarray(0, -4)), 400, 'invalid_argument'],
  [
    'gzip and more',
    coded('gzip', Buffer.concat([gzipSync(ids), Buffer.from('more')])),
    400,
    'invalid_argument',
  ],
  [
    'two zstd frames',
    coded('zstd', Buffer.concat([zstdCompressSync(ids), zstdCompressSync(ids)])),
    400,
    'invalid_argument',
  ],
  ['a gzip bomb', coded('gzip', gzipSync(spaces)), 413, 'too_large'],
  ['a zstd bomb', coded('zstd', zstdCompressSync(spaces)), 413, 'too_large'],
  ['a zstd window of 128 MiB', coded('zstd', wideZstd), 400, 'invalid_argument'],
  [
    'a gzip bomb in MessagePack',
    post(gzipSync(spaces), { ...packed, 'content-encoding': 'gzip' }),
    413,
    'too_large',
  ],
];

const line = 'POST /v1/executables/lookup HTTP/1.1\r\nhost: 127.0.0.1\r\n';
const json = 'content-type: application/json\r\n';
const chunk = Buffer.concat([
  Buffer.from(`${MiB.toString(16)}\r\n`),
  Buffer.alloc(MiB, 0x20),
  Buffer.from('\r\n'),
]);

const httpTable: [string, RawRequest, number, string][] = [
  ['no HTTP', ['hello\r\n\r\n'], 400, 'invalid_argument'],
  ['TLS', [bytes(0x16, 0x03, 0x01, 0x02, 0x00, 0x01)], 400, 'invalid_argument'],
  ['HTTP/2', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], 400, 'invalid_argument'],
  ['CONNECT', ['CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example\r\n\r\n'], 400, 'invalid_argument'],
  ['no Host', ['GET /v1/info HTTP/1.1\r\n\r\n'], 400, 'invalid_argument'],
  ['the Host of another', get('/v1/info', { host: 'evil.example' }), 403, 'permission_denied'],
  [
    'a Host that looks like ours',
    get('/v1/info', { host: '127.0.0.1.evil.example' }),
    403,
    'permission_denied',
  ],
  ['the address of another', get('http://evil.example/v1/info'), 403, 'permission_denied'],
  ['a Host that is none', get('/v1/info', { host: 'a b' }), 400, 'invalid_argument'],
  [
    'the Host of another to the quick path',
    get(`/v1/executables/${known}`, { host: 'evil.example' }),
    403,
    'permission_denied',
  ],
  [
    'a page of another site that writes',
    post(report, { origin: 'https://evil.example' }, '/v1/executables'),
    403,
    'permission_denied',
  ],
  ['headers over 16 KiB', get('/v1/info', { 'x-large': 'x'.repeat(20_000) }), 413, 'too_large'],
  [
    'two thousand headers',
    get('/v1/info', Object.fromEntries(Array.from({ length: 2_000 }, (_, n) => [`x-${n}`, 'v']))),
    413,
    'too_large',
  ],
  ['an address over 16 KiB', get(`/v1/executables?name=${'n'.repeat(20_000)}`), 413, 'too_large'],
  [
    'a NUL in a header',
    ['GET /v1/info HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\0b\r\n\r\n'],
    400,
    'invalid_argument',
  ],
  ['a body declared over 8 MiB', [`${line}${json}content-length: 8388609\r\n\r\n`], 413, 'too_large'],
  [
    'a body declared beyond all measure',
    [`${line}${json}content-length: 999999999999999\r\n\r\n`],
    413,
    'too_large',
  ],
  ['a body of less than nothing', [`${line}${json}content-length: -1\r\n\r\n`], 400, 'invalid_argument'],
  [
    'two lengths',
    [`${line}${json}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`],
    400,
    'invalid_argument',
  ],
  [
    'a length and chunks',
    [`${line}${json}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    400,
    'invalid_argument',
  ],
  ['a broken chunk', [`${line}${json}transfer-encoding: chunked\r\n\r\nzz\r\n`], 400, 'invalid_argument'],
  [
    'chunks over 8 MiB',
    [`${line}${json}transfer-encoding: chunked\r\n\r\n`, ...Array<Buffer>(10).fill(chunk)],
    413,
    'too_large',
  ],
];

const dripped = Array.from({ length: 40 }, () => [Buffer.from(' '), 500]).flat();
const slowTable: [string, RawRequest, number, string][] = [
  ['a body by the byte', [`${line}${json}content-length: 4000\r\n\r\n`, ...dripped], 400, 'invalid_argument'],
  ['a body that never comes', [`${line}${json}content-length: 4000\r\n\r\n`], 400, 'invalid_argument'],
  [
    'a MessagePack body that stops',
    [`${line}content-type: application/msgpack\r\ncontent-length: 4000\r\n\r\n`, idsKey],
    400,
    'invalid_argument',
  ],
  [
    'headers by the byte',
    ['GET /v1/info HTTP/1.1\r\nhost: 127.0.0.1\r\n', ...Array.from({ length: 40 }, () => ['x', 500]).flat()],
    400,
    'invalid_argument',
  ],
];

describe.skipIf(!redisAvailable)('bad input', () => {
  let redis: TestRedis;
  let server: ServerProcess;

  beforeAll(async () => {
    redis = await TestRedis.start();
    server = await ServerProcess.start(`redis+unix://${redis.socket}`);
    expect((await exchange(server.port, post(report, {}, '/v1/executables'))).status).toBe(200);
  });

  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await redis.remove();
  });

  const tables = { idTable, jsonTable, messagePackTable, codingTable, httpTable };
  it('is tried in over sixty ways', () => {
    expect(Object.values(tables).flat().length).toBeGreaterThan(60);
  });

  describe.each(Object.entries(tables))('%s', (_table, rows) => {
    it.each(rows)('%s', async (_name, bad, status, code) => {
      const reply = await exchange(server.port, bad);
      expect([reply.status, reply.code]).toEqual([status, code]);
      expect(reply.headers.get('symkeep-epoch')).toMatch(/^[\w-]{32}$/);
      expect(reply.headers.get('cache-control')).toBe('no-store');
    });
  });

  it('that comes slowly is refused in its time, while others are served', async () => {
    const slow = slowTable.map(([, bad]) => exchange(server.port, bad));
    const quick = await exchange(server.port, get(`/v1/executables/${known}`));
    expect(quick.status).toBe(200);
    const replies = await Promise.all(slow);
    expect(replies.map(({ status, code }) => [status, code])).toEqual(
      slowTable.map(([, , status, code]) => [status, code]),
    );
  });

  it('on many connections at once leaves the server as it was', async () => {
    const bombs = codingTable.filter(([name]) => name.includes('bomb'));
    const floods = [
      ...Array.from({ length: 48 }, (_, index) => bombs[index % bombs.length]![1]),
      ...Array.from({ length: 24 }, () => httpTable.at(-1)![1]),
      ...Array.from({ length: 24 }, () => messagePackTable[9]![1]),
    ];
    const replies = await Promise.all(floods.map((bad) => exchange(server.port, bad)));
    for (const { status, headers } of replies) {
      expect([400, 413, 503]).toContain(status);
      if (status === 503) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
    const found = await exchange(server.port, get(`/v1/executables/${known}`));
    expect(found.status).toBe(200);
    expect(JSON.parse(found.body.toString())).toMatchObject({ id: `gnu:${known}`, names: ['/bin/known'] });
    expect(server.child.exitCode).toBeNull();
    expect(server.residentBytesPeak).toBeLessThan(residentBytesMax);
  });
});
