// From a file to names, with real processes: a server, workers, Redis, and files as gcc makes them.
import { execFileSync } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutableRecord } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { extractTable } from '../apps/symbol-server/src/extraction/index.ts';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { clock, until } from './fleet.ts';
import { ServerProcess } from './server-process.ts';
import { gccAvailable, type VariedElf, VariedElfs } from './varied-elf.ts';
import { WorkerProcess } from './worker-process.ts';

const agent = fileURLToPath(new URL('../apps/agent-client/bin/symkeep-agent.js', import.meta.url));
/** Workers that are killed; the whole number takes minutes (npm run kills). */
const kills = Number(process.env.E2E_KILLS ?? 4);
/** Between kills, at most, in ms: a job takes a few of them, and a worker some hundred to start. */
const killEveryMsMax = 1_500;
const executablesPerKill = 25;

let directory: string;
let redis: TestRedis;
let server: ServerProcess;
const workers: WorkerProcess[] = [];
let files: VariedElfs;

beforeEach(async () => {
  if (!redisAvailable || !gccAvailable) return;
  directory = mkdtempSync(join(tmpdir(), 'sk-symbols-'));
  files = new VariedElfs(directory);
  redis = await TestRedis.start();
  server = await ServerProcess.start(redisUrl(), ['--blobs', blobs()]);
});

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop('SIGKILL')));
  await server?.stop();
  await redis?.remove();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

function redisUrl(): string {
  return `unix://${redis.socket}`;
}

function blobs(): string {
  return join(directory, 'blobs');
}

async function startWorker(concurrency = 2): Promise<WorkerProcess> {
  const worker = await WorkerProcess.start(redisUrl(), blobs(), concurrency);
  workers.push(worker);
  return worker;
}

/** Tells the server of a file as an agent does that finds it running. */
async function report(path: string): Promise<void> {
  const json = execFileSync(process.execPath, [agent, 'identify', '--json', path], { encoding: 'utf8' });
  const { file, ...facts } = JSON.parse(json);
  const body = { agent: { host: 'h1', version: '1' }, executables: [{ name: file, ...facts }] };
  const reply = await post('/v1/executables', body);
  expect(reply).toMatchObject({ results: [{ status: 'created' }] });
}

async function post(path: string, body: unknown): Promise<unknown> {
  const headers = { 'content-type': 'application/json' };
  const reply = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  return reply.json();
}

async function push({ buildId, path }: VariedElf): Promise<{ status: string; job?: string }> {
  const body = readFileSync(path);
  for (;;) {
    const url = `${server.url}/v1/executables/gnu:${buildId}/debuginfo`;
    const reply = await fetch(url, { method: 'PUT', body });
    // A busy server says when to come back.
    if (reply.status !== 503 && reply.status !== 429) return (await reply.json()) as { status: string };
    await reply.body?.cancel();
  }
}

async function recordOf({ buildId }: VariedElf): Promise<ExecutableRecord> {
  const reply = await fetch(`${server.url}/v1/executables/gnu:${buildId}`);
  return (await reply.json()) as ExecutableRecord;
}

interface Frames {
  readonly status: number;
  readonly frames: readonly { function: string; file: string; line: number }[];
}

async function framesAt({ buildId }: VariedElf, address: string): Promise<Frames> {
  const reply = await fetch(`${server.url}/v1/executables/gnu:${buildId}/frames/${address}`);
  return (await reply.json()) as Frames;
}

async function namesAt(file: VariedElf, address: string): Promise<string[]> {
  return (await framesAt(file, address)).frames.map((frame) => frame.function);
}

async function untilReady(file: VariedElf, quality: string): Promise<ExecutableRecord> {
  await until(`${file.name} is ready`, async () => {
    const { symbols } = await recordOf(file);
    return (symbols.state === 'ready' && symbols.quality === quality) || JSON.stringify(symbols);
  });
  return recordOf(file);
}

