// A Redis that lost everything, filled again from the blob store by `symkeep rebuild`, with real processes: a server, a
// worker that writes the journal, and an agent that reports again what still runs before the rebuild begins.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { SystemClock } from '@symkeep/cache';
import { decode, type ExecutableRecord } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSegment, segmentKeys } from '../apps/symbol-server/src/archive/journal.ts';
import { DirectoryStore } from '../apps/symbol-server/src/blobs/directory-store.ts';
import { executableIdOf } from '../apps/symbol-server/src/elf-files.ts';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { ask, Fleet, lookup, numbers, type Server, until } from './fleet.ts';
import { launcher } from './server-process.ts';
import { WorkerProcess } from './worker-process.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../libs/symbols/fixtures/${name}`, import.meta.url));
/** Pushed, so that they have tables; the agent's host runs the first two of them all along. */
const pushed = ['dwarf/gcc5', 'dwarf/gcc4', 'dwarf/clang5', 'dwarf/gcc-o0', 'dwarf/mixed'].map(fixture);
const running = pushed.slice(0, 2);
/** Reported once by a host that is gone since. */
const gone = numbers(0, 30).map((n) => {
  const hex = n.toString(16).padStart(2, '0');
  const ids = { gnu: `ab${hex}`.repeat(10), htlhash: `cd${hex}`.repeat(8) };
  const load = [[4096, 4096]];
  return { ids, name: `/opt/gone/program-${n}`, arch: 'x86_64', type: 'exec', size: 10_000 + n, load };
});
const idOf = (n: number) => `gnu:${gone[n]!.ids.gnu}`;
const erased = idOf(7);
const agentFrames = [1, 2, 3].flatMap((n) =>
  ['0x1010', '0x1020', '0x9010'].map((address) => ({
    ...{ id: idOf(n), address, function: `function_${n}_${address}` },
    ...{ file: '/src/a.c', line: n },
  })),
);

let redis: TestRedis;
let directory: string;
let fleet: Fleet;
let worker: WorkerProcess;
const clock = new SystemClock();

beforeEach(async () => {
  if (!redisAvailable) return;
  directory = mkdtempSync(join(tmpdir(), 'sk-rebuild-'));
  redis = await TestRedis.start({ appendOnly: true, settings: { 'enable-debug-command': 'yes' } });
  fleet = new Fleet();
  await fleet.addServer(redisUrl(), ['--blobs', blobs()]);
  worker = await WorkerProcess.start(redisUrl(), blobs());
  const agent = await fleet.addAgent(numbers(0, 5), '1s', fleet.servers[0], ['--events', 'follow']);
  agent.host.runFiles(running.map((file) => ({ file, ids: [executableIdOf(file)] })));
});

