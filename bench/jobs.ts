// From files to symbols: small executables are pushed, each with a table of its own, and workers make the tables. How many a
// second end to end, what each costs of the processors, and how long one takes from its push to its event.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServerProcess } from '../e2e/server-process.ts';
import { gccAvailable, type VariedElf, VariedElfs } from '../e2e/varied-elf.ts';
import { WorkerProcess } from '../e2e/worker-process.ts';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { median, Report } from './report.ts';

const executables = 500;
const pushesAtOnce = 8;
const rounds = 3;
const alone = 40;
/** Executables a second, end to end. */
const rateBar = 100;
/** From the push to the event, of one small file, in milliseconds. */
const visibleBarMs = 1_000;
/** Of the kernel's accounts of processor time. */
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

interface Running {
  readonly server: ServerProcess;
  readonly worker: WorkerProcess;
  readonly redis: TestRedis;
}

async function run(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'symkeep-bench-'));
  const redis = await TestRedis.start({ appendOnly: true });
  const url = `unix://${redis.socket}`;
  const blobs = join(directory, 'blobs');
  const server = await ServerProcess.start(url, ['--blobs', blobs]);
  const worker = await WorkerProcess.start(url, blobs);
  try {
    await measure({ server, worker, redis }, new VariedElfs(directory));
  } finally {
    await worker.stop('SIGKILL');
    await server.stop();
    await redis.remove();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(running: Running, files: VariedElfs): Promise<void> {
  const { server, worker, redis } = running;
  const report = new Report('jobs');
  const rates: number[] = [];
  const pushRates: number[] = [];
  const costs: Record<string, number[]> = { server: [], worker: [], redis: [] };
  const pids = { server: server.pid, worker: worker.child.pid!, redis: redis.pid };
  // The first round warms up: extraction children start, code is compiled.
  for (let round = 0; round <= rounds; round++) {
    const made = Array.from({ length: executables }, (_, at) => files.make(round * executables + at));
    const before = Object.entries(pids).map(([name, pid]) => [name, processorSeconds(pid)] as const);
    const events = await Events.from(server.url);
    const started = performance.now();
    const ready = events.untilReady(made);
    await inTurns(made, pushesAtOnce, (file) => push(server.url, file));
    const pushed = (performance.now() - started) / 1_000;
    await ready;
    const all = (performance.now() - started) / 1_000;
    if (round === 0) continue;
    rates.push(executables / all);
    pushRates.push(executables / pushed);
    for (const [name, seconds] of before) {
      const used = processorSeconds(pids[name as keyof typeof pids]) - seconds;
      costs[name]!.push((used / executables) * 1_000);
    }
  }
  report.add('pushes, while workers work', 'symkeep', median(pushRates), 'executables/s');
  report.add('pushed and ready', 'symkeep', median(rates), 'executables/s');
  for (const [name, each] of Object.entries(costs))
    report.add('processor time for one', name, median(each), 'ms');
  const waits: number[] = [];
  for (let at = 0; at < alone; at++) {
    waits.push(await timeToEvent(server.url, files.make((rounds + 1) * executables + at)));
  }
  report.add('from push to event, one at a time', 'median', median(waits), 'ms');
  report.add('from push to event, one at a time', 'slowest', Math.max(...waits), 'ms');
  report.add('memory of the server', 'peak', server.residentBytesPeak / 2 ** 20, 'MB');
  report.add('memory of the worker', 'peak', peakBytes(worker.child.pid!) / 2 ** 20, 'MB');
  report.ratio(`bar of ${rateBar} executables/s`, median(rates) / rateBar);
  report.ratio(`bar of ${visibleBarMs} ms from push to event`, visibleBarMs / median(waits));
  report.publish();
}

async function push(url: string, { buildId, path }: VariedElf): Promise<void> {
  const body = readFileSync(path);
  for (;;) {
    const reply = await fetch(`${url}/v1/executables/gnu:${buildId}/debuginfo`, { method: 'PUT', body });
    await reply.arrayBuffer();
    if (reply.status === 202) return;
    if (reply.status !== 429 && reply.status !== 503) throw new Error(`a push was answered ${reply.status}`);
  }
}

/** What has happened since the end of the log as it was at the start, heard of by long polls. */
class Events {
  readonly #url: string;
  #cursor = '';

  private constructor(url: string) {
    this.#url = url;
  }

  static async from(url: string): Promise<Events> {
    const events = new Events(url);
    await events.#read('');
    return events;
  }

  /** Resolves when there are symbols of all of these. */
  async untilReady(files: readonly VariedElf[]): Promise<void> {
    const missing = new Set(files.map(({ buildId }) => `gnu:${buildId}`));
    while (missing.size > 0) {
      const events = await this.#read(`?cursor=${this.#cursor}&wait=25`);
      for (const { id, kind } of events) if (kind === 'symbols') missing.delete(id);
    }
  }

  async #read(query: string): Promise<readonly { id: string; kind: string }[]> {
    const reply = await fetch(`${this.#url}/v1/events${query}`);
    const { cursor, events = [], reset } = (await reply.json()) as EventsReply;
    if (reset === true) throw new Error('the events were trimmed');
    this.#cursor = cursor;
    return events;
  }
}

interface EventsReply {
  readonly cursor: string;
  readonly reset?: true;
  readonly events?: readonly { id: string; kind: string }[];
}

/** Milliseconds from the start of a push to the event that says the table is there. */
async function timeToEvent(url: string, file: VariedElf): Promise<number> {
  const events = await Events.from(url);
  const started = performance.now();
  await Promise.all([push(url, file), events.untilReady([file])]);
  return performance.now() - started;
}

async function inTurns<T>(
  items: readonly T[],
  atOnce: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let at = next++; at < items.length; at = next++) await run(items[at]!);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/** Of a process, and of its children, those that ended too. */
function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
  const children = childrenOf(pid).reduce((sum, child) => sum + processorSeconds(child), 0);
  return ticks / ticksPerSecond + children;
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim();
    return children === '' ? [] : children.split(' ').map(Number);
  });
}

function peakBytes(pid: number): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1_024;
}

if (redisAvailable && gccAvailable) await run();
else console.error('left out: redis-server, gcc or binutils is missing');
