// Many executables, one backfill, and everything killed at random moments: workers, Redis, the server. In `npm test` a
// hundred executables and a few kills; `npm run proof` takes a thousand, those of this machine as well, and twenty kills.

import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutableRecord } from '@symkeep/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { executableIdOf } from '../apps/symbol-server/src/elf-files.ts';
import { extractTable } from '../apps/symbol-server/src/extraction/index.ts';
import { jobsPerExtraction } from '../apps/symbol-server/src/jobs/worker.ts';
import { randomOf } from '../tools/random.ts';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { clock, lookup, Server, until } from './fleet.ts';
import { gccAvailable, VariedElfs } from './varied-elf.ts';
import { WorkerProcess } from './worker-process.ts';

const isWhole = process.env.E2E_PROOF !== undefined;
const seed = Number(process.env.E2E_SEED ?? 1);
const made = isWhole ? 1_000 : 100;
const kills = isWhole
  ? { worker: 20, redis: [5, 13], server: [3, 16] }
  : { worker: 3, redis: [1], server: [2] };
/** Of this machine, by the size of the file, bytes. */
const realBytesMax = isWhole ? 512 * 1024 : 0;
const realDirectories = ['/usr/bin', '/usr/lib/x86_64-linux-gnu'];
/** Between the start of a worker and its end, at most, ms. */
const lifeMsMax = 1_500;
const concurrency = 2;
const pushesAtOnce = 4;
const patienceMs = 900_000;

interface Program {
  readonly id: string;
  readonly path: string;
}

