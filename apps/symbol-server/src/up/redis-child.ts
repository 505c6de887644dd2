// A Redis of our own: started as a child on a unix socket, with its files in the data directory, ended with us. The
// directory is locked by the kernel for as long as a Redis writes there, since two on one directory would write the same
// append-only file without an error.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@symkeep/cache';
import { createRedis, redisReady } from '../redis.ts';
import { startGuarded } from './guarded-child.ts';

/** `sun_path` of Linux holds 108 bytes with the closing zero. */
const socketPathBytesMax = 107;
/** Loading a large append-only file takes a while. */
const startMsMax = 30_000;
/** A left-over Redis writes its last second and goes. */
const leftOverSeconds = 10;
const stopMs = 2_000;
/** Of this host's memory, or of its container's. */
const memoryShare = 0.5;
/** Lines of Redis' own log that are shown when it ends. */
const logLines = 5;

const binaries = ['redis-server', 'valkey-server'];
const installScript = fileURLToPath(new URL('../../../../tools/install-needs.sh', import.meta.url));

export interface RedisChild {
  readonly url: string;
  readonly binary: string;
  /** Resolves when it ends, whatever for. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/** The path of a Redis or Valkey server; installs one where that may be done. Throws with what to install. */
export function findRedis(say: (line: string) => void): string {
  const found = inPath();
  if (found !== undefined) return found;
  say('no redis-server or valkey-server found');
  if (existsSync(installScript))
    spawnSync('sh', [installScript, 'main'], { stdio: ['ignore', 'inherit', 'inherit'] });
  const installed = inPath();
  if (installed !== undefined) return installed;
  throw new Error(
    'symkeep keeps its facts in Redis 7 or later, or Valkey, and found neither.\n' +
      '  Debian, Ubuntu:  sudo apt-get install redis-server\n' +
      '  Fedora:          sudo dnf install redis\n' +
      '  or set REDIS_URL to one that runs already',
  );
}

function inPath(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/bin', '/usr/local/bin', '/usr/sbin'];
  return folders
    .filter((folder) => folder !== '')
    .flatMap((folder) => binaries.map((name) => join(folder, name)))
    .find((path) => existsSync(path));
}

/** Starts Redis in `<data>/redis`. A left-over one, whose starter is gone, is ended first. */
export async function startRedis(binary: string, data: string, clock: Clock): Promise<RedisChild> {
  const folder = join(data, 'redis');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const socket = socketPath(folder);
  const url = `redis+unix://${socket}`;
  if (existsSync(socket)) await endLeftOver(url, folder, clock);
  const log = join(folder, 'redis.log');
  const command = [binary, ...settings(folder, socket, log)];
  const child = startGuarded({ lock: join(folder, 'lock'), lockSeconds: leftOverSeconds, command });
  const stop = () => child.stop(stopMs, clock);
  const trouble = await Promise.race([untilAnswering(url, log, clock), child.ended]);
  if (trouble === undefined) return { url, binary, ended: child.ended.then(() => undefined), stop };
  await stop();
  const why = trouble === 'locked' ? `another Redis writes in ${folder}` : `${trouble} (${lastLines(log)})`;
  throw new Error(`Redis did not start: ${why}`);
}

function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

function settings(folder: string, socket: string, log: string): string[] {
  return [
    ...['--dir', folder, '--port', '0', '--unixsocket', socket, '--unixsocketperm', '700'],
    // Facts must survive: every write to the log, flushed each second, nothing evicted.
    ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction'],
    // Full, it refuses writes and serves reads; without a bound the kernel would end it.
    ...['--maxmemory', String(Math.floor(memoryBytes() * memoryShare))],
    // The log is enough; a snapshot would only cost memory while it forks.
    ...['--save', '', '--daemonize', 'no', '--logfile', log, '--loglevel', 'notice'],
  ];
}

/** Where the Redis of a data directory listens; undefined if there never was one. */
export function ownRedisUrlOf(data: string): string | undefined {
  const folder = join(resolve(data), 'redis');
  return existsSync(folder) ? `redis+unix://${socketPath(folder)}` : undefined;
}

// A long path goes to the temporary folder, under a name that is kept here: the same for the next start.
function socketPath(folder: string): string {
  const own = join(folder, 'redis.sock');
  if (Buffer.byteLength(own) <= socketPathBytesMax) return own;
  const record = join(folder, 'socket-path');
  const kept = existsSync(record) ? readFileSync(record, 'utf8').trim() : '';
  if (kept !== '' && isPrivate(kept)) return join(kept, 'redis.sock');
  const made = mkdtempSync(join(tmpdir(), 'symkeep-'));
  writeFileSync(record, `${made}\n`);
  return join(made, 'redis.sock');
}

function isPrivate(folder: string): boolean {
  const found = statSync(folder, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === process.getuid?.() && (found.mode & 0o077) === 0;
}

// Whoever holds the data directory has no other symkeep on it, so a Redis that still answers there has lost its own.
async function endLeftOver(url: string, folder: string, clock: Clock): Promise<void> {
  const client = createRedis(url, () => undefined);
  try {
    if (!(await redisReady(client, 1_000, clock))) return;
    const dir = (await client.call('CONFIG', 'GET', 'dir')) as unknown;
    if (JSON.stringify(dir).includes(JSON.stringify(folder)))
      await client.call('SHUTDOWN').catch(() => undefined);
  } finally {
    client.disconnect();
  }
}

/** Resolves to undefined once it answers, else to what is wrong. */
async function untilAnswering(url: string, log: string, clock: Clock): Promise<string | undefined> {
  const client = createRedis(url, () => undefined);
  const answers = await redisReady(client, startMsMax, clock);
  client.disconnect();
  return answers ? undefined : `no answer in ${startMsMax / 1_000} s, ${lastLines(log)}`;
}

function lastLines(path: string): string {
  if (!existsSync(path)) return 'it said nothing';
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-logLines).join(' | ');
}
