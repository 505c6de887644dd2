// What a server gets that takes files from anyone: files of others, cut short, bombs, holes, drips and crowds. Each is
// answered with its documented code, the memory stays small through all of it, and the disk is clean after.
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { bytesSource, openElf, sectionFlags } from '@symkeep/elf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { exchange, type RawReply, type RawRequest, request, ServerProcess } from './server-process.ts';

const MiB = 2 ** 20;
const residentBytesMax = 300 * MiB;
const uploadsMax = 16;
const fixtures = new URL('../libs/elf/fixtures/', import.meta.url);
const fixture = (name: string): Buffer => readFileSync(new URL(name, fixtures));
const plain = fixture('debug-plain');
const buildId = '8c9e72df13abdc3cb3ab325156716669a66bdd51';
const idOf = (n: number): string => createHash('sha1').update(`build ${n}`).digest('hex');

function pathOf(id: string): string {
  return `/v1/executables/${id}/debuginfo`;
}
function put(
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  path = pathOf(buildId),
): RawRequest {
  return request('PUT', path, headers, body);
}
function ofBuild(id: string, file = plain): Buffer {
  const copy = Buffer.from(file);
  copy.write(id, copy.indexOf(Buffer.from(buildId, 'hex')), 'hex');
  return copy;
}

/** A file whose compressed sections claim to be a terabyte each, or what their few bytes may just claim. */
function inflating(name: string, build: number, claim: (bytes: number) => number): Buffer {
  const bytes = ofBuild(idOf(build), fixture(name));
  const { sections } = openElf(bytesSource(bytes));
  const compressed = sections.filter(({ flags }) => (flags & sectionFlags.compressed) !== 0);
  expect(compressed.length).toBeGreaterThan(2);
  for (const { offset, size } of compressed) bytes.writeBigUInt64LE(BigInt(claim(size)), offset + 8);
  return bytes;
}

const zeros = Buffer.alloc(96 * MiB);
const line = `PUT ${pathOf(buildId)} HTTP/1.1\r\nhost: 127.0.0.1\r\n`;
const chunkOf = (size: number) =>
  Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), Buffer.alloc(size), Buffer.from('\r\n')]);

const table: [string, RawRequest, number, string, string | undefined][] = [
  ['of another build', put(ofBuild(idOf(0))), 422, 'unprocessable', 'wrong_id'],
  ['without a build ID', put(fixture('shapes-no-id')), 422, 'unprocessable', 'wrong_id'],
  ['that is none', put('#!/bin/sh\nrm -rf /\n'), 422, 'unprocessable', 'not_elf'],
  ['of no bytes', put(''), 422, 'unprocessable', 'not_elf'],
  ['cut short in its header', put(plain.subarray(0, 40)), 422, 'unprocessable', 'truncated'],
  ['cut short in the middle', put(plain.subarray(0, 4_000)), 422, 'unprocessable', 'truncated'],
  ['cut short by a byte', put(plain.subarray(0, -1)), 422, 'unprocessable', 'truncated'],
  [
    'that is a bomb of gzip',
    put(gzipSync(zeros), { 'content-encoding': 'gzip' }),
    413,
    'too_large',
    undefined,
  ],
  [
    'that is a bomb of zstd',
    put(zstdCompressSync(zeros), { 'content-encoding': 'zstd' }),
    413,
    'too_large',
    undefined,
  ],
  ['that is no gzip', put(plain, { 'content-encoding': 'gzip' }), 400, 'invalid_argument', undefined],
  [
    'that is gzip cut short',
    put(gzipSync(plain).subarray(0, -9), { 'content-encoding': 'gzip' }),
    400,
    'invalid_argument',
    undefined,
  ],
  ['in another coding', put(plain, { 'content-encoding': 'br' }), 415, 'unsupported', undefined],
  [
    'whose sections claim a terabyte each',
    put(
      inflating('debug-zlib', 1, () => 2 ** 40),
      {},
      pathOf(idOf(1)),
    ),
    202,
    '',
    undefined,
  ],
  [
    'whose sections claim all that zlib can make',
    put(
      inflating('debug-zlib', 2, (size) => 1_032 * (size - 24)),
      {},
      pathOf(idOf(2)),
    ),
    202,
    '',
    undefined,
  ],
  [
    'whose zstd claims a terabyte',
    put(
      inflating('debug-zstd', 5, () => 2 ** 40),
      {},
      pathOf(idOf(5)),
    ),
    202,
    '',
    undefined,
  ],
  ['declared over the limit', [`${line}content-length: 999999999999\r\n\r\n`], 413, 'too_large', undefined],
  [
    'declared over the limit by who waits to be asked',
    [`${line}content-length: 999999999999\r\nexpect: 100-continue\r\n\r\n`],
    413,
    'too_large',
    undefined,
  ],
  [
    'that hashes to something else',
    put(plain, { 'content-digest': `sha-256=:${randomBytes(32).toString('base64')}:` }),
    400,
    'invalid_argument',
    'digest',
  ],
  [
    'that replaces what is there, by anyone',
    put('x', {}, `${pathOf(buildId)}?replace=perhaps`),
    400,
    'invalid_argument',
    undefined,
  ],
  [
    'under a path',
    put(plain, {}, pathOf('%2e%2e%2f%2e%2e%2fetc%2fpasswd')),
    400,
    'invalid_argument',
    undefined,
  ],
  ['under a path that is not coded', put(plain, {}, pathOf('../../etc')), 404, 'not_found', undefined],
  ['under a NUL', put(plain, {}, pathOf(`${buildId}%00`)), 400, 'invalid_argument', undefined],
  ['under a backslash', put(plain, {}, pathOf('..%5c..%5cetc')), 400, 'invalid_argument', undefined],
  [
    'under a Go build ID that is a path',
    put(plain, {}, pathOf(`go:${Buffer.from('../../../etc').toString('base64url')}`)),
    422,
    'unprocessable',
    'wrong_id',
  ],
  ['under no ID', put(plain, {}, '/v1/executables//debuginfo'), 404, 'not_found', undefined],
  [
    'whose name is a path',
    put(plain, {}, `${pathOf(buildId)}?name=${encodeURIComponent('../../../etc/cron.d/x')}`),
    202,
    '',
    undefined,
  ],
];

