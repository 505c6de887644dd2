// Debug files that nobody pushes: a worker fetches them from a real debuginfod because an agent asked in vain, and the
// agent hears of it.
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { Debuginfod, debuginfodAvailable } from './debuginfod.ts';
import { type Agent, Fleet, type Server, until } from './fleet.ts';
import { gccAvailable, type VariedElf, VariedElfs } from './varied-elf.ts';
import { WorkerProcess } from './worker-process.ts';

/** Of one executable, each in a request of its own. */
const lookups = 50;
/** By number: debuginfod has these, and not that. */
const [served, alsoServed, unknown, elsewhere] = [1, 2, 3, 4];

interface Found {
  readonly status: number;
  /** Innermost first. */
  readonly names: readonly string[];
  readonly lines: readonly number[];
}

describe.skipIf(!redisAvailable || !gccAvailable || !debuginfodAvailable)('an upstream', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sk-upstream-'));
  const fleet = new Fleet();
  let redis: TestRedis;
  let files: VariedElfs;
  let debuginfod: Debuginfod;
  let worker: WorkerProcess;
  let agent: Agent;

  beforeAll(async () => {
    for (const name of ['build', 'debug', 'bin', 'opt']) mkdirSync(join(directory, name));
    files = new VariedElfs(join(directory, 'build'));
    for (const number of [served, alsoServed, elsewhere]) moveTo('debug', files.make(number!, 'debug'));
    debuginfod = await Debuginfod.start(join(directory, 'debug'), 3);
    redis = await TestRedis.start();
    const blobs = join(directory, 'blobs');
    const server = await fleet.addServer(`unix://${redis.socket}`, ['--blobs', blobs]);
    const upstream = ['--upstreams', debuginfod.url, '--upstream-private'];
    const paths = ['--upstream-paths', join(directory, 'bin/')];
    worker = await WorkerProcess.start(`unix://${redis.socket}`, blobs, 1, [...upstream, ...paths]);
    // What the host itself has of them (little: they are stripped) is another test's.
    agent = await fleet.addAgent([], '1h', server, ['--events', 'follow', '--upload', 'never']);
  });
  afterAll(async () => {
    await worker?.stop('SIGKILL');
    await fleet.remove();
    await debuginfod?.stop();
    await redis?.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  function moveTo(folder: string, { path }: VariedElf): string {
    const place = join(directory, folder, basename(path));
    renameSync(path, place);
    return place;
  }

  /** A host runs the stripped program from this folder; resolves to its ID once the agent has reported it. */
  async function run(number: number, folder = 'bin'): Promise<string> {
    const stripped = files.make(number, 'stripped');
    const id = `gnu:${stripped.buildId}`;
    agent.host.runFiles([{ file: moveTo(folder, stripped), ids: [id] }]);
    await until('it is reported', () => agent.settled());
    return id;
  }

  async function framesAt(place: Agent | Server, id: string, address: string): Promise<Found> {
    const { body } = await place.ask('/v1/frames/lookup', { requests: [{ id, addresses: [address] }] });
    const { strings, results } = JSON.parse(body) as {
      strings: string[];
      results: { status: number[]; function: number[]; line: number[] }[];
    };
    const [{ status, function: names, line }] = results as [(typeof results)[0]];
    return { status: status[0]!, names: names.map((at) => strings[at]!), lines: line };
  }

  async function untilNamed(id: string): Promise<Found> {
    await until('the agent names the frame', async () => {
      const { status } = await framesAt(agent, id, files.addresses.inner);
      return status === 0 || `status ${status}`;
    });
    return framesAt(agent, id, files.addresses.inner);
  }

  it('gives names, inlines and lines to an agent that asked in vain, with no restart', async () => {
    const id = await run(served!);
    expect(await framesAt(agent, id, files.addresses.inner)).toMatchObject({ status: 2, names: [] });
    const found = await untilNamed(id);
    expect(found.names).toEqual(['twice', 'inner']);
    for (const line of found.lines) expect(line).toBeGreaterThan(0);
    expect((await framesAt(agent, id, files.addresses.varied)).names).toEqual(['variant_000001']);
    expect(await debuginfod.answered(200)).toBe(1);
  });

  it('is asked once for what it has not, however many ask', async () => {
    const id = await run(unknown!);
    const statuses = new Set<number>();
    for (let n = 0; n < lookups; n++) {
      statuses.add((await framesAt(fleet.servers[0]!, id, files.addresses.inner)).status);
    }
    await until('debuginfod is asked', async () => (await debuginfod.answered(404)) > 0 || 'not yet');
    for (let n = 0; n < lookups; n++) {
      statuses.add((await framesAt(fleet.servers[0]!, id, files.addresses.inner)).status);
    }
    // Once another came, the worker has looked at what is wanted again.
    const other = await run(alsoServed!);
    expect((await untilNamed(other)).names).toEqual(['twice', 'inner']);
    expect([...statuses]).toEqual([2]);
    expect([await debuginfod.answered(404), await debuginfod.answered(200)]).toEqual([1, 2]);
  });

  it('is not asked for what runs from elsewhere', async () => {
    const id = await run(elsewhere!, 'opt');
    expect((await framesAt(agent, id, files.addresses.inner)).status).toBe(2);
    const asked = await debuginfod.metric('http_requests_total{type="debuginfo"}');
    const last = await run(5);
    await framesAt(agent, last, files.addresses.inner);
    await until('debuginfod is asked', async () => (await debuginfod.answered(404)) > 1 || 'not yet');
    expect(await debuginfod.metric('http_requests_total{type="debuginfo"}')).toBe(asked + 1);
    expect((await framesAt(agent, id, files.addresses.inner)).status).toBe(2);
  });
});
