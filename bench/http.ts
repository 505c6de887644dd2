// The server over HTTP, as wrk (Debian) loads it: a record by ID beside a bare node:http server that answers a constant of
// the same size, and beside debuginfod (Debian) giving a small file; and batches of 100 IDs in MessagePack, from the
// process cache, and when every one must come from Redis. Each server has one process; wrk has a core of its own.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { encode } from '@symkeep/protocol';
import { ServerProcess } from '../e2e/server-process.ts';
import { TestRedis } from '../tools/test-redis.ts';
import { measureInTurn, Report } from './report.ts';

const getConnections = 64;
const postConnections = 16;
const sampleSeconds = 2;
const batch = 100;
/** Far more than the cache of the server that shall have none can hold. */
const records = 20_000;
const coldCacheBytes = '64KiB';
/** Clock ticks of /proc/<pid>/stat. */
const cpuTickMicroseconds = 10_000;

const directory = mkdtempSync(join(tmpdir(), 'symkeep-bench-'));
const children: ChildProcess[] = [];
const path = (name: string) => fileURLToPath(new URL(`http/${name}`, import.meta.url));

interface Target {
  readonly pid: number;
  readonly url: string;
}

for (const tool of ['wrk', 'redis-server']) {
  if (spawnSync(tool, ['--version']).error !== undefined) {
    console.error(`http: ${tool} is not installed (Debian: apt-get install ${tool}); nothing was measured`);
    process.exit(0);
  }
}
const redis = await TestRedis.start();
try {
  await run();
} finally {
  for (const child of children) child.kill('SIGKILL');
  await redis.remove();
  rmSync(directory, { recursive: true });
}

async function run(): Promise<void> {
  const report = new Report('http');
  const redisUrl = `redis+unix://${redis.socket}`;
  const warm = await ServerProcess.start(redisUrl);
  const cold = await ServerProcess.start(redisUrl, ['--cache-bytes', coldCacheBytes]);
  const ids = await fill(warm.url);
  await measureGet(report, warm, ids[0]!);
  await measureLookup(report, warm, cold, ids);
  await Promise.all([warm.stop(), cold.stop()]);
  report.publish();
}

async function measureGet(report: Report, warm: ServerProcess, id: string): Promise<void> {
  const url = `${warm.url}/v1/executables/${id}`;
  const size = (await (await fetch(url)).arrayBuffer()).byteLength;
  const subjects: Record<string, Target> = {
    symkeep: { pid: warm.pid, url },
    'node:http': await startConstant(size),
    ...(await startDebuginfod()),
  };
  const costs = new Map<string, number[]>(Object.keys(subjects).map((name) => [name, []]));
  const rates = await measureInTurn(
    Object.entries(subjects).map(([name, target]) => ({
      name,
      sample: () => {
        const { rate, microseconds } = load(target, ['-c', String(getConnections), target.url]);
        costs.get(name)!.push(microseconds);
        return rate;
      },
    })),
  );
  report.addAll(`GET a record, ${size} bytes, ${getConnections} connections`, rates, 'requests/s');
  // Of the quietest sample: other load on the machine only ever adds.
  const least = new Map([...costs].map(([name, values]) => [name, Math.min(...values)]));
  report.addAll('GET a record, processor', least, 'µs/request');
  report.ratio('GET: rate of node:http', rates.get('symkeep')! / rates.get('node:http')!);
  report.ratio('GET: processor of node:http', least.get('node:http')! / least.get('symkeep')!);
  const peer = rates.get('debuginfod');
  if (peer !== undefined) report.ratio('GET: rate of debuginfod', rates.get('symkeep')! / peer);
}

async function measureLookup(
  report: Report,
  warm: ServerProcess,
  cold: ServerProcess,
  ids: string[],
): Promise<void> {
  const few = bodiesFile('few', ids.slice(0, 10 * batch));
  const all = bodiesFile('all', ids);
  const subjects = { warm: { target: warm, bodies: few }, 'from Redis': { target: cold, bodies: all } };
  const costs = new Map<string, number[]>(Object.keys(subjects).map((name) => [name, []]));
  const rates = await measureInTurn(
    Object.entries(subjects).map(([name, { target, bodies }]) => ({
      name,
      sample: () => {
        const script = ['-s', path('post.lua'), `${target.url}/v1/executables/lookup`, '--', bodies];
        const { rate, microseconds } = load(target, ['-c', String(postConnections), ...script]);
        costs.get(name)!.push(microseconds);
        return rate * batch;
      },
    })),
  );
  const least = new Map([...costs].map(([name, values]) => [name, Math.min(...values)]));
  report.addAll(`POST lookup of ${batch} IDs, MessagePack, ${postConnections} connections`, rates, 'IDs/s');
  report.addAll(`POST lookup of ${batch} IDs, processor`, least, 'µs/request');
}