describe.skipIf(!redisAvailable)('a file', () => {
  let redis: TestRedis;
  let server: ServerProcess;
  let data: string;

  beforeAll(async () => {
    redis = await TestRedis.start();
    data = mkdtempSync(join(tmpdir(), 'sk-hostile-'));
    const args = ['--data', data, '--uploads-max', String(uploadsMax)];
    server = await ServerProcess.start(`redis+unix://${redis.socket}`, args);
  });

  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    rmSync(data, { recursive: true, force: true });
    await redis.remove();
  });

  /** Files on their way. */
  function staged(): string[] {
    const directory = join(data, 'blobs/.staging');
    return existsSync(directory) ? readdirSync(directory) : [];
  }

  /** Until what the server does after its reply, or after a client went away, is done. */
  async function untilClean(): Promise<void> {
    while (staged().length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  it.each(table)('%s', async (_name, bad, status, code, reason) => {
    const reply = await exchange(server.port, bad);
    expect([reply.status, reply.code]).toEqual([status, code]);
    expect(reply.headers.get('symkeep-reason')).toBe(reason);
    await untilClean();
  });

  it('of 3 GB that is a hole is taken, and costs the disk what is in it', async () => {
    const id = idOf(3);
    const path = join(data, 'sparse');
    const fd = openSync(path, 'w');
    const file = ofBuild(id);
    writeSync(fd, file, 0, file.length, 0);
    ftruncateSync(fd, 3_000_000_000);
    closeSync(fd);
    const reply = await sendStream(server.port, pathOf(id), createReadStream(path), {
      'content-length': '3000000000',
    });
    expect(reply.status).toBe(202);
    const folder = join(data, `blobs/executables/${id.slice(0, 2)}/gnu-${id}/files`);
    const [name] = readdirSync(folder);
    const kept = statSync(join(folder, name!));
    expect(kept.size).toBe(3_000_000_000);
    expect(kept.blocks * 512).toBeLessThan(8 * MiB);
    // The same as a bomb.
    const gzip = createGzip({ level: 1 });
    const packed = pipeline(createReadStream(path), gzip).catch(() => undefined);
    const bomb = await sendStream(server.port, pathOf(idOf(4)), gzip, { 'content-encoding': 'gzip' });
    expect(bomb.status).toBe(413);
    gzip.destroy();
    await packed;
    await untilClean();
  });

  it('that comes a byte a second is refused in its time', async () => {
    const drip: (Buffer | number)[] = [];
    for (let n = 0; n < 60; n++) drip.push(chunkOf(1), 1_000);
    const reply = await exchange(server.port, [`${line}transfer-encoding: chunked\r\n\r\n`, ...drip]);
    expect([reply.status, reply.code]).toEqual([400, 'invalid_argument']);
    expect(reply.body.toString()).toContain('slower');
    await untilClean();
  });

  it('without end whose sender is quick is refused at the limit', async () => {
    const small = await ServerProcess.start(`redis+unix://${redis.socket}`, [
      ...['--data', data, '--file-bytes-max', '32MiB'],
    ]);
    const chunk = chunkOf(MiB);
    const reply = await exchange(small.port, [
      `${line}transfer-encoding: chunked\r\n\r\n`,
      ...Array<Buffer>(64).fill(chunk),
    ]);
    expect([reply.status, reply.code]).toEqual([413, 'too_large']);
    expect(await small.stop()).toBe(0);
    await untilClean();
  });

  const full = mountSmall();
  it.skipIf(full === undefined)('for which there is no room is told so, and leaves nothing', async () => {
    const place = join(full!, 'blobs');
    const small = await ServerProcess.start(`redis+unix://${redis.socket}`, [
      '--data',
      data,
      '--blobs',
      place,
    ]);
    try {
      const padded = (n: number) => Buffer.concat([ofBuild(idOf(n)), Buffer.alloc(16 * MiB, 7)]);
      for (let n = 6_000; n < 6_003; n++) {
        const reply = await exchange(small.port, put(padded(n), {}, pathOf(idOf(n))));
        expect([reply.status, reply.code]).toEqual([503, 'unavailable']);
        expect(reply.headers.get('symkeep-reason')).toBe('disk_full');
        expect(readdirSync(join(place, '.staging'))).toEqual([]);
      }
      const fits = await exchange(small.port, put(ofBuild(idOf(6_000)), {}, pathOf(idOf(6_000))));
      expect(fits.status).toBe(202);
    } finally {
      await small.stop();
      execFileSync('umount', [full!]);
    }
  });

  it('whose sender goes away leaves nothing', async () => {
    await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        const socket = connect(server.port, '127.0.0.1');
        socket.on('error', () => undefined);
        const head = `PUT ${pathOf(idOf(1_000 + n))} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 8000000\r\n\r\n`;
        socket.write(head);
        await new Promise((resolve) => socket.write(Buffer.alloc(300_000, 1), resolve));
        socket.destroy();
      }),
    );
    await untilClean();
  });

  it('among 200 at once is taken, or told to come back; then all are there', async () => {
    const padding = randomBytes(2 * MiB);
    const files = Array.from({ length: 200 }, (_, n) => ({
      id: idOf(2_000 + n),
      bytes: Buffer.concat([ofBuild(idOf(2_000 + n)), padding]),
    }));
    const send = ({ id, bytes }: (typeof files)[number]) => exchange(server.port, put(bytes, {}, pathOf(id)));
    let open = files;
    let refusals = 0;
    for (let round = 0; open.length > 0 && round < 100; round++) {
      const replies = await Promise.all(open.map(send));
      for (const { status, headers, code } of replies) {
        expect([202, 503]).toContain(status);
        if (status === 202) continue;
        refusals++;
        expect([code, headers.get('symkeep-reason'), headers.get('retry-after')]).toEqual([
          'unavailable',
          'busy',
          '1',
        ]);
      }
      open = open.filter((_, index) => replies[index]!.status !== 202);
      if (open.length > 0) await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(open).toEqual([]);
    expect(refusals).toBeGreaterThan(0);
    for (const { id, bytes } of files) {
      const digest = createHash('sha256').update(bytes).digest('hex');
      const path = join(data, `blobs/executables/${id.slice(0, 2)}/gnu-${id}/files/${digest}`);
      expect(statSync(path).size).toBe(bytes.length);
    }
    await untilClean();
  });

  it('of any kind costs the server little memory, and nothing else is on the disk', async () => {
    const { body } = await exchange(server.port, request('GET', '/readyz'));
    expect(body.length).toBeGreaterThan(0);
    console.info(`peak of the server's memory: ${(server.residentBytesPeak / MiB).toFixed(0)} MiB`);
    expect(server.residentBytesPeak).toBeLessThan(residentBytesMax);
    expect(staged()).toEqual([]);
    expect(readdirSync(join(data, 'blobs')).sort()).toEqual(['.staging', 'executables']);
    for (const entry of readdirSync(join(data, 'blobs'), { recursive: true, encoding: 'utf8' })) {
      expect(entry).toMatch(
        /^(\.staging|executables(\/[0-9a-f]{2}(\/gnu-[0-9a-f]{40}(\/files(\/[0-9a-f]{64})?)?)?)?)$/,
      );
    }
  });
});

/** A file system of 8 MiB, where this process may mount one. */
function mountSmall(): string | undefined {
  const place = mkdtempSync(join(tmpdir(), 'sk-full-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', place], { stdio: 'ignore' });
    return place;
  } catch {
    return undefined;
  }
}

/** Sends a stream; the reply may come before all of it is sent. */
function sendStream(
  port: number,
  path: string,
  body: NodeJS.ReadableStream,
  headers: Record<string, string>,
): Promise<Pick<RawReply, 'status'>> {
  const { promise, resolve, reject } = Promise.withResolvers<Pick<RawReply, 'status'>>();
  const sending = httpRequest({ host: '127.0.0.1', port, path, method: 'PUT', headers });
  let answered = false;
  sending.on('response', (response: IncomingMessage) => {
    answered = true;
    response.resume();
    response.once('close', () => resolve({ status: response.statusCode! }));
  });
  sending.on('error', (error) => {
    if (!answered) reject(error);
  });
  pipeline(body, sending).catch((error: Error) => {
    if (!answered) reject(error);
  });
  return promise;
}
