// Wanted executables are fetched from a real HTTP server as upstream, by the fetcher alone: no worker makes tables here.
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type ExecutableId, gnuId } from '@symkeep/protocol';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Lease } from '../src/jobs/lease.ts';
import { Receiver } from '../src/sources/receive.ts';
import { Fetcher } from '../src/upstreams/fetcher.ts';
import { allowedPathsDefault, Upstreams } from '../src/upstreams/index.ts';
import { type AppUnderTest, bash, messageOf, receiveLimits, reportOf, startApp } from './app-under-test.ts';

const altFile = fileURLToPath(
  new URL('../../../libs/symbols/fixtures/dwarf/alt-shared.dwz', import.meta.url),
);
/** As readelf -n prints it. */
const altId = '1634fec533155b83de13c909dc3d95309976f2f6';
const wanted = { ...bash, ids: { ...bash.ids, gnu: altId }, name: '/usr/lib/debug/alt.dwz' };

let server: AppUnderTest;
let upstream: Server;
let files: Map<string, Buffer>;
let asked: string[];
let fetcher: Fetcher;

beforeEach(async () => {
  server = await startApp();
  files = new Map();
  asked = [];
  upstream = createServer((request, reply) => {
    const id = /^\/buildid\/([0-9a-f]+)\/debuginfo$/.exec(request.url ?? '')?.[1] ?? '';
    asked.push(id);
    const file = files.get(id);
    if (file === undefined) reply.writeHead(404).end();
    else reply.writeHead(200, { 'content-length': file.length }).end(file);
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  fetcher = fetcherOf(server, urlOf(upstream));
});

afterEach(async () => {
  await fetcher.stop();
  upstream.closeAllConnections();
  await new Promise((resolve) => upstream.close(resolve));
});

function urlOf(listening: Server): string {
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

function fetcherOf(
  { store, clock, deps, blobs, jobs }: AppUnderTest,
  url: string,
  limits = receiveLimits,
): Fetcher {
  const { catalog } = deps;
  const upstreams = new Upstreams(
    {
      urls: [url],
      allowedPaths: allowedPathsDefault,
      allowPrivate: true,
      fileBytesMax: 10_000,
      requestsMax: 2,
    },
    { store, clock, random: () => 0.5 },
  );
  const receiver = new Receiver({ catalog, blobs, jobs, clock, limits });
  const log = pino({ level: 'silent' });
  return new Fetcher({
    catalog,
    upstreams,
    receiver,
    clock,
    log,
    lease: new Lease(store, 'upstreams', 60_000),
  });
}

/** What agents report, and a lookup of its frames in vain. */
async function want(executable = wanted): Promise<void> {
  await server.post('/v1/executables', reportOf(executable));
  await server.post('/v1/frames/lookup', { requests: [{ id: executable.ids.gnu, addresses: [1] }] });
  await server.clock.advance(1_000);
}

async function sweep(): Promise<void> {
  await fetcher.sweep();
  await fetcher.settled();
}

describe('the fetcher', () => {
  it('brings in what is wanted, as an upstream’s, and has its table made', async () => {
    files.set(altId, readFileSync(altFile));
    await want();
    await sweep();
    expect([asked, fetcher.counts.accepted]).toEqual([[altId], 1]);
    const id = `gnu:${altId}` as ExecutableId;
    const set = await server.deps.catalog.sources.read(id);
    expect(set).toMatchObject({ sources: [{ trust: 'upstream', bytes: readFileSync(altFile).length }] });
    expect([...server.jobs.asked.values()].map((job) => job.id)).toEqual([id]);
  });

  it('asks for nothing that is not wanted, or that may not be asked for', async () => {
    await server.post('/v1/executables', reportOf(wanted));
    await sweep();
    await want({ ...wanted, ids: { ...wanted.ids, gnu: 'ef'.repeat(20) }, name: '/srv/private' });
    await sweep();
    expect(asked).toEqual([]);
  });

  it('asks once for what is not there, and again when that is due', async () => {
    await want();
    await sweep();
    await sweep();
    expect([asked.length, fetcher.counts.absent]).toEqual([1, 1]);
    await server.clock.advance(3_600_000);
    files.set(altId, readFileSync(altFile));
    await sweep();
    expect([asked.length, fetcher.counts.accepted]).toEqual([2, 1]);
  });

  it('takes a file that is another’s, or none, as good as nothing there', async () => {
    files.set(altId, Buffer.from('no ELF file'));
    await want();
    await sweep();
    await sweep();
    expect([asked.length, fetcher.counts.failed]).toEqual([1, 1]);
    expect(await server.deps.catalog.sources.read(`gnu:${altId}` as ExecutableId)).toMatchObject({
      sources: [],
    });
    const { items } = await messageOf<{ items: unknown[] }>(await server.get('/v1/admin/wanted'));
    expect(items).toHaveLength(1);
  });

  it('of two workers one asks', async () => {
    await want();
    const other = fetcherOf(server, urlOf(upstream));
    await sweep();
    await other.sweep();
    expect([fetcher.counts.sweeps, other.counts.sweeps, asked.length]).toEqual([1, 0, 1]);
    await other.stop();
  });

  it('gives the turn of a file that could not be taken in to the next', async () => {
    const busy = fetcherOf(server, urlOf(upstream), { ...receiveLimits, uploadsMax: 0 });
    const ids = ['11', '22', '33', '44', '55'].map((byte) => gnuId(byte.repeat(20)));
    for (const id of ids) files.set(id.slice('gnu:'.length), readFileSync(altFile));
    const names = [wanted.name];
    const outcomes = await Promise.all(ids.map((id) => busy.fetchAnew({ id, names, ambiguous: false })));
    expect(outcomes).toEqual(ids.map(() => 'unavailable'));
    expect(asked).toHaveLength(ids.length);
    await busy.stop();
  });

  it('does nothing while the store is away, and goes on after', async () => {
    await want();
    server.store.down(0);
    await sweep();
    server.store.up(0);
    await sweep();
    expect(asked).toHaveLength(1);
  });
});
