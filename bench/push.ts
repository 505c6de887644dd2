// From a file to names, end to end, with real processes: how many small files a second a server takes, a worker makes
// tables of, and both together; how long after a push an agent that follows events has the names; what the processes
// hold of memory; and what tables take in Redis.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { executableIdOf } from '../apps/symbol-server/src/elf-files.ts';
import { type Agent, Fleet, lookup, type Server, until } from '../e2e/fleet.ts';
import { launcher } from '../e2e/server-process.ts';
import { gccAvailable, type VariedElf, VariedElfs } from '../e2e/varied-elf.ts';
import { WorkerProcess } from '../e2e/worker-process.ts';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { median, Report } from './report.ts';

/** Executables of one measurement of rates. */
const count = Number(process.env.BENCH_EXECUTABLES ?? 500);
const rounds = 3;
const visiblePushes = 41;
/** Clock ticks of /proc/<pid>/stat per second. */
const cpuTicks = 100;
const patienceMs = 300_000;
/** Of Debian's libc6-dbg and openjdk-17-dbg, whose files `extract` finds by itself. */
const libraries = {
  libc: '/lib/x86_64-linux-gnu/libc.so.6',
  libjvm: '/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so',
};

if (!redisAvailable || !gccAvailable || !existsSync('/usr/bin/time')) {
  console.error('push: redis-server, redis-cli, gcc or time is not there; nothing was measured');
  process.exit(0);
}
const directory = mkdtempSync(join(tmpdir(), 'symkeep-bench-'));
const blobs = join(directory, 'blobs');
const redis = await TestRedis.start({ appendOnly: true });
const redisUrl = `unix://${redis.socket}`;
const fleet = new Fleet();
const build = join(directory, 'build');
mkdirSync(build);
const files = new VariedElfs(build);
let made = 0;
try {
  await run();
} finally {
  await fleet.remove();
  await redis.remove();
  rmSync(directory, { recursive: true });
}

async function run(): Promise<void> {
  const report = new Report('push');
  const server = await fleet.addServer(redisUrl, ['--blobs', blobs]);
  await measureRates(report, server);
  await measureVisible(report, server);
  await measureRedis(report);
  report.publish();
}

/** A folder of executables that are not known yet. */
function folderOfNew(): { folder: string; ids: string[] } {
  const folder = join(directory, `push-${made}`);
  mkdirSync(folder);
  const ids = Array.from({ length: count }, () => {
    const { path, buildId } = files.make(made++);
    renameSync(path, join(folder, basename(path)));
    return `gnu:${buildId}`;
  });
  return { folder, ids };
}

async function measureRates(report: Report, server: Server): Promise<void> {
  const rates = { pushes: [] as number[], jobs: [] as number[], both: [] as number[] };
  const costs = {
    push: [] as number[],
    server: [] as number[],
    worker: [] as number[],
    redis: [] as number[],
  };
  let peak = 0;
  for (let round = 0; round < rounds; round++) {
    const alone = folderOfNew();
    rates.pushes.push(count / (await secondsOf(() => push(server, alone.folder))));
    const worker = await WorkerProcess.start(redisUrl, blobs);
    rates.jobs.push(count / (await secondsOf(() => allReady(server, alone.ids))));
    const together = folderOfNew();
    const before = cpuOf(server, worker);
    let pushCpu = 0;
    const seconds = await secondsOf(async () => {
      pushCpu = await push(server, together.folder);
      await allReady(server, together.ids);
    });
    rates.both.push(count / seconds);
    const after = cpuOf(server, worker);
    costs.push.push(pushCpu);
    for (const who of ['server', 'worker', 'redis'] as const) costs[who].push(after[who] - before[who]);
    peak = Math.max(peak, residentBytes(worker.child.pid!, 'VmHWM'));
    if (round === rounds - 1) {
      const children = childrenOf(worker.child.pid!);
      const held = children.reduce((sum, pid) => sum + residentBytes(pid, 'VmRSS'), 0);
      report.add('memory', `${children.length} extraction children of the worker`, held / 1e6, 'MB');
    }
    await worker.stop();
  }
  const bytes = readFileSync(join(directory, 'push-0', 'full-0')).length;
  report.add(`${count} files of ${bytes} bytes`, 'symkeep push, no worker', median(rates.pushes), 'files/s');
  report.add(`${count} files of ${bytes} bytes`, 'worker, all queued', median(rates.jobs), 'jobs/s');
  report.add(
    `${count} files of ${bytes} bytes`,
    'push and worker, to ready',
    median(rates.both),
    'executables/s',
  );
  for (const [who, seconds] of Object.entries(costs))
    report.add('processor, push and worker', who, (median(seconds) * 1_000) / count, 'ms/executable');
  const all = Object.values(costs).reduce((sum, seconds) => sum + median(seconds), 0);
  report.add('processor, push and worker', 'all, for each core', count / all, 'executables/s');
  report.add('memory', 'server, most', residentBytes(server.pid, 'VmHWM') / 1e6, 'MB');
  report.add('memory', 'worker, most', peak / 1e6, 'MB');
}