describe.skipIf(!redisAvailable || !gccAvailable)(`${made} executables`, () => {
  const random = randomOf(seed);
  const started = new Map<string, number>();
  const directory = mkdtempSync(join(tmpdir(), 'sk-thousand-'));
  const blobs = join(directory, 'blobs');
  let redis: TestRedis;
  let server: Server;
  let worker: WorkerProcess;
  let programs: Program[];

  beforeAll(async () => {
    mkdirSync(join(directory, 'build'));
    const files = new VariedElfs(join(directory, 'build'));
    const varied = Array.from({ length: made }, (_, n) => files.make(n));
    const all = [...varied.map(({ path }) => path), ...realExecutables()];
    programs = [
      ...new Map(all.map((path) => [executableIdOf(path), { id: executableIdOf(path), path }])).values(),
    ];
    // What Redis has acknowledged, it has: else an upload may be lost with it, and is to be sent again.
    redis = await TestRedis.start({ appendOnly: true, settings: { appendfsync: 'always' } });
    server = await new Server(`unix://${redis.socket}`, ['--blobs', blobs]).start();
    worker = await startWorker();
  }, 300_000);
  afterAll(async () => {
    await worker?.stop('SIGKILL');
    await server?.end();
    await redis?.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  function startWorker(): Promise<WorkerProcess> {
    const args = ['--log-level', 'debug'];
    return WorkerProcess.start(`unix://${redis.socket}`, blobs, concurrency, args, (line) => {
      const { msg, id } = JSON.parse(line) as { msg?: string; id?: string };
      if (msg === 'making a table') started.set(id!, (started.get(id!) ?? 0) + 1);
    });
  }

  /** Sends files until each is taken, whoever is away meanwhile. */
  async function push(some: readonly Program[]): Promise<void> {
    const open = [...some];
    const send = async () => {
      for (let next = open.pop(); next !== undefined; next = open.pop()) {
        const { id, path } = next;
        await until(`${path} is taken`, async () => {
          const url = `${server.url}/v1/executables/${id}/debuginfo`;
          const status = await fetch(url, { method: 'PUT', body: readFileSync(path) }).then(
            async (reply) => reply.arrayBuffer().then(() => reply.status),
            () => 0,
          );
          return status === 202 || status === 200 || `status ${status}`;
        });
      }
    };
    await Promise.all(Array.from({ length: pushesAtOnce }, send));
  }

  async function killAt(round: number): Promise<void> {
    await worker.stop('SIGKILL');
    if (kills.redis.includes(round)) {
      await redis.kill();
      await redis.start();
    }
    if (kills.server.includes(round)) {
      await server.end();
      await server.start();
    }
    worker = await startWorker();
  }

  async function startBackfill(): Promise<string> {
    let backfill = '';
    await until('a backfill starts', async () => {
      const { status, body } = await server.ask('/v1/admin/backfills', { source: 'stored' });
      if (status === 202) backfill = (JSON.parse(body) as { id: string }).id;
      return status === 202 || `status ${status}: ${body}`;
    });
    return backfill;
  }

  /** What came of a backfill, once it is over. */
  async function outcomeOf(backfill: string): Promise<Backfilled> {
    let last: Backfilled | undefined;
    await until(
      'the backfill is done',
      async () => {
        const { status, body } = await server.ask(`/v1/admin/backfills/${backfill}`);
        if (status === 200) last = JSON.parse(body) as Backfilled;
        return last?.state === 'done' || `status ${status}: ${body}`;
      },
      patienceMs,
    );
    return last!;
  }

  /** Digest of the table of each, or its state. */
  async function outcomes(): Promise<Map<string, string>> {
    const ids = programs.map(({ id }) => id);
    const found = (await lookup(server.place, ids)) as unknown as (ExecutableRecord | string)[];
    return new Map(
      found.map((record, index) => {
        if (typeof record === 'string') return [ids[index]!, record];
        const { state, digest } = record.symbols;
        return [ids[index]!, state === 'ready' ? digest! : state];
      }),
    );
  }

  it(
    `are complete and as undisturbed after ${kills.worker} kills of the worker, ${kills.redis.length} of Redis, ${kills.server.length} of the server`,
    async () => {
      const perKill = Math.ceil(programs.length / kills.worker);
      let backfill = '';
      for (let round = 0; round < kills.worker; round++) {
        const pushed = push(programs.slice(round * perKill, (round + 1) * perKill));
        if (round === kills.worker >> 1) backfill = await startBackfill();
        await clock.sleep(random(lifeMsMax));
        await killAt(round);
        await pushed;
      }
      await until(
        'every table is there',
        async () => {
          const open = [...(await outcomes())].filter(([, one]) => !/^([0-9a-f]{64}|failed)$/.test(one));
          return open.length === 0 || `${open.length} are not, as ${open[0]}`;
        },
        patienceMs,
      );
      const now = await outcomes();
      for (const { id, path } of programs) {
        const undisturbed = await undisturbedOutcome(path);
        expect([path, now.get(id)]).toEqual([path, undisturbed]);
        if (undisturbed === 'failed') continue;
        expect(sha256(archivedTable(id, undisturbed))).toBe(undisturbed);
      }
      const broken = [...now.values()].filter((one) => one === 'failed').length;
      const { failed } = (await outcomeOf(backfill)).progress;
      expect(failed).toBeLessThanOrEqual(broken);
      // Another one has nothing to do.
      const again = (await outcomeOf(await startBackfill())).progress;
      expect([again.total, again.done, again.failed + again.skipped]).toEqual([
        programs.length,
        0,
        programs.length,
      ]);
      const begun = (isBroken: boolean) =>
        programs
          .filter(({ id }) => (now.get(id) === 'failed') === isBroken)
          .reduce((sum, { id }) => sum + (started.get(id) ?? 0), 0);
      // Each costs at most the jobs under way.
      const explained = (kills.worker + kills.redis.length) * concurrency * jobsPerExtraction;
      const whole = programs.length - broken;
      if (isWhole)
        console.info(
          `${whole} tables, begun ${begun(false)} times; ${broken} without symbols, begun ${begun(true)} times; kills explain ${explained}`,
        );
      expect(begun(false)).toBeGreaterThanOrEqual(whole);
      expect(begun(false) - whole).toBeLessThanOrEqual(explained);
      // Each of the two backfills tries again what has failed.
      expect(begun(true)).toBeLessThanOrEqual(3 * broken + explained);
    },
    2 * patienceMs,
  );

  function archivedTable(id: string, digest: string): Buffer {
    const [kind, value = ''] = id.split(':');
    return readFileSync(join(blobs, 'executables', value.slice(0, 2), `${kind}-${value}`, 'tables', digest));
  }
});

interface Backfilled {
  readonly state: string;
  readonly progress: {
    readonly total: number;
    readonly done: number;
    readonly failed: number;
    readonly skipped: number;
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The digest of its table as this process makes it, or that there can be none. */
async function undisturbedOutcome(executable: string): Promise<string> {
  const files = { executable, search: false };
  return extractTable({ files, output: undefined, threads: 1, bytesMax: undefined }).then(
    // A table that names nothing is none.
    ({ digest, ranges }) => (ranges === 0 ? 'failed' : digest),
    () => 'failed',
  );
}

function realExecutables(): string[] {
  return realDirectories.flatMap((directory) =>
    readdirSync(directory)
      .map((name) => join(directory, name))
      .filter((path) => {
        const stat = statSync(path, { throwIfNoEntry: false });
        return stat?.isFile() === true && stat.size <= realBytesMax && isElf(path);
      }),
  );
}

function isElf(path: string): boolean {
  const file = openSync(path, 'r');
  const magic = Buffer.alloc(4);
  readSync(file, magic, 0, 4, 0);
  closeSync(file);
  return magic.toString('latin1') === '\x7fELF';
}
