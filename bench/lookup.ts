// Lookups of frames in a large symbol table (Debian's libjvm): from a warm process cache through the table, over HTTP in
// batches of 1,000 addresses, and the first address of all from Redis by a server that has just started; beside
// llvm-symbolizer on the same 100,000 addresses without its loading. Speeds are per second of processor time: other load
// on the machine makes a core slower, but cannot take it away.
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ManualClock, MemoryStore } from '@symkeep/cache';
import {
  type Address,
  type ExecutableId,
  encode,
  FramesReplyBuilder,
  formatAddress,
} from '@symkeep/protocol';
import { openSymbolTable, type SymbolTable } from '@symkeep/symbols';
import { type Catalog, createCatalog } from '../apps/symbol-server/src/catalog/index.ts';
import { publishIn } from '../apps/symbol-server/src/commands/publish-table.ts';
import { executableIdOf } from '../apps/symbol-server/src/elf-files.ts';
import { type ExtractedTable, extractTable } from '../apps/symbol-server/src/extraction/index.ts';
import { launcher, ServerProcess } from '../e2e/server-process.ts';
import { TestRedis } from '../tools/test-redis.ts';
import { measureInTurn, median, Report } from './report.ts';

const library = '/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so';
const symbolizer = 'llvm-symbolizer-19';
const count = 100_000;
const batch = 1_000;
/** Distinct addresses of a profile, of which a few are most. */
const hotAddresses = 20_000;
const sampleSeconds = 3;
const coldServers = 5;
const cacheBytes = 256 * 2 ** 20;
/** Clock ticks of /proc/<pid>/stat per second. */
const cpuTicks = 100;

/** Linear congruential, Numerical Recipes. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  /** At least 0, under 1. */
  next(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#state / 2 ** 32;
  }
}

for (const tool of [symbolizer, 'wrk', 'redis-server']) {
  if (spawnSync(tool, ['--version']).error !== undefined || !existsSync(library)) {
    console.error(
      `lookup: ${tool} or ${library} is not there (Debian: llvm-19, wrk, redis-server, openjdk-17-jre-headless, openjdk-17-dbg); nothing was measured`,
    );
    process.exit(0);
  }
}
const directory = mkdtempSync(join(tmpdir(), 'symkeep-bench-'));
const redis = await TestRedis.start();
const redisUrl = `redis+unix://${redis.socket}`;
try {
  await run();
} finally {
  await redis.remove();
  rmSync(directory, { recursive: true });
}

interface Subject {
  readonly id: ExecutableId;
  readonly path: string;
  readonly table: ExtractedTable;
  /** By name: addresses in the order they are asked for. */
  readonly addresses: Readonly<Record<string, readonly Address[]>>;
}

async function run(): Promise<void> {
  const report = new Report('lookup');
  const subject = await prepare();
  const { table } = subject;
  report.add('libjvm', 'ranges', table.ranges, 'ranges');
  report.add('libjvm', 'pages', table.pages, 'pages');
  const through = await measureTable(report, subject);
  await measurePeer(report, subject, through);
  await measureHttp(report, subject);
  await measureCold(report, subject);
  report.publish();
}

async function prepare(): Promise<Subject> {
  const path = join(directory, 'table');
  const files = { executable: library, search: true };
  const table = await extractTable({ files, output: path, threads: 2, bytesMax: undefined });
  const args = [launcher, 'extract', library, '--store', '--redis-url', redisUrl];
  execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'ignore'] });
  const all = uniform(openSymbolTable(readFileSync(path)), new Random(1));
  return {
    id: executableIdOf(library),
    path,
    table,
    addresses: { 'any address': all, 'a profile': zipf(all, new Random(2)) },
  };
}

function uniform({ imageBase, pageStarts }: SymbolTable, random: Random): Address[] {
  const first = pageStarts[0]!;
  const length = pageStarts.at(-1)! - first;
  return Array.from({ length: count }, () => imageBase + BigInt(Math.floor(first + random.next() * length)));
}

/** Exponent 0.99, by inverting the sums of the weights. */
function zipf(from: readonly Address[], random: Random): Address[] {
  let sum = 0;
  const sums = Float64Array.from({ length: hotAddresses }, (_, rank) => {
    sum += 1 / (rank + 1) ** 0.99;
    return sum;
  });
  return Array.from({ length: count }, () => {
    const wanted = random.next() * sum;
    return from[sums.findIndex((value) => value >= wanted) % from.length]!;
  });
}

function batchesOf<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / batch) }, (_, n) => [
    ...all.slice(n * batch, (n + 1) * batch),
  ]);
}

/** Processor time of this thread, seconds. */
function threadSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}

/** Addresses per second of processor, by the kind of addresses. */
async function measureTable(
  report: Report,
  { id, path, table, addresses }: Subject,
): Promise<Map<string, number>> {
  const clock = new ManualClock();
  const catalog = createCatalog({ store: new MemoryStore({ clock }), clock, cacheBytes });
  await catalog.epoch.check();
  await publishIn(catalog, id, { path, table });
  const kinds = Object.entries(addresses).map(([name, all]) => ({ name, batches: batchesOf(all) }));
  const rates = (look: (batches: Address[][]) => Promise<unknown>) =>
    measureInTurn(
      kinds.map(({ name, batches }) => ({
        name,
        sample: async () => {
          const start = threadSeconds();
          await look(batches);
          return count / (threadSeconds() - start);
        },
      })),
    );
  const found = await rates((batches) => walk(catalog, id, batches));
  report.addAll('through the table, every frame read', found, 'addresses/s');
  const replies = await rates((batches) => reply(catalog, id, batches));
  report.addAll('and written as a reply in MessagePack', replies, 'addresses/s');
  report.add(
    'frames of an address',
    'any address',
    (await walk(catalog, id, kinds[0]!.batches)) / count,
    'frames',
  );
  return found;
}