/** Loads a server for a while: requests per second, and what each cost the server's process. */
function load({ pid, url }: Target, args: readonly string[]): { rate: number; microseconds: number } {
  const before = cpuMicroseconds(pid);
  const said = execFileSync('wrk', ['-t', '1', '-d', `${sampleSeconds}s`, ...args], { encoding: 'utf8' });
  const cost = cpuMicroseconds(pid) - before;
  if (/Non-2xx|Socket errors/.test(said)) throw new Error(`${url}: not all was answered:\n${said}`);
  const requests = Number(/(\d+) requests in/.exec(said)![1]);
  return { rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(said)![1]), microseconds: cost / requests };
}

function cpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * cpuTickMicroseconds;
}

/** Reports as many executables as the benchmark has; their GNU IDs. */
async function fill(url: string): Promise<string[]> {
  const ids = Array.from({ length: records }, (_, n) =>
    (n + 1).toString(16).padStart(40, '5a5a5a5a5a5a5a5a'),
  );
  for (let from = 0; from < ids.length; from += 1_000) {
    const executables = ids.slice(from, from + 1_000).map((gnu, n) => ({
      ids: { gnu, htlhash: (from + n + 1).toString(16).padStart(32, 'c') },
      name: `/usr/lib/x86_64-linux-gnu/libnumber${from + n}.so.6`,
      ...{ arch: 'x86_64', type: 'dyn', size: 123_456, load: [['0x1000', '0x9a3f0']] },
    }));
    const body = encode({ agent: { host: 'bench', version: '1' }, executables }, 'msgpack');
    const headers = { 'content-type': 'application/msgpack' };
    const reply = await fetch(`${url}/v1/executables`, { method: 'POST', headers, body });
    if (!reply.ok) throw new Error(`filling the store: ${reply.status} ${await reply.text()}`);
  }
  return ids;
}

function bodiesFile(name: string, ids: readonly string[]): string {
  const parts: Buffer[] = [];
  for (let from = 0; from < ids.length; from += batch) {
    const body = encode({ ids: ids.slice(from, from + batch) }, 'msgpack');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    parts.push(length, Buffer.from(body));
  }
  const file = join(directory, name);
  writeFileSync(file, Buffer.concat(parts));
  return file;
}

async function startConstant(size: number): Promise<Target> {
  const child = spawn(process.execPath, [path('constant.ts'), String(size)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) {
    return { pid: child.pid!, url: `http://127.0.0.1:${line}/` };
  }
  throw new Error('the constant server ended before it listened');
}

/** debuginfod on one small file; nothing where it is not installed. */
async function startDebuginfod(): Promise<Record<string, Target>> {
  if (spawnSync('debuginfod', ['--version']).error !== undefined) {
    console.error(
      'http: debuginfod is not installed, so it is not compared with (Debian: apt-get install debuginfod)',
    );
    return {};
  }
  const file = fileURLToPath(new URL('../libs/elf/fixtures/shapes-x86_64', import.meta.url));
  copyFileSync(file, join(directory, 'small'));
  const [, id] = /Build ID: (\w+)/.exec(execFileSync('readelf', ['-n', file], { encoding: 'utf8' }))!;
  const port = 20_000 + (process.pid % 20_000);
  const child = spawn('debuginfod', ['-F', '-d', join(directory, 'index'), '-p', String(port), directory], {
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  children.push(child);
  const url = `http://127.0.0.1:${port}/buildid/${id}/executable`;
  // It listens before it has scanned.
  for (let attempt = 0; attempt < 100; attempt++) {
    const found = await fetch(url).then(
      (reply) => reply.ok,
      () => false,
    );
    if (found) return { debuginfod: { pid: child.pid!, url } };
    if (child.exitCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('debuginfod does not find its file');
}