afterEach(async () => {
  await worker?.stop('SIGKILL');
  await fleet?.remove();
  await redis?.remove();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

function redisUrl(): string {
  return `unix://${redis.socket}`;
}

function blobs(): string {
  return join(directory, 'blobs');
}

function server(): Server {
  return fleet.servers[0]!;
}

/** Brings in all of it: reports, agents' frames, tables, an erasure. */
async function fill(): Promise<void> {
  const report = { agent: { host: 'gone', version: '1' }, executables: gone };
  expect((await server().ask('/v1/executables', report)).status).toBe(200);
  expect((await server().ask('/v1/frames', { frames: agentFrames })).body).not.toContain('error');
  for (const path of pushed) {
    const url = `${server().url}/v1/executables/${executableIdOf(path)}/debuginfo`;
    expect((await fetch(url, { method: 'PUT', body: readFileSync(path) })).status).toBe(202);
  }
  await until('all is reported', () => fleet.settled());
  for (const path of pushed) {
    await until(`${path} has a table`, async () => {
      const [found] = (await lookup(server().place, [executableIdOf(path)])) as unknown as ExecutableRecord[];
      return found!.symbols?.state === 'ready' || JSON.stringify(found);
    });
  }
  const { status } = await fetch(`${server().url}/v1/executables/${erased}`, { method: 'DELETE' });
  expect(status).toBe(200);
}

/** Every ID that leads somewhere, aliases too. */
function ids(): string[] {
  const reported = gone.flatMap((one) => [`gnu:${one.ids.gnu}`, `htlhash:${one.ids.htlhash}`]);
  const own = fleet.agents[0]!.host.executables.flatMap((one) => one.ids);
  const all = [...reported, ...own, ...pushed.map(executableIdOf)];
  return [...new Set(all)].filter((id) => id !== erased && id !== `htlhash:${gone[7]!.ids.htlhash}`);
}

/** What is known under each ID, times and versions apart: those who report again may have changed them. */
async function facts(): Promise<Map<string, unknown>> {
  const all = ids();
  const found = (await lookup(server().place, all)) as unknown as (ExecutableRecord | string)[];
  return new Map(
    all.map((id, index): [string, unknown] => {
      const one = found[index]!;
      if (typeof one === 'string') return [id, one];
      const { version, generation, lastSeen, ...said } = one;
      return [id, said];
    }),
  );
}

/** What Redis holds of facts, by key: a digest of each value as Redis makes it. */
async function digests(): Promise<Map<string, string>> {
  const keys = (await redis.cli('--raw', 'KEYS', '*')).split('\n').filter((key) => /[:}][xfst]:/.test(key));
  const made = await Promise.all(keys.map((key) => redis.cli('--raw', 'DEBUG', 'DIGEST-VALUE', key)));
  return new Map(keys.map((key, index) => [key, made[index]!]));
}

async function framesOf(id: string, addresses: readonly string[]): Promise<string> {
  const { status, body } = await server().ask('/v1/frames/lookup', { requests: [{ id, addresses }] });
  if (status !== 200) return `status ${status}`;
  const { strings, results } = JSON.parse(body);
  const { generation, ...columns } = results[0];
  return JSON.stringify({ strings, columns });
}

/** Frames of agents, and of every table at every 16 bytes of its first kilobytes. */
async function frames(): Promise<string[]> {
  const own = [1, 2, 3].map((n) => framesOf(idOf(n), ['0x1010', '0x1020', '0x9010']));
  const addresses = numbers(0, 512).map((n) => `0x${(0x40_1000 + 16 * n).toString(16)}`);
  return Promise.all([...own, ...pushed.map((path) => framesOf(executableIdOf(path), addresses))]);
}

/** Until the journal states what the server says of every executable. */
async function journalled(): Promise<void> {
  const store = new DirectoryStore(blobs(), clock);
  await until('the journal has it all', async () => {
    const latest = new Map<string, ExecutableRecord>();
    for (const key of await segmentKeys(store)) {
      for (const { id, record } of (await readSegment(store, key))?.entries ?? [])
        latest.set(id, decode(record, 'msgpack') as ExecutableRecord);
    }
    const found = (await lookup(server().place, ids())) as unknown as ExecutableRecord[];
    const behind = found.find((record) => latest.get(record.id)?.version !== record.version);
    return behind === undefined || `it has not ${JSON.stringify(behind)}`;
  });
}

/** The reports that came since: what runs is there again, without symbols. */
async function reportedAgain(before: string): Promise<void> {
  await until('the loss is seen', async () => {
    const now = await server().epoch();
    return (now !== '' && now !== before) || 'the epoch is the old one';
  });
  const own = fleet.agents[0]!.host.executables.map((one) => one.ids[0]!);
  await until('what runs is reported again', async () => {
    const found = await lookup(server().place, own);
    return found.every((one) => typeof one !== 'string') || JSON.stringify(found);
  });
  const store = new DirectoryStore(blobs(), clock);
  await until('the journal goes on', async () => {
    const newest = (await segmentKeys(store)).at(-1)!;
    const head = (await readSegment(store, newest))?.head;
    return head?.epoch === (await server().epoch()) || `it is at epoch ${head?.epoch}`;
  });
}

interface Polled {
  /** Answers for what is not back yet, in the order in which they first came. */
  readonly answers: Set<string>;
  /** Whether something was unknown after the server had seen that a rebuild is under way. */
  readonly lapses: string[];
}

/** Asks for everything, again and again, until the process ends. */
async function pollDuring(rebuild: ChildProcess): Promise<Polled> {
  const answers = new Set<string>();
  const lapses: string[] = [];
  let isSeen = false;
  const note = (id: string, answer: string) => {
    answers.add(answer);
    if (answer === 'unavailable') isSeen = true;
    else if (isSeen && answer === 'not_found') lapses.push(`${id} is ${answer}`);
  };
  while (rebuild.exitCode === null && rebuild.signalCode === null) {
    const all = [...ids(), erased];
    for (const [index, found] of (await lookup(server().place, all)).entries())
      if (typeof found === 'string') note(all[index]!, found);
    const { status } = await ask(server().place, `/v1/executables/${idOf(1)}/frames/0x1010`);
    if (status !== 200) note(idOf(1), status === 404 ? 'not_found' : `frames: ${status}`);
  }
  return { answers, lapses };
}

async function rebuildNow(): Promise<{ said: Record<string, number>; polled: Polled }> {
  const args = ['rebuild', '--json', '--redis-url', redisUrl(), '--blobs', blobs()];
  const child = spawn(process.execPath, [launcher, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [said, polled] = await Promise.all([text(child.stdout), pollDuring(child)]);
  expect(await exited).toEqual([0, null]);
  return { said: JSON.parse(said), polled };
}

const losses: [string, () => Promise<void>][] = [
  ['was flushed', async () => void (await redis.cli('FLUSHALL'))],
  [
    'was killed and lost its directory',
    async () => {
      await redis.kill();
      rmSync(join(redis.directory, 'appendonlydir'), { recursive: true });
      await redis.start();
    },
  ],
];

describe.skipIf(!redisAvailable)('symkeep rebuild, of a Redis that', () => {
  it.each(losses)('%s, brings back every record, alias, frame and table', async (_, lose) => {
    await fill();
    await journalled();
    const before = { facts: await facts(), frames: await frames(), digests: await digests() };
    const epoch = await server().epoch();
    await lose();
    await reportedAgain(epoch);
    const { said, polled } = await rebuildNow();
    expect(polled.lapses).toEqual([]);
    expect(polled.answers).toContain('unavailable');
    expect(said).toMatchObject({ tables: pushed.length, tombstones: 1, missingTables: 0 });
    await until('the server serves again', async () => {
      const [found] = await lookup(server().place, ['gnu:00112233445566778899aabbccddeeff00112233']);
      return found === 'not_found' || String(found);
    });
    expect(await facts()).toEqual(before.facts);
    expect(await frames()).toEqual(before.frames);
    expect(await lookup(server().place, [erased])).toEqual(['erased']);
    expect((await fetch(`${server().url}/v1/executables/${erased}`)).status).toBe(410);
    const now = await digests();
    const own = new Set(fleet.agents[0]!.host.executables.map((one) => one.ids[0]!));
    // A record that was reported again has other times; what else there is of it is the same. Of what was erased there is
    // its tombstone.
    const isSame = (key: string) =>
      ![...own].some((id) => key.endsWith(`x:${id}`)) &&
      !key.endsWith(`x:${erased}`) &&
      !key.endsWith(`x:htlhash:${gone[7]!.ids.htlhash}`);
    const kept = (all: Map<string, string>) => new Map([...all].filter(([key]) => isSame(key)));
    expect(kept(now)).toEqual(kept(before.digests));
    expect(kept(now).size).toBeGreaterThan(2 * gone.length);
  });
});
