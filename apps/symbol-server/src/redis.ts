// The one importer of ioredis: from a URL to a client, for one Redis, Sentinel or Cluster, with or without TLS.
//
//   redis://[user:password@]host:port[/db]          rediss://… with TLS
//   redis+unix:///path/to/socket                    or unix:///path/to/socket
//   redis+sentinel://host,host:port/master-name     rediss+sentinel://…
//   redis+cluster://host:port,host:port             rediss+cluster://…, or redis:// with several hosts
import { type Clock, storeClientOptions } from '@symkeep/cache';
import { Cluster, Redis } from 'ioredis';

const portDefault = 6379;
const sentinelPortDefault = 26_379;
/** Between attempts to connect again: quick at first, never a storm. */
const retryMsMax = 1_000;
const retryStepMs = 50;

export type RedisClient = Redis | Cluster;

interface Target {
  readonly kind: 'single' | 'sentinel' | 'cluster' | 'unix';
  readonly hosts: readonly { host: string; port: number }[];
  readonly path: string;
  readonly auth: { readonly username?: string; readonly password?: string };
  readonly tls: boolean;
}

/** A client that connects by itself, and again after each outage. Throws an Error on a URL that names no Redis. */
export function createRedis(url: string, onTrouble: (error: Error) => void): RedisClient {
  const client = clientOf(parseRedisUrl(url));
  client.on('error', onTrouble);
  return client;
}

/** A client whose commands wait as long as they must: for jobs to come, and for Redis to come back. */
export function createWaitingRedis(url: string, onTrouble: (error: Error) => void): RedisClient {
  const client = clientOf(parseRedisUrl(url), { maxRetriesPerRequest: null });
  client.on('error', onTrouble);
  return client;
}

/** Resolves to true once the client is connected, or to false after `ms`. */
export function redisReady(client: RedisClient, ms: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    if (client.status === 'ready') return resolve(true);
    const cancel = clock.setTimer(ms, () => {
      client.off('ready', ready);
      resolve(false);
    });
    const ready = () => {
      cancel();
      resolve(true);
    };
    client.once('ready', ready);
  });
}

export function parseRedisUrl(url: string): Target {
  const [, scheme = '', rest = ''] = /^([a-z+]+):\/\/(.*)$/s.exec(url) ?? [];
  const tls = scheme.startsWith('rediss');
  const kind = kindOf(scheme, rest);
  if (kind === undefined)
    throw new Error(`REDIS_URL ${JSON.stringify(withoutPassword(url))} is not a Redis URL`);
  if (kind === 'unix') return { kind, hosts: [], path: `/${rest.replace(/^\/+/, '')}`, auth: {}, tls: false };
  const at = rest.lastIndexOf('@');
  const [authority = '', path = ''] = rest.slice(at + 1).split('/', 2);
  const port = kind === 'sentinel' ? sentinelPortDefault : portDefault;
  const hosts = authority.split(',').map((host) => hostOf(host, port, url));
  return { kind, hosts, path, auth: authOf(rest.slice(0, Math.max(at, 0))), tls };
}

function kindOf(scheme: string, rest: string): Target['kind'] | undefined {
  if (scheme === 'unix' || scheme === 'redis+unix') return 'unix';
  if (/^rediss?\+sentinel$/.test(scheme)) return 'sentinel';
  if (/^rediss?\+cluster$/.test(scheme)) return 'cluster';
  if (!/^rediss?$/.test(scheme)) return undefined;
  return rest.includes(',') ? 'cluster' : 'single';
}

function hostOf(text: string, port: number, url: string): { host: string; port: number } {
  const [, bracketed, plain, given] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined)
    throw new Error(`REDIS_URL ${JSON.stringify(withoutPassword(url))}: no host in ${JSON.stringify(text)}`);
  return { host, port: given === undefined ? port : Number(given) };
}

function authOf(text: string): Target['auth'] {
  if (text === '') return {};
  const colon = text.indexOf(':');
  const username = decodeURIComponent(colon < 0 ? text : text.slice(0, colon));
  const password = colon < 0 ? undefined : decodeURIComponent(text.slice(colon + 1));
  return { ...(username === '' ? {} : { username }), ...(password === undefined ? {} : { password }) };
}

/** A URL as it may be shown and logged. */
export function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/]*@/s, '//***@');
}

function clientOf(
  { kind, hosts, path, auth, tls }: Target,
  manner: typeof storeClientOptions | { readonly maxRetriesPerRequest: null } = storeClientOptions,
): RedisClient {
  const options = { ...manner, ...auth, ...(tls ? { tls: {} } : {}) };
  switch (kind) {
    case 'unix':
      return new Redis({ ...options, retryStrategy, path });
    case 'cluster':
      return new Cluster([...hosts], {
        redisOptions: options,
        clusterRetryStrategy: retryStrategy,
        clusterNodeRetryStrategy: retryStrategy,
        enableOfflineQueue: manner.maxRetriesPerRequest === null,
      });
    case 'sentinel':
      return new Redis({
        ...options,
        retryStrategy,
        sentinels: [...hosts],
        name: path === '' ? 'mymaster' : path,
      });
    case 'single':
      return new Redis({ ...options, retryStrategy, ...hosts[0]!, db: databaseOf(path) });
  }
}

function databaseOf(path: string): number {
  if (!/^\d{0,3}$/.test(path))
    throw new Error(`REDIS_URL: the database ${JSON.stringify(path)} is not a number`);
  return path === '' ? 0 : Number(path);
}

function retryStrategy(attempt: number): number {
  return Math.min(attempt * retryStepMs, retryMsMax);
}
