// A backfill with real processes: a server, workers that are killed, Redis, the command, and an upstream that counts what
// it is asked for.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { ExecutableRecord } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { until } from './fleet.ts';
import { launcher, ServerProcess } from './server-process.ts';
import { gccAvailable, type VariedElf, VariedElfs } from './varied-elf.ts';
import { WorkerProcess } from './worker-process.ts';

const executables = 200;
/** Of them, those that the upstream has not at first. */
const absent = 5;
const rate = 50;
/** For each half of it, on a machine that is busy with other things. */
const patienceMs = 120_000;

interface Backfill {
  readonly id: string;
  readonly state: string;
  readonly progress: { total: number; done: number; failed: number; skipped: number; running: number };
  readonly reasons: Record<string, number>;
}

let directory: string;
let redis: TestRedis;
let server: ServerProcess;
let upstream: Server;
let files: VariedElf[];
/** By build ID: how often the upstream was asked. */
let asked: Map<string, number>;
const held = new Map<string, Buffer>();
const workers: WorkerProcess[] = [];

beforeEach(async () => {
  if (!redisAvailable || !gccAvailable) return;
  directory = mkdtempSync(join(tmpdir(), 'sk-backfill-'));
  const varied = new VariedElfs(directory);
  files = Array.from({ length: executables }, (_, number) => varied.make(number, 'debug'));
  asked = new Map();
  held.clear();
  for (const file of files.slice(absent)) hold(file);
  upstream = createServer((request, reply) => {
    const id = /^\/buildid\/([0-9a-f]+)\/debuginfo$/.exec(request.url ?? '')?.[1] ?? '';
    asked.set(id, (asked.get(id) ?? 0) + 1);
    const file = held.get(id);
    if (file === undefined) reply.writeHead(404).end();
    else reply.writeHead(200, { 'content-length': file.length }).end(file);
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  redis = await TestRedis.start({ appendOnly: true });
  server = await ServerProcess.start(redisUrl(), ['--blobs', blobs()]);
});

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop('SIGKILL')));
  await server?.stop();
  await redis?.remove();
  upstream?.closeAllConnections();
  upstream?.close();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

function redisUrl(): string {
  return `unix://${redis.socket}`;
}

function blobs(): string {
  return join(directory, 'blobs');
}

function hold({ buildId, path }: VariedElf): void {
  held.set(buildId, readFileSync(path));
}

async function startWorker(): Promise<WorkerProcess> {
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const worker = await WorkerProcess.start(redisUrl(), blobs(), 2, [
    '--upstreams',
    url,
    '--upstream-private',
  ]);
  workers.push(worker);
  return worker;
}

/** Tells the server of executables that run, as an agent does. */
async function reportAll(): Promise<number> {
  const reported = files.map(({ buildId, name }) => ({
    ids: { gnu: buildId, htlhash: createHash('sha256').update(buildId).digest('hex').slice(0, 32) },
    ...{ name: `/usr/bin/${name}`, arch: 'x86_64', type: 'dyn', size: 16_000, load: [['0x1000', '0x200']] },
  }));
  const reply = await fetch(`${server.url}/v1/executables`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ agent: { host: 'h1', version: '1' }, executables: reported }),
  });
  return reply.status;
}

async function symkeep(...args: string[]): Promise<{ code: number; out: string; errors: string }> {
  const child = spawn(process.execPath, [launcher, 'backfill', ...args, '--server', server.url], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? -1)));
  const [out, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { code, out, errors };
}

async function backfillOf(id: string): Promise<Backfill> {
  return (await (await fetch(`${server.url}/v1/admin/backfills/${id}`)).json()) as Backfill;
}

async function recordOf({ buildId }: VariedElf): Promise<ExecutableRecord> {
  return (await (await fetch(`${server.url}/v1/executables/gnu:${buildId}`)).json()) as ExecutableRecord;
}

