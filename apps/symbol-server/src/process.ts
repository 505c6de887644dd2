// One server process, put together: Redis client, store, catalog, HTTP. `serve` and `up` run it, and with several
// processes each of them is one.
import { type Clock, RedisStore } from '@symkeep/cache';
import type { Logger } from 'pino';
import { tableArchive } from './archive/table-archive.ts';
import { Asking, type AskMode } from './asking/asking.ts';
import { Backfills } from './backfills/backfills.ts';
import type { BlobStore } from './blobs/blob-store.ts';
import { type BlobsPlace, openBlobs } from './blobs/open-blobs.ts';
import { QueueBoard } from './board/queue-board.ts';
import { createCatalog } from './catalog/index.ts';
import { isLoopback, openAccess, tokenAccess } from './http/access.ts';
import { BodyBudget } from './http/body.ts';
import { RequestIds } from './http/request-ids.ts';
import { TokenFile } from './http/tokens.ts';
import { Waiters } from './http/waiters.ts';
import { JobQueue } from './jobs/queue.ts';
import { QueuedJobs } from './jobs/queued-jobs.ts';
import {
  addProcessMetrics,
  addSnapshots,
  addStoreFaults,
  createMetrics,
  type ServerMetrics,
} from './metrics.ts';
import { createRedis, redisReady, withoutPassword } from './redis.ts';
import { type Listening, startServer } from './server.ts';
import { type ReceiveLimits, Receiver } from './sources/receive.ts';
import { StoreWatch } from './store-health.ts';
import { warmUp } from './warm-up.ts';

/** How long a start waits for Redis; then the server listens anyway, answers 503, and recovers by itself. */
const redisWaitMs = 3_000;
/** Events of this time are heard of at once: far below what anyone notices, and at a thousand changes a second a tenth of the reads. */
const gatherMs = 10;
/** How often Redis' own settings are looked at, beside every reconnect: someone may mend or break them. */
const lookEveryMs = 10_000;

/** A file that was written last so long ago is on its way no more. */
const stagedMsMax = 3_600_000;

export interface ServerConfig extends BlobsPlace, ReceiveLimits {
  readonly listen: { readonly host: string; readonly port: number };
  readonly redisUrl: string;
  readonly namespace: string;
  readonly tokensFile: string | undefined;
  readonly hosts: readonly string[];
  readonly cacheBytes: number;
  readonly allowEviction: boolean;
  readonly askAgents: AskMode;
  /** Milliseconds. */
  readonly uploadLease: number;
}

export interface ProcessDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  /** The metrics of all processes; those of this one if not given. */
  readonly metricsText?: (own: ServerMetrics) => Promise<string>;
}

export interface RunningServer extends Pick<Listening, 'host' | 'port'> {
  stop(): Promise<void>;
}

/** Why a server with this configuration must not start, in words for its operator; undefined: it may. */
export function refusedConfig({
  listen,
  tokensFile,
}: Pick<ServerConfig, 'listen' | 'tokensFile'>): string | undefined {
  if (tokensFile !== undefined || isLoopback(listen.host)) return undefined;
  return (
    `listening on ${listen.host} lets other hosts in, and without tokens anyone could write: ` +
    'set SYMKEEP_TOKENS_FILE (symkeep token create makes one), or listen on 127.0.0.1'
  );
}