/** Reads every frame; the number of them. */
async function walk(catalog: Catalog, id: ExecutableId, batches: Address[][]): Promise<number> {
  let frames = 0;
  let lines = 0;
  const sink = {
    frame: (_name: string, _names: unknown, _file: string, line: number) => {
      lines += line;
    },
  };
  for (const addresses of batches) {
    const [outcome] = await catalog.frames.lookup([{ id, addresses }]);
    for (const found of outcome!.at) frames += found.writeTo?.(sink) ?? 0;
  }
  if (lines === 0) throw new Error('no line was found');
  return frames;
}

async function reply(catalog: Catalog, id: ExecutableId, batches: Address[][]): Promise<void> {
  for (const addresses of batches) {
    const [outcome] = await catalog.frames.lookup([{ id, addresses }]);
    const builder = new FramesReplyBuilder();
    builder.add(id, outcome!.canonical, outcome!.generation, outcome!.at);
    encode(builder.reply, 'msgpack');
  }
}

async function measurePeer(
  report: Report,
  { addresses }: Subject,
  through: Map<string, number>,
): Promise<void> {
  for (const [name, all] of Object.entries(addresses)) {
    const text = (some: readonly Address[]) => some.map((address) => `${formatAddress(address)}\n`).join('');
    const rates = Array.from({ length: 3 }, () => {
      const loading = symbolizerSeconds(text(all.slice(0, 1)));
      return count / (symbolizerSeconds(text(all)) - loading);
    });
    const peer = median(rates);
    report.add(
      'through the table, every frame read',
      `${symbolizer}, ${name}, loading left out`,
      peer,
      'addresses/s',
    );
    report.ratio(`${name}: rate of ${symbolizer}`, through.get(name)! / peer);
  }
}

/** Processor time of a whole process that answers addresses. */
function symbolizerSeconds(input: string): number {
  const args = ['-f', '%U %S', symbolizer, `--obj=${library}`, '--inlines', '--no-demangle'];
  const { stderr } = spawnSync('/usr/bin/time', args, { input, encoding: 'utf8', maxBuffer: 2 ** 28 });
  const [user, system] = stderr.trim().split('\n').at(-1)!.split(' ').map(Number);
  return user! + system!;
}

async function measureHttp(report: Report, { id, addresses }: Subject): Promise<void> {
  const server = await ServerProcess.start(redisUrl);
  const script = fileURLToPath(new URL('http/post.lua', import.meta.url));
  try {
    const rates = await measureInTurn(
      Object.entries(addresses).map(([name, all]) => {
        const bodies = bodiesFile(name, id, all);
        const args = ['-t', '1', '-c', '4', '-d', `${sampleSeconds}s`, '-s', script];
        return {
          name,
          sample: () => {
            const before = cpuSeconds(server.child);
            const said = execFileSync('wrk', [...args, `${server.url}/v1/frames/lookup`, '--', bodies], {
              encoding: 'utf8',
            });
            if (/Non-2xx|Socket errors/.test(said)) throw new Error(`not all was answered:\n${said}`);
            const requests = Number(/(\d+) requests in/.exec(said)![1]);
            return (requests * batch) / (cpuSeconds(server.child) - before);
          },
        };
      }),
      5,
    );
    report.addAll(`over HTTP, ${batch} addresses a request in MessagePack`, rates, 'addresses/s');
  } finally {
    await server.stop();
  }
}

function bodiesFile(name: string, id: ExecutableId, all: readonly Address[]): string {
  const parts = batchesOf(all).flatMap((addresses) => {
    const body = encode({ requests: [{ id, addresses: addresses.map(Number) }] }, 'msgpack');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    return [length, Buffer.from(body)];
  });
  const file = join(directory, name.replaceAll(' ', '-'));
  writeFileSync(file, Buffer.concat(parts));
  return file;
}

function cpuSeconds({ pid }: ChildProcess): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / cpuTicks;
}

/** Wall time: of the first lookup that a new server gets, its connection open, and of a symbolizer with one address. */
async function measureCold(report: Report, { id, addresses }: Subject): Promise<void> {
  const asked = addresses['any address']!.slice(0, coldServers);
  const times: number[] = [];
  const peer: number[] = [];
  for (const address of asked) {
    const server = await ServerProcess.start(redisUrl);
    await (await fetch(`${server.url}/healthz`)).text();
    const start = performance.now();
    const found = await fetch(`${server.url}/v1/executables/${id}/frames/${formatAddress(address)}`);
    const text = await found.text();
    times.push(performance.now() - start);
    if (!text.includes('"status":0')) throw new Error(`not found: ${text}`);
    await server.stop();
    const began = performance.now();
    spawnSync(symbolizer, [`--obj=${library}`, '--inlines', formatAddress(address)]);
    peer.push(performance.now() - began);
  }
  report.add('the first address', 'from Redis, by a server that has just started', median(times), 'ms');
  report.add('the first address', symbolizer, median(peer), 'ms');
  report.ratio(`first address: time of ${symbolizer}`, median(peer) / median(times));
}
