// Real HTTP servers on loopback as upstreams, the store in memory, a clock that moves by hand.
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { ManualClock, MemoryStore, StoreUnavailable } from '@symkeep/cache';
import type { ExecutableId, ExecutableRecord } from '@symkeep/protocol';
import { noSymbols } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { guardedLookup, isPublicAddress } from '../src/upstreams/address-guard.ts';
import { CircuitBreaker } from '../src/upstreams/circuit-breaker.ts';
import { allowedPathsDefault, Upstreams, type UpstreamsConfig } from '../src/upstreams/index.ts';

const hourMs = 3_600_000;
const buildId = '33a5554034feb2af38e8c75872058883b2988bc5';
const record: ExecutableRecord = {
  ...{ id: `gnu:${buildId}` as ExecutableId, ids: { gnu: buildId, htlhash: [], go: [] }, ambiguous: false },
  ...{ fileName: 'bash', names: ['/usr/bin/bash'], nameCount: 1, arch: '', type: '', size: 1, layouts: [] },
  ...{ firstSeen: '', lastSeen: '', version: 1, generation: 1, symbols: noSymbols, agentFrames: false },
};

let clock: ManualClock;
let store: MemoryStore;
const servers: Server[] = [];

beforeEach(() => {
  clock = new ManualClock({ wallMs: 1_800_000_000_000 });
  store = new MemoryStore({ clock });
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** A server that answers as `handle` does; `asked` are the paths it was asked for. */
async function serve(handle: RequestListener): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, reply) => {
    asked.push(request.url ?? '');
    handle(request, reply);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

const answer =
  (status: number, body = ''): RequestListener =>
  (_, reply) =>
    reply.writeHead(status).end(body);

function upstreamsOf(urls: string[], more: Partial<UpstreamsConfig> = {}): Upstreams {
  const config = {
    urls,
    allowedPaths: allowedPathsDefault,
    allowPrivate: true,
    fileBytesMax: 1_000,
    requestsMax: 2,
  };
  return new Upstreams({ ...config, ...more }, { store, clock, random: () => 0.5 });
}

function find(upstreams: Upstreams, what: ExecutableRecord = record) {
  return upstreams.find(what, new AbortController().signal);
}

describe('upstreams', () => {
  it('are asked in order, until one has the file', async () => {
    const first = await serve(answer(404));
    const second = await serve(answer(200, 'the file'));
    const third = await serve(answer(200, 'another'));
    const outcome = await find(upstreamsOf([first.url, `${second.url}/`, third.url]));
    if (outcome.kind !== 'found') throw new Error(outcome.kind);
    expect(outcome.upstream).toBe(second.url);
    expect((await buffer(outcome.file.body)).toString()).toBe('the file');
    expect([first.asked, second.asked, third.asked]).toEqual([
      [`/buildid/${buildId}/debuginfo`],
      [`/buildid/${buildId}/debuginfo`],
      [],
    ]);
  });

  it('that have nothing are asked again after intervals that double up to a week, by any worker', async () => {
    const { url, asked } = await serve(answer(404));
    const intervals: number[] = [];
    for (let miss = 0; miss < 10; miss++) {
      const outcome = await find(upstreamsOf([url]));
      if (outcome.kind !== 'absent') throw new Error(outcome.kind);
      const waitMs = outcome.retryAt - clock.wall();
      intervals.push(waitMs / hourMs);
      await clock.advance(waitMs - 1);
      await find(upstreamsOf([url]));
      expect(asked).toHaveLength(miss + 1);
      await clock.advance(1);
    }
    expect(intervals).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 168, 168]);
  });

  it('are asked at once when the absence is cancelled', async () => {
    const { url, asked } = await serve(answer(404));
    const upstreams = upstreamsOf([url]);
    await find(upstreams);
    await upstreams.absences.cancel([record.id]);
    expect(upstreams.dueAt({})).toBe(0);
    await find(upstreams);
    expect(asked).toHaveLength(2);
  });

  it('are asked only for what may be asked for', async () => {
    const { url, asked } = await serve(answer(200, 'x'));
    const upstreams = upstreamsOf([url]);
    const refused: Partial<ExecutableRecord>[] = [
      { names: ['/srv/app/private'] },
      { names: [] },
      { id: `htlhash:${'ab'.repeat(16)}` as ExecutableId },
      { ambiguous: true },
    ];
    for (const change of refused) {
      expect(await find(upstreams, { ...record, ...change })).toMatchObject({ kind: 'not_allowed' });
    }
    expect(asked).toEqual([]);
  });

  it('that fail say so, leave no absence, and are left alone after three times', async () => {
    const { url, asked } = await serve(answer(503));
    const upstreams = upstreamsOf([url]);
    const reasons: string[] = [];
    for (let n = 0; n < 5; n++) {
      const outcome = await find(upstreams);
      if (outcome.kind === 'failed') reasons.push(outcome.failures[0]!.reason);
    }
    expect(reasons).toEqual(['refused', 'refused', 'refused', 'resting', 'resting']);
    expect([asked.length, upstreams.upstreams[0]!.state]).toEqual([3, 'open']);
    expect(await upstreams.absences.of([record.id])).toEqual([{}]);
    await clock.advance(30_000);
    await find(upstreams);
    expect(asked).toHaveLength(4);
  });

  it('must stay below the largest file, and may not send anyone elsewhere', async () => {
    const elsewhere = await serve(answer(200, 'x'));
    const large = await serve((_, reply) => reply.setHeader('content-length', 1_001).end('x'.repeat(1_001)));
    const away = await serve((_, reply) =>
      reply.writeHead(302, { location: elsewhere.url.replace('127.0.0.1', 'localhost') }).end(),
    );
    const endless = await serve((_, reply) => reply.writeHead(302, { location: '/again' }).end());
    const gone = 'http://127.0.0.1:1';
    const outcome = await find(upstreamsOf([large.url, away.url, endless.url, gone]));
    if (outcome.kind !== 'failed') throw new Error(outcome.kind);
    expect(outcome.failures.map(({ reason }) => reason)).toEqual([
      'too_large',
      'forbidden',
      'refused',
      'unreachable',
    ]);
    expect([elsewhere.asked.length, endless.asked.length]).toEqual([0, 4]);
  });

  it('that stop sending are given up', async () => {
    const { url } = await serve((_, reply) => reply.writeHead(200).write('some'));
    const outcome = await find(upstreamsOf([url]));
    if (outcome.kind !== 'found') throw new Error(outcome.kind);
    const came = once(outcome.file.body, 'data');
    const read = expect(buffer(outcome.file.body)).rejects.toMatchObject({
      name: 'UpstreamFailure',
      reason: 'timeout',
    });
    await came;
    await clock.advance(60_000);
    await read;
    expect(clock.pendingTimers).toBe(0);
  });

  it('may send to another path of their own', async () => {
    const { url } = await serve((request, reply) => {
      if (request.url?.startsWith('/buildid') === true) reply.writeHead(307, { location: '/files/1' }).end();
      else reply.end('there');
    });
    const outcome = await find(upstreamsOf([url]));
    expect(outcome).toMatchObject({ kind: 'found' });
  });

  it('are asked by so many requests at once', async () => {
    const held: (() => void)[] = [];
    const { url, asked } = await serve((_, reply) => {
      held.push(() => reply.writeHead(404).end());
    });
    const upstreams = upstreamsOf([url]);
    const ids = [1, 2, 3, 4, 5].map((n) => `gnu:${String(n).repeat(40)}` as ExecutableId);
    const finds = ids.map((id) => find(upstreams, { ...record, id }));
    while (held.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toHaveLength(2);
    for (let answered = 0; answered < 5; answered++) {
      while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
      expect(asked.length).toBeLessThanOrEqual(answered + 2);
      held.shift()!();
    }
    expect((await Promise.all(finds)).map(({ kind }) => kind)).toEqual(Array(5).fill('absent'));
  });

  it('are not asked while the store is away', async () => {
    const { url, asked } = await serve(answer(404));
    store.down(0);
    await expect(find(upstreamsOf([url]))).rejects.toBeInstanceOf(StoreUnavailable);
    expect(asked).toEqual([]);
  });

  it('on inner addresses are refused at the start, by name when they are resolved', async () => {
    for (const url of [
      'http://127.0.0.1',
      'http://10.1.2.3:80',
      'http://[::1]:8002',
      'http://[::ffff:10.0.0.1]/x',
      'http://2130706433',
    ]) {
      expect(() => upstreamsOf([url], { allowPrivate: false }), url).toThrow(/public address/);
    }
    expect(() => upstreamsOf(['ftp://example.org'])).toThrow(/http/);
    expect(() => upstreamsOf(['https://user:word@example.org'])).toThrow(/credentials/);
    const { url, asked } = await serve(answer(200, 'x'));
    const named = url.replace('127.0.0.1', 'localhost');
    const outcome = await find(upstreamsOf([named], { allowPrivate: false }));
    if (outcome.kind !== 'failed') throw new Error(outcome.kind);
    expect([outcome.failures[0]!.reason, asked]).toEqual(['forbidden', []]);
  });
});

describe('guardedLookup', () => {
  it('refuses a name as soon as one of its addresses is an inner one', async () => {
    const resolve = ((_host: string, _options: object, callback: (error: null, found: object[]) => void) =>
      callback(null, [
        { address: '93.184.216.34', family: 4 },
        { address: '169.254.169.254', family: 4 },
      ])) as unknown as Parameters<typeof guardedLookup>[0];
    const error = await new Promise<Error | null>((done) =>
      guardedLookup(resolve)('metadata.example', { all: true }, (failure) => done(failure)),
    );
    expect(error?.message).toMatch(/169\.254\.169\.254/);
  });

  it('knows the public internet', () => {
    const inner = [
      '0.0.0.0',
      '100.64.1.1',
      '172.31.255.255',
      '192.168.0.1',
      '255.255.255.255',
      '::',
      '::1',
      'fe80::1',
      'fd00::1',
      '::ffff:192.168.0.1',
      '64:ff9b::a00:1',
      '2001:db8::1',
      'x',
    ];
    const outer = [
      '1.1.1.1',
      '172.32.0.1',
      '192.0.3.1',
      '223.255.255.255',
      '2a00:1450::1',
      '2606:4700::1111',
      '::ffff:8.8.8.8',
    ];
    expect(inner.filter(isPublicAddress)).toEqual([]);
    expect(outer.filter(isPublicAddress)).toEqual(outer);
  });
});

describe('CircuitBreaker', () => {
  it('doubles its pause with each failed trial, and closes with one that succeeds', async () => {
    const breaker = new CircuitBreaker(clock);
    const fail = () => breaker.admits() && breaker.failed();
    for (let n = 0; n < 3; n++) fail();
    for (const pause of [30_000, 60_000, 120_000]) {
      await clock.advance(pause - 1);
      expect(breaker.admits()).toBe(false);
      await clock.advance(1);
      expect([breaker.admits(), breaker.admits(), breaker.state]).toEqual([true, false, 'trying']);
      breaker.failed();
    }
    await clock.advance(240_000);
    expect(breaker.admits()).toBe(true);
    breaker.succeeded();
    expect([breaker.state, breaker.admits(), breaker.admits()]).toEqual(['closed', true, true]);
  });
});