describe.skipIf(!redisAvailable || !gccAvailable)('symbols', () => {
  it('come from a debug file that is pushed: names, inlines and lines where there was nothing', async () => {
    const stripped = files.make(1, 'stripped');
    await report(stripped.path);
    expect((await framesAt(stripped, files.addresses.inner)).status).toBe(2);
    await startWorker();
    const { status, job } = await push(files.make(1, 'debug'));
    expect(status).toBe('accepted');
    await untilReady(stripped, 'dwarf');
    expect(await namesAt(stripped, files.addresses.inner)).toEqual(['twice', 'inner']);
    const { frames } = await framesAt(stripped, files.addresses.varied);
    expect(frames).toMatchObject([{ function: stripped.name, file: join(directory, 'a.c') }]);
    expect(frames[0]!.line).toBeGreaterThan(0);
    await until('the job is done', async () => {
      const state = (await (await fetch(`${server.url}/v1/jobs/${job}`)).json()) as { state: string };
      return state.state === 'done' || state.state;
    });
  });

  it('become better with a better file, never worse with a worse one, and go back when an admin says so', async () => {
    await startWorker();
    const stripped = files.make(1, 'stripped');
    await push(stripped);
    const first = await untilReady(stripped, 'dynsym');
    expect(await namesAt(stripped, files.addresses.inner)).toEqual([]);
    await push(files.make(1, 'debug'));
    const second = await untilReady(stripped, 'dwarf');
    expect(second.generation).toBeGreaterThan(first.generation);
    expect((await push(stripped)).status).toBe('kept');
    expect(await recordOf(stripped)).toMatchObject({ generation: second.generation });
    await post(`/v1/executables/${first.id}/symbols/rollback`, {});
    const back = await untilReady(stripped, 'dynsym');
    expect(back.symbols.digest).toBe(first.symbols.digest);
    expect(back.generation).toBeGreaterThan(second.generation);
    await post(`/v1/executables/${first.id}/symbols/pin`, { digest: second.symbols.digest });
    expect((await untilReady(stripped, 'dwarf')).symbols.digest).toBe(second.symbols.digest);
  });

  it(`are complete and the same when a worker is killed ${kills} times at any moment`, async () => {
    const made = Array.from({ length: kills * executablesPerKill }, (_, number) => files.make(number));
    let worker = await startWorker();
    const pushed = (async () => {
      for (const file of made) expect((await push(file)).status).toBe('accepted');
    })();
    for (let killed = 0; killed < kills; killed++) {
      const moment = randomInt(killEveryMsMax);
      await clock.sleep(moment);
      expect(await worker.stop('SIGKILL')).toBe('SIGKILL');
      worker = await startWorker();
    }
    await pushed;
    for (const file of made) {
      const { symbols } = await untilReady(file, 'dwarf');
      const undisturbed = await extractTable({
        files: { executable: file.path, search: false },
        ...{ output: undefined, threads: 1, bytesMax: undefined },
      });
      expect(symbols.digest).toBe(undisturbed.digest);
      const path = join(
        blobs(),
        'executables',
        file.buildId.slice(0, 2),
        `gnu-${file.buildId}`,
        'tables',
        symbols.digest!,
      );
      expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(symbols.digest);
      expect(await namesAt(file, files.addresses.varied)).toEqual([file.name]);
    }
  }, 600_000);

  it('are made of what came while no worker was there, and when the queue was lost', async () => {
    const file = files.make(1);
    await push(file);
    expect((await recordOf(file)).symbols.state).toBe('queued');
    const keys = (await redis.cli('KEYS', '{sk-jobs}*')).split('\n');
    await redis.cli('DEL', ...keys);
    await startWorker();
    await untilReady(file, 'dwarf');
    expect(await namesAt(file, files.addresses.varied)).toEqual([file.name]);
  });

  it('go on being made by the same processes after Redis was flushed, and after it was killed', async () => {
    await startWorker();
    const file = files.make(1);
    await push(file);
    const { symbols } = await untilReady(file, 'dwarf');
    await redis.cli('FLUSHALL');
    await until('the loss is seen', async () => {
      const reply = await fetch(`${server.url}/v1/executables/gnu:${file.buildId}`);
      return reply.status === 404 || `status ${reply.status}`;
    });
    await push(file);
    expect((await untilReady(file, 'dwarf')).symbols.digest).toBe(symbols.digest);
    await redis.kill();
    await redis.start();
    // Without an append-only file this Redis comes back with nothing.
    const other = files.make(2);
    await push(other);
    await untilReady(other, 'dwarf');
    expect(await namesAt(other, files.addresses.varied)).toEqual([other.name]);
  });

  it('wait for a worker that ends in order: it finishes, and loses nothing', async () => {
    const worker = await startWorker();
    const made = Array.from({ length: 20 }, (_, number) => files.make(number));
    await Promise.all(made.map(push));
    expect(await worker.stop()).toBe(0);
    await startWorker();
    for (const file of made) await untilReady(file, 'dwarf');
  });
});
