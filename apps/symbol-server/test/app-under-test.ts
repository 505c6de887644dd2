// The whole HTTP API on a store in memory and a clock that stands still: what every test of the front door starts from.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, ManualClock, MemoryStore, type Store } from '@symkeep/cache';
import { decode, encode, messagePackType } from '@symkeep/protocol';
import { pino } from 'pino';
import { type AppDeps, createApp } from '../src/app.ts';
import { Asking, type AskMode } from '../src/asking/asking.ts';
import { Backfills } from '../src/backfills/backfills.ts';
import { DirectoryStore } from '../src/blobs/directory-store.ts';
import { type Catalog, createCatalog } from '../src/catalog/index.ts';
import { openAccess } from '../src/http/access.ts';
import { BodyBudget } from '../src/http/body.ts';
import { RequestIds } from '../src/http/request-ids.ts';
import { Waiters } from '../src/http/waiters.ts';
import { createMetrics } from '../src/metrics.ts';
import { Receiver } from '../src/sources/receive.ts';
import { MemoryJobs } from './memory-jobs.ts';

const cacheBytes = 4 * 2 ** 20;

export const receiveLimits = { fileBytesMax: 64 * 2 ** 20, uploadsMax: 4 };
const askingOptions = { mode: 'wanted', leaseMs: 120_000, fileBytesMax: receiveLimits.fileBytesMax } as const;

export interface AppUnderTest {
  readonly clock: ManualClock;
  readonly store: MemoryStore;
  readonly jobs: MemoryJobs;
  readonly deps: AppDeps;
  readonly app: ReturnType<typeof createApp>;
  readonly blobs: DirectoryStore;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  postMessagePack(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** Everything that the HTTP API works with, on a store and a clock: no queue, no access control, blobs in a new folder. */
export function appDepsOn(
  parts: { readonly store: Store; readonly clock: Clock; readonly catalog: Catalog },
  asked: { readonly mode?: AskMode } = {},
): AppDeps & { readonly jobs: MemoryJobs; readonly blobs: DirectoryStore } {
  const { store, clock, catalog } = parts;
  const metrics = createMetrics();
  const jobs = new MemoryJobs();
  const blobs = new DirectoryStore(mkdtempSync(join(tmpdir(), 'blobs-')), clock);
  return {
    ...{ catalog, blobs, jobs, clock, version: '0.0.0-test' },
    asking: new Asking({ ...parts, ...askingOptions, ...asked }),
    backfills: new Backfills(store, catalog),
    queueBoard: undefined,
    receiver: new Receiver({ catalog, blobs, jobs, clock, limits: receiveLimits }),
    waiters: new Waiters(),
    access: openAccess([]),
    budget: new BodyBudget(),
    metrics: metrics.http,
    requestIds: new RequestIds(),
    log: pino({ level: 'silent' }),
    unready: async () => undefined,
    storeWarnings: () => [],
    metricsText: () => metrics.registry.metrics(),
  };
}

export async function startApp(
  overrides: Partial<AppDeps> = {},
  asked: { readonly mode?: AskMode } = {},
): Promise<AppUnderTest> {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const catalog = createCatalog({ store, clock, cacheBytes });
  await catalog.start();
  const own = appDepsOn({ store, clock, catalog }, asked);
  const { blobs, jobs } = own;
  const deps: AppDeps = { ...own, ...overrides };
  const app = createApp(deps);
  const post = async (path: string, body: Uint8Array<ArrayBuffer>, headers: Record<string, string>) =>
    app.request(path, { method: 'POST', body, headers });
  return {
    ...{ clock, store, blobs, jobs, deps, app },
    get: async (path, headers = {}) => app.request(path, { headers }),
    post: (path, body, headers = {}) =>
      post(path, encode(body, 'json'), { 'content-type': 'application/json', ...headers }),
    postMessagePack: (path, body, headers = {}) =>
      post(path, encode(body, 'msgpack'), { 'content-type': messagePackType, ...headers }),
  };
}

/** The message in a reply, by its content type. */
export async function messageOf<T>(reply: Response): Promise<T> {
  const bytes = new Uint8Array(await reply.arrayBuffer());
  return decode(bytes, reply.headers.get('content-type') === messagePackType ? 'msgpack' : 'json') as T;
}

export const bash = {
  ids: { gnu: '33a5554034feb2af38e8c75872058883b2988bc5', htlhash: '0123456789abcdef0123456789abcdef' },
  name: '/usr/bin/bash',
  arch: 'x86_64',
  type: 'dyn',
  size: 1_265_648,
  load: [['0x2f000', '0xb9c59']],
};
export const bashId = `gnu:${bash.ids.gnu}`;
export const agent = { host: 'h1', version: '0.1.0' };

export function reportOf(...executables: unknown[]): unknown {
  return { agent, executables };
}