/** `symkeep push` as a process of its own, its start included; the processor's seconds that it took. */
async function push(server: Server, folder: string): Promise<number> {
  const args = ['-f', '%U %S', process.execPath, launcher, 'push', folder, '--json', '--server', server.url];
  const child = spawn('/usr/bin/time', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  if (code !== 0) throw new Error(`symkeep push ended with ${code}: ${said}`);
  const [user, system] = said.trim().split('\n').at(-1)!.split(' ').map(Number);
  return user! + system!;
}

/** The processor's seconds of each since its start; of the worker with its extraction children. */
function cpuOf(server: Server, worker: WorkerProcess): { server: number; worker: number; redis: number } {
  const pid = worker.child.pid!;
  const workers = [pid, ...childrenOf(pid)].reduce((sum, one) => sum + cpuSeconds(one), 0);
  return { server: cpuSeconds(server.pid), worker: workers, redis: cpuSeconds(redis.pid) };
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // With those of children that have ended.
  return [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0) / cpuTicks;
}

async function allReady(server: Server, ids: readonly string[]): Promise<void> {
  let open = ids;
  const isReady = (found: unknown) => (found as { symbols?: { state: string } }).symbols?.state === 'ready';
  await until(
    'all are ready',
    async () => {
      // The last of those that are open says most; asking for all of them would load what is measured.
      const [last] = await lookup(server.place, open.slice(-1));
      if (!isReady(last)) return `${open.length} are not`;
      const found = await lookup(server.place, open);
      open = open.filter((_, index) => !isReady(found[index]));
      return open.length === 0 || `${open.length} are not`;
    },
    patienceMs,
  );
}

/** One push after another, each to the moment when the agent answers with the name. */
async function measureVisible(report: Report, server: Server): Promise<void> {
  const programs = Array.from({ length: visiblePushes }, () => ({
    stripped: files.make(made, 'stripped'),
    debug: files.make(made++, 'debug'),
  }));
  const worker = await WorkerProcess.start(redisUrl, blobs);
  const agent = await fleet.addAgent([], '1h', server, ['--events', 'follow', '--upload', 'never']);
  agent.host.runFiles(
    programs.map(({ stripped: { path, buildId } }) => ({ file: path, ids: [`gnu:${buildId}`] })),
  );
  await until('all is reported', () => agent.settled());
  const times: number[] = [];
  for (const { debug } of programs) {
    if ((await statusAt(agent, debug)) !== 2) throw new Error(`${debug.name} is known before its push`);
    const start = performance.now();
    const url = `${server.url}/v1/executables/gnu:${debug.buildId}/debuginfo`;
    const { status } = await fetch(url, { method: 'PUT', body: readFileSync(debug.path) });
    if (status !== 202) throw new Error(`a push was answered with ${status}`);
    while ((await statusAt(agent, debug)) !== 0) await new Promise((resolve) => setTimeout(resolve, 5));
    times.push(performance.now() - start);
  }
  await worker.stop();
  times.sort((a, b) => a - b);
  report.add('from push to visible at an agent', 'median', median(times), 'ms');
  report.add('from push to visible at an agent', '95 of 100', times[Math.floor(0.95 * times.length)]!, 'ms');
  report.ratio('push to visible: 1 s', 1_000 / median(times));
}

async function statusAt(agent: Agent, { buildId }: VariedElf): Promise<number> {
  const requests = [{ id: `gnu:${buildId}`, addresses: [files.addresses.varied] }];
  const { body } = await agent.ask('/v1/frames/lookup', { requests });
  return (JSON.parse(body) as { results: { status: number[] }[] }).results[0]!.status[0]!;
}

/** What the table of a large file takes in Redis, by Redis' own account, for each function and range. */
async function measureRedis(report: Report): Promise<void> {
  for (const [name, path] of Object.entries(libraries)) {
    if (!existsSync(path)) {
      console.error(`push: ${path} is not there (Debian: libc6-dbg, openjdk-17-dbg); left out`);
      continue;
    }
    const args = [launcher, 'extract', path, '--store', '--stats', '--redis-url', redisUrl];
    const stats = execFileSync(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      encoding: 'utf8',
    });
    const { functions, ranges } = JSON.parse(stats) as { functions: number; ranges: number };
    const keys = await redis.cli('--raw', 'KEYS', `*:t:${executableIdOf(path)}:*`);
    const bytes = Number(await redis.cli('--raw', 'MEMORY', 'USAGE', keys.trim(), 'SAMPLES', '0'));
    report.add(`${name} in Redis`, `${functions} functions`, bytes / functions, 'bytes/function');
    report.add(`${name} in Redis`, `${ranges} ranges`, bytes / ranges, 'bytes/range');
  }
}

async function secondsOf(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1_000;
}

function residentBytes(pid: number, field: 'VmHWM' | 'VmRSS'): number {
  const [, kib] =
    new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1_024;
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
  );
}