/** Starts a server process. Rejects with a line for people if it must not, or cannot. */
export async function startProcess(config: ServerConfig, deps: ProcessDeps): Promise<RunningServer> {
  const { clock, log, version } = deps;
  const refused = refusedConfig(config);
  if (refused !== undefined) throw new Error(refused);
  const access = accessOf(config, deps);
  const { client, store, queue, ...parts } = await createParts(config, deps);
  const { catalog, blobs, receiver, asking } = parts;
  const metrics = createMetrics();
  const waiters = new Waiters();
  const budget = new BodyBudget();
  const watch = new StoreWatch(client, config.allowEviction);
  let stopLooking = (): void => undefined;
  let stopSweeping = (): void => undefined;
  const close = async () => {
    stopLooking();
    stopSweeping();
    await queue.close();
    await catalog.stop();
    await store.close();
    client.disconnect();
  };
  try {
    await redisReady(client, redisWaitMs, clock);
    await examineStore(watch, config, deps);
    await catalog.start();
    client.on('ready', () => void reexamine(watch, deps, () => catalog.epoch.check()));
    stopLooking = clock.setRepeating(lookEveryMs, () => void watch.look());
    stopSweeping = sweepStaging(blobs, deps);
    addProcessMetrics(metrics.registry);
    addStoreFaults(metrics.registry, () => watch.seen.faults);
    addSnapshots(metrics.registry, () => ({
      ...catalog.metrics(),
      bodies: { held: budget.held },
      uploads: { running: receiver.running },
      asks: asking.counts,
      events: { waiting: waiters.size, ...catalog.metrics().events },
    }));
    let ending = false;
    const listening = await startServer(
      {
        ...{ ...parts, waiters, clock, version, access, budget, log },
        metrics: metrics.http,
        requestIds: new RequestIds(),
        unready: async () => (ending ? 'this server is ending' : watch.unready()),
        storeWarnings: () => watch.seen.warnings,
        metricsText: () => (deps.metricsText ?? textOf)(metrics),
      },
      config.listen,
    );
    setImmediate(warmUp);
    const stop = async () => {
      ending = true;
      await listening.stop();
      await close();
    };
    return { host: listening.host, port: listening.port, stop };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What operations work with, on one Redis; nothing of it has asked anything yet. */
async function createParts(config: ServerConfig, { clock, log }: ProcessDeps) {
  const { redisUrl, namespace, cacheBytes, askAgents: mode, uploadLease: leaseMs, fileBytesMax } = config;
  const onTrouble = (error: Error) => log.debug({ err: error }, 'redis connection');
  const client = createRedis(redisUrl, onTrouble);
  const store = new RedisStore(client, { clock, namespace });
  const blobs = await openBlobs(config, clock);
  const catalog = createCatalog({ store, clock, cacheBytes, gatherMs, archive: tableArchive(blobs) });
  const queue = new JobQueue({ client: createRedis(redisUrl, onTrouble), namespace, clock });
  const jobs = new QueuedJobs(catalog, queue);
  const receiver = new Receiver({ catalog, blobs, jobs, clock, limits: config });
  const asking = new Asking({ catalog, store, clock, mode, leaseMs, fileBytesMax });
  return {
    ...{ client, store, queue, catalog, blobs, jobs, receiver, asking },
    backfills: new Backfills(store, catalog),
    queueBoard: new QueueBoard(queue),
  };
}

// Each process sweeps the disk that it stages on; with a bucket that is not the workers'.
function sweepStaging(blobs: BlobStore, { clock, log }: ProcessDeps): () => void {
  const sweep = () =>
    blobs
      .sweep(stagedMsMax)
      .catch((error: unknown) => log.warn({ err: error }, 'staged files could not be swept'));
  void sweep();
  return clock.setRepeating(stagedMsMax, () => void sweep());
}

function textOf({ registry }: ServerMetrics): Promise<string> {
  return registry.metrics();
}

function accessOf({ tokensFile, hosts, listen }: ServerConfig, { clock, log }: ProcessDeps) {
  if (tokensFile === undefined) return openAccess([...hosts, listen.host]);
  try {
    const onTrouble = (error: Error) =>
      log.error({ err: error }, 'the tokens file cannot be read; tokens stay as they were');
    return tokenAccess(new TokenFile(tokensFile, () => clock.wall(), onTrouble));
  } catch (error) {
    throw new Error(`the tokens file ${tokensFile}: ${(error as Error).message}`);
  }
}

// A Redis that is away may come back; one that is not fit must be mended by its operator first.
async function examineStore(
  watch: StoreWatch,
  { redisUrl }: ServerConfig,
  { log }: ProcessDeps,
): Promise<void> {
  const { refusals, warnings, outage } = await watch.look();
  const redis = withoutPassword(redisUrl);
  if (refusals.length > 0) throw new Error(`${redis}: ${refusals.join('; ')}`);
  if (outage !== undefined)
    log.error({ redis, outage }, 'Redis does not answer; reads get 503 until it does');
  for (const warning of warnings) log.warn({ redis }, warning);
}

async function reexamine(
  watch: StoreWatch,
  { log }: ProcessDeps,
  check: () => Promise<unknown>,
): Promise<void> {
  await check();
  const { refusals, warnings } = await watch.look();
  for (const refusal of refusals) log.error(refusal);
  for (const warning of warnings) log.warn(warning);
}
