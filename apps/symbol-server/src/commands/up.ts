// `symkeep up`, which is what `npm start` runs: Redis, the server, a worker and this host's agent, started in this order and ended
// in the other.
import { createServer } from 'node:net';
import type { Clock } from '@symkeep/cache';
import { defineCommand, UsageError, type Values } from '@symkeep/options';
import { createClient } from '../client.ts';
import { createLog } from '../log.ts';
import { agentListen, data, json, ownRedisUrl, retainDebugFiles, serverOptions, token } from '../options.ts';
import { type RunningServer, refusedConfig, startProcess } from '../process.ts';
import { withoutPassword } from '../redis.ts';
import { listenError } from '../server.ts';
import { untilSignal } from '../signals.ts';
import { type AgentChild, startAgent } from '../up/agent-child.ts';
import { lockData } from '../up/data-lock.ts';
import { discover, greeting } from '../up/discovery.ts';
import type { KeptChild } from '../up/kept-child.ts';
import { findRedis, startRedis } from '../up/redis-child.ts';
import { startWorkerChild } from '../up/worker-child.ts';
import { urlOf } from './serve.ts';

/** A Redis that ends by itself is started again, this often in a row before `up` gives up. */
const redisRestartsMax = 5;
const redisRestartMs = 500;

const options = {
  ...serverOptions,
  retainDebugFiles,
  redisUrl: ownRedisUrl,
  data,
  agentListen,
  token,
  json,
} as const;
type UpValues = Values<typeof options>;

export function up(clock: Clock, version: string) {
  return defineCommand({
    name: 'up',
    describe: 'everything for a first look: Redis, the server, a worker, and the agent of this host',
    options,
    more: 'Data stays in .symkeep/ (SYMKEEP_DATA). A second one beside it needs --listen, --agent-listen and --data.',
    run: (values) => runUp(values, clock, version),
  });
}

async function runUp(values: UpValues, clock: Clock, version: string): Promise<number> {
  const refused = refusedConfig(values);
  if (refused !== undefined) throw new UsageError([`--listen: ${refused}`]);
  const signal = untilSignal();
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const parts: (() => Promise<void> | void)[] = [];
  const end = async () => {
    for (const stop of parts.splice(0).reverse()) await stop();
  };
  try {
    for (const address of [values.listen, values.agentListen]) await assertFree(address);
    const lock = await lockData(values.data);
    parts.push(lock.release);
    say(`symkeep ${version}`);
    const redis = await ensureRedis(values, lock.folder, clock, say);
    parts.push(redis.stop);
    const running = await startServerPart(values, redis.url, clock, version);
    parts.push(running.stop);
    const url = urlOf(running.host, running.port);
    say(`  server   ${url}`);
    const worker = startWorkerPart(values, redis.url, lock.folder, clock, say);
    parts.push(worker.stop);
    const agent = startAgentPart(values, url, lock.folder, clock, say);
    parts.push(agent.stop);
    const ending = Promise.race([signal, redis.lost, agent.refused]);
    await Promise.race([ending, show(values, url, clock)]);
    const reason = await ending;
    if (reason instanceof Error) throw reason;
    say('stopping');
    await end();
    return 0;
  } finally {
    await end();
  }
}

async function show(values: UpValues, url: string, clock: Clock): Promise<void> {
  const found = await discover(createClient(url, values.token), clock);
  const agentUrl = urlOf(values.agentListen.host, values.agentListen.port);
  const text = values.json ? JSON.stringify({ url, agentUrl, ...found }) : greeting(found, url, agentUrl);
  process.stdout.write(`${text}\n`);
}

function startServerPart(
  values: UpValues,
  redisUrl: string,
  clock: Clock,
  version: string,
): Promise<RunningServer> {
  // A first look is read by a person: only what needs attention is said.
  const level = values.logLevel === 'info' ? 'warn' : values.logLevel;
  return startProcess({ ...values, redisUrl }, { clock, log: createLog(level), version });
}

function startWorkerPart(
  { namespace, blobs, retainDebugFiles, logLevel }: UpValues,
  redisUrl: string,
  folder: string,
  clock: Clock,
  say: (line: string) => void,
): KeptChild {
  const verbose = logLevel === 'debug';
  return startWorkerChild(
    { redisUrl, namespace, blobs, retainDebugFiles, data: folder, onEnd: say, verbose },
    clock,
  );
}

function startAgentPart(
  { agentListen: { host, port }, logLevel }: UpValues,
  server: string,
  folder: string,
  clock: Clock,
  say: (line: string) => void,
): AgentChild {
  say(`  agent    ${urlOf(host, port)}`);
  const listen = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return startAgent({ server, listen, data: folder, onEnd: say, verbose: logLevel === 'debug' }, clock);
}

interface RedisPart {
  readonly url: string;
  /** Resolves to why there is no Redis any more and none can be started. */
  readonly lost: Promise<Error>;
  readonly stop: () => Promise<void>;
}

async function ensureRedis(
  { redisUrl }: UpValues,
  folder: string,
  clock: Clock,
  say: (line: string) => void,
): Promise<RedisPart> {
  if (redisUrl !== undefined) {
    say(`  redis    ${withoutPassword(redisUrl)}`);
    return { url: redisUrl, lost: new Promise(() => undefined), stop: () => Promise.resolve() };
  }
  const binary = findRedis(say);
  let child = await startRedis(binary, folder, clock);
  say(`  redis    ${binary}, data in ${folder}`);
  let stopping = false;
  const keep = async (): Promise<Error> => {
    for (let restarts = 0; restarts < redisRestartsMax; restarts++) {
      await child.ended;
      if (stopping) return new Promise(() => undefined);
      say('redis ended by itself; it is started again');
      await clock.sleep(redisRestartMs);
      try {
        child = await startRedis(binary, folder, clock);
      } catch (error) {
        return error as Error;
      }
    }
    return new Error('redis does not stay up; its log is in the data directory');
  };
  return {
    url: child.url,
    lost: keep(),
    stop: () => {
      stopping = true;
      return child.stop();
    },
  };
}

function assertFree(address: { host: string; port: number }): Promise<void> {
  const { host, port } = address;
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen(port, host, () => server.close(() => resolve()));
  });
}