describe.skipIf(!redisAvailable || !gccAvailable)('a backfill', () => {
  it('of two hundred executables reaches its total though its worker is killed; the failed ones are retried', async () => {
    expect(await reportAll()).toBe(200);
    const selected = ['--source', 'upstream', '--quality-below', 'dwarf'];
    const dry = await symkeep('start', ...selected, '--dry-run', '--json');
    expect(JSON.parse(dry.out)).toMatchObject({
      total: executables,
      asked: executables,
      states: { none: executables },
    });
    expect(asked.size).toBe(0);

    const worker = await startWorker();
    const started = await symkeep('start', ...selected, '--rate', String(rate), '--key', 'night', '--json');
    const { id } = JSON.parse(started.out) as Backfill;
    await until(
      'a part of it is done',
      async () => {
        const { progress } = await backfillOf(id);
        return progress.done > rate / 2 || JSON.stringify(progress);
      },
      patienceMs,
    );
    expect(await worker.stop('SIGKILL')).toBe('SIGKILL');
    const { state, progress } = await backfillOf(id);
    expect(state).toBe('running');
    expect(progress.done).toBeLessThan(executables - absent);
    const again = await symkeep('start', ...selected, '--rate', String(rate), '--key', 'night', '--json');
    expect(JSON.parse(again.out)).toMatchObject({ id });

    await startWorker();
    await until(
      'it is done',
      async () => {
        const now = await backfillOf(id);
        return now.state === 'done' || JSON.stringify(now.progress);
      },
      patienceMs,
    );
    const over = await backfillOf(id);
    expect(over.progress).toMatchObject({
      total: executables,
      done: executables - absent,
      ...{ failed: absent, skipped: 0, running: 0 },
    });
    expect(over.reasons).toEqual({ absent });
    for (const file of files.slice(absent))
      expect((await recordOf(file)).symbols).toMatchObject({ state: 'ready', quality: 'dwarf' });
    // Asked for twice is at most what was under way when the worker was killed.
    const requests = [...asked.values()].reduce((sum, count) => sum + count, 0);
    expect(Math.max(...asked.values())).toBeLessThanOrEqual(2);
    expect(requests - executables).toBeLessThanOrEqual(progress.running);

    const failed = await symkeep('failed', id);
    const missing = files.slice(0, absent);
    expect(
      failed.out
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toEqual(missing.map(({ buildId }) => `gnu:${buildId}`).sort());
    for (const file of missing) hold(file);
    const retried = await symkeep('retry', id, '--wait');
    expect(retried).toMatchObject({ code: 0, errors: '' });
    expect(retried.out).toMatch(
      new RegExp(`^${id} +done +upstream +${executables} of ${executables} done, 0 failed`),
    );
    for (const file of missing) expect((await recordOf(file)).symbols.quality).toBe('dwarf');
    expect([...asked.values()].reduce((sum, count) => sum + count, 0)).toBe(requests + absent);
  }, 300_000);

  it('goes on when Redis was killed, and is gone with everything else after a flush', async () => {
    expect(await reportAll()).toBe(200);
    for (const file of files.slice(0, absent)) hold(file);
    await startWorker();
    const start = async () => {
      const { out } = await symkeep(
        'start',
        '--source',
        'upstream',
        '--rate',
        '20',
        '--key',
        'night',
        '--json',
      );
      return (JSON.parse(out) as Backfill).id;
    };
    const id = await start();
    const partOf = async () => {
      const reply = await fetch(`${server.url}/v1/admin/backfills/${id}`);
      const { progress } = (await reply.json()) as Partial<Backfill>;
      return (progress !== undefined && progress.done > 20) || `${reply.status} ${JSON.stringify(progress)}`;
    };
    await until('a part of it is done', partOf, patienceMs);
    await redis.kill();
    await redis.start();
    await until(
      'it is done',
      async () => {
        const now = (await (
          await fetch(`${server.url}/v1/admin/backfills/${id}`)
        ).json()) as Partial<Backfill>;
        return now.state === 'done' || JSON.stringify(now);
      },
      patienceMs,
    );
    expect((await backfillOf(id)).progress).toMatchObject({
      total: executables,
      done: executables,
      failed: 0,
    });

    await redis.cli('FLUSHALL');
    await until('the loss is seen', async () => {
      const reply = await fetch(`${server.url}/v1/admin/backfills`);
      const text = await reply.text();
      return (reply.status === 200 && text === '{"items":[],"nextCursor":null}') || text;
    });
    expect((await symkeep('show', id)).errors).toBe(`symkeep: there is no backfill ${id}\n`);
    await until('what runs is reported again', async () => {
      // While the epoch is made anew it is a 503.
      const status = await reportAll();
      if (status !== 200) return String(status);
      const census = await symkeep('start', '--dry-run', '--json');
      return (JSON.parse(census.out) as { total: number }).total === executables || census.out;
    });
    expect(await start()).toBe(id);
    expect(await backfillOf(id)).toMatchObject({ state: 'running', progress: { total: executables } });
  }, 400_000);

  it('is told what it cannot do in words, with the exit code of wrong use', async () => {
    expect(await symkeep('begin')).toMatchObject({ code: 2, out: '' });
    expect((await symkeep('show')).errors).toContain('the ID of one backfill is needed');
    expect(await symkeep('start', '--source', 'elsewhere')).toMatchObject({ code: 2 });
    const missing = await symkeep('pause', 'ab');
    expect([missing.code, missing.errors]).toEqual([1, 'symkeep: there is no backfill ab\n']);
  });
});
