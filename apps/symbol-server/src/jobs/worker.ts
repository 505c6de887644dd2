// One worker process, put together: it takes jobs, makes tables, and mends what was left undone.
import { type Clock, RedisStore } from '@symkeep/cache';
import type { Logger } from 'pino';
import { Archivist } from '../archive/archivist.ts';
import { keepPageBudget, tableArchive } from '../archive/table-archive.ts';
import { Backfills } from '../backfills/backfills.ts';
import { BackfillRunner } from '../backfills/runner.ts';
import { type BlobsPlace, openBlobs } from '../blobs/open-blobs.ts';
import { createCatalog } from '../catalog/index.ts';
import { Extractor } from '../extraction/index.ts';
import { createRedis, createWaitingRedis, redisReady } from '../redis.ts';
import { BlobSweeper, type BlobSweeperDeps } from '../sources/blob-sweeper.ts';
import { type ReceiveLimits, Receiver, type ReceiverDeps } from '../sources/receive.ts';
import { Fetcher } from '../upstreams/fetcher.ts';
import { Upstreams, type UpstreamsConfig } from '../upstreams/index.ts';
import { Lease } from './lease.ts';
import { JobQueue, JobRunner } from './queue.ts';
import { QueuedJobs } from './queued-jobs.ts';
import { Reconciler } from './reconciler.ts';
import { Symbolizer } from './symbolize.ts';

/** Records that jobs change; each is read a few times within a second. */
const cacheBytes = 16 * 2 ** 20;
/** Its cache saves a read now and then; a change is checked by the store anyway. */
const gatherMs = 250;
/** Jobs under way for each extraction: while one is extracted, others wait for disks and for Redis. */
export const jobsPerExtraction = 4;
/** How long a start waits for Redis before it goes on, and takes jobs when Redis comes. */
const redisWaitMs = 3_000;
/** Longer than a round of the reconciler takes; a worker that died has its place taken after it. */
const leaseMs = 60_000;
/** Redis may be over its budget for pages by what is made in this time. */
const coolingMs = 60_000;
/** Of who carries backfills out, renewed each second. */
const backfillsLeaseMs = 10_000;
/** For jobs under way when the worker ends; others take over what takes longer. */
const finishMs = 2_000;

export interface WorkerConfig extends BlobsPlace, Pick<ReceiveLimits, 'fileBytesMax'> {
  readonly redisUrl: string;
  readonly namespace: string;
  /** Extractions at once, each in a child of its own. */
  readonly concurrency: number;
  readonly retainDebugFiles: BlobSweeperDeps['retain'];
  /** Bytes of symbol table pages that Redis may hold; undefined: all. */
  readonly pageBudget: number | undefined;
  /** Where debug files may be fetched; nowhere if there are none. */
  readonly upstreams: Omit<UpstreamsConfig, 'fileBytesMax'>;
}

export interface RunningWorker {
  stop(): Promise<void>;
}

export async function startWorker(
  config: WorkerConfig,
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): Promise<RunningWorker> {
  const { redisUrl, namespace, concurrency } = config;
  const onTrouble = (error: Error) => log.debug({ err: error }, 'redis connection');
  const client = createRedis(redisUrl, onTrouble);
  const store = new RedisStore(client, { clock, namespace });
  const blobs = await openBlobs(config, clock);
  const catalog = createCatalog({ store, clock, cacheBytes, gatherMs, archive: tableArchive(blobs) });
  const queue = new JobQueue({ client: createRedis(redisUrl, onTrouble), namespace, clock });
  const jobs = new QueuedJobs(catalog, queue);
  const extractor = new Extractor({ clock, children: concurrency });
  const symbolizer = new Symbolizer({ catalog, blobs, extractor, jobs, clock, log });
  const lease = new Lease(store, 'reconciler', leaseMs);
  const reconciler = new Reconciler({ store, catalog, jobs, lease, clock, log });
  const archivist = new Archivist({
    ...{ store, epoch: catalog.epoch, blobs, clock, lease: new Lease(store, 'archivist', leaseMs) },
    onTrouble: (error) => log.warn({ err: error }, 'the journal could not be written'),
  });
  const fetcher = createFetcher(config, { store, catalog, blobs, jobs, clock, log });
  const backfiller = new BackfillRunner({
    ...{ store, catalog, jobs, fetcher, clock, log, backfills: new Backfills(store, catalog) },
    lease: new Lease(store, 'backfills', backfillsLeaseMs),
  });
  await redisReady(client, redisWaitMs, clock);
  await catalog.start();
  client.on('ready', () => void catalog.epoch.check());
  const jobsAtOnce = concurrency * jobsPerExtraction;
  const runner = new JobRunner(
    { client: createWaitingRedis(redisUrl, onTrouble), namespace, concurrency: jobsAtOnce, onTrouble },
    (job) => symbolizer.run(job),
  );
  const sweeper = new BlobSweeper({
    ...{ store, catalog, blobs, clock, log, retain: config.retainDebugFiles },
    lease: new Lease(store, 'sweeper', leaseMs),
  });
  reconciler.start();
  sweeper.start();
  archivist.start();
  fetcher?.start();
  const stopCooling = startCooling(config, { store, catalog, blobs, clock, log });
  backfiller.start();
  return {
    stop: async () => {
      await Promise.race([runner.finish(), clock.sleep(finishMs)]);
      symbolizer.end();
      await extractor.stop();
      await reconciler.stop();
      await sweeper.stop();
      await backfiller.stop();
      await archivist.stop();
      await fetcher?.stop();
      stopCooling();
      await runner.close();
      await queue.close();
      await catalog.stop();
      await store.close();
      client.disconnect();
    },
  };
}

interface WorkerParts extends Pick<ReceiverDeps, 'catalog' | 'blobs' | 'clock'> {
  readonly store: RedisStore;
  readonly log: Logger;
}

function createFetcher(
  { upstreams: config, fileBytesMax }: WorkerConfig,
  { store, log, ...parts }: WorkerParts & Pick<ReceiverDeps, 'jobs'>,
): Fetcher | undefined {
  if (config.urls.length === 0) return undefined;
  const { clock } = parts;
  const upstreams = new Upstreams({ ...config, fileBytesMax }, { store, clock, random: Math.random });
  const receiver = new Receiver({ ...parts, limits: { fileBytesMax, uploadsMax: config.requestsMax } });
  return new Fetcher({ ...parts, log, upstreams, receiver, lease: new Lease(store, 'upstreams', leaseMs) });
}

/** One worker at a time keeps the pages in Redis within their budget. */
function startCooling(
  { pageBudget: bytesMax }: WorkerConfig,
  { store, catalog, blobs, clock, log }: WorkerParts,
): () => void {
  if (bytesMax === undefined) return () => undefined;
  const lease = new Lease(store, 'page-budget', leaseMs);
  const pass = async () => {
    try {
      if (!(await lease.take())) return;
      const { bytes, cooled } = await keepPageBudget({ store, catalog, blobs, bytesMax });
      if (cooled > 0) log.info({ bytes, cooled, bytesMax }, 'symbol tables left Redis for the archive');
    } catch (error) {
      log.warn({ err: error }, 'the budget for pages could not be looked at');
    }
  };
  return clock.setRepeating(coolingMs, () => void pass());
}
