// One server process, put together: Redis client, store, catalog, HTTP. `serve` and `up` run it, and with several
// processes each of them is one.
import { type Clock, RedisStore } from '@symkeep/cache';
import type { Logger } from 'pino';
import { createCatalog } from './catalog/index.ts';
import { isLoopback, openAccess, tokenAccess } from './http/access.ts';
import { BodyBudget } from './http/body.ts';
import { RequestIds } from './http/request-ids.ts';
import { TokenFile } from './http/tokens.ts';
import { Waiters } from './http/waiters.ts';
import { addProcessMetrics, addSnapshots, createMetrics, type ServerMetrics } from './metrics.ts';
import { createRedis, redisReady, withoutPassword } from './redis.ts';
import { type Listening, startServer } from './server.ts';
import { storeHealth } from './store-health.ts';

/** How long a start waits for Redis; then the server listens anyway, answers 503, and recovers by itself. */
const redisWaitMs = 3_000;

export interface ServerConfig {
  readonly listen: { readonly host: string; readonly port: number };
  readonly redisUrl: string;
  readonly namespace: string;
  readonly tokensFile: string | undefined;
  readonly hosts: readonly string[];
  readonly cacheBytes: number;
  readonly allowEviction: boolean;
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
  const client = createRedis(config.redisUrl, (error) => log.debug({ err: error }, 'redis connection'));
  const store = new RedisStore(client, { clock, namespace: config.namespace });
  const catalog = createCatalog({ store, clock, cacheBytes: config.cacheBytes });
  const metrics = createMetrics();
  const waiters = new Waiters();
  const budget = new BodyBudget();
  const close = async () => {
    await catalog.stop();
    await store.close();
    client.disconnect();
  };
  try {
    await examineStore(client, config, deps);
    await catalog.start();
    client.on('ready', () => void reexamine(client, config, deps, () => catalog.epoch.check()));
    addProcessMetrics(metrics.registry);
    addSnapshots(metrics.registry, () => ({
      ...catalog.metrics(),
      bodies: { held: budget.held },
      events: { waiting: waiters.size, ...catalog.metrics().events },
    }));
    let ending = false;
    const listening = await startServer(
      {
        ...{ catalog, waiters, clock, version, access, budget, log },
        metrics: metrics.http,
        requestIds: new RequestIds(),
        unready: async () => (ending ? 'this server is ending' : unreadyReason(client, config)),
        metricsText: () => (deps.metricsText ?? textOf)(metrics),
      },
      config.listen,
    );
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
  client: ReturnType<typeof createRedis>,
  { redisUrl, allowEviction }: ServerConfig,
  { clock, log }: ProcessDeps,
): Promise<void> {
  await redisReady(client, redisWaitMs, clock);
  const { refusals, warnings, outage } = await storeHealth(client, allowEviction);
  const redis = withoutPassword(redisUrl);
  if (refusals.length > 0) throw new Error(`${redis}: ${refusals.join('; ')}`);
  if (outage !== undefined)
    log.error({ redis, outage }, 'Redis does not answer; reads get 503 until it does');
  for (const warning of warnings) log.warn({ redis }, warning);
}

async function reexamine(
  client: ReturnType<typeof createRedis>,
  { allowEviction }: ServerConfig,
  { log }: ProcessDeps,
  check: () => Promise<unknown>,
): Promise<void> {
  await check();
  const { refusals, warnings } = await storeHealth(client, allowEviction);
  for (const refusal of refusals) log.error(refusal);
  for (const warning of warnings) log.warn(warning);
}

async function unreadyReason(
  client: ReturnType<typeof createRedis>,
  { allowEviction }: ServerConfig,
): Promise<string | undefined> {
  const { refusals, outage } = await storeHealth(client, allowEviction);
  return outage ?? (refusals.length > 0 ? refusals.join('; ') : undefined);
}
