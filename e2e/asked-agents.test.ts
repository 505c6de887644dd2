// Agents are asked for files, with real processes: programs as gcc makes them that run on this host, agents that look at its
// real /proc, a server, a worker and Redis. Nobody pushes anything.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { type Agent, Fleet, lookup, until } from './fleet.ts';
import { gccAvailable } from './varied-elf.ts';
import { WorkerProcess } from './worker-process.ts';

const uploadLease = ['--upload-lease', '2s'];
const onThisHost = ['--proc', '/proc', '--sys', '/sys', '--events', 'follow'];
const source = (pad: number) => `
#include <unistd.h>
char pad[${pad}] = {1};
static inline __attribute__((always_inline)) int twice(int x) {
  volatile int y = x;
  return y + y;
}
__attribute__((noinline)) int inner(int x) {
  return twice(x) + pad[0];
}
int main(int argc, char **argv) {
  inner(argc);
  for (;;) pause();
}
`;

interface Program {
  readonly id: string;
  /** Virtual address of `inner`. */
  readonly address: string;
}

let directory: string;
let redis: TestRedis;
let fleet: Fleet;
let worker: WorkerProcess;
const running: ChildProcess[] = [];

beforeEach(async () => {
  if (!redisAvailable || !gccAvailable) return;
  directory = mkdtempSync(join(tmpdir(), 'sk-asked-'));
  redis = await TestRedis.start();
  fleet = new Fleet();
  const blobs = join(directory, 'blobs');
  await fleet.addServer(`unix://${redis.socket}`, ['--blobs', blobs, ...uploadLease]);
  worker = await WorkerProcess.start(`unix://${redis.socket}`, blobs);
});

afterEach(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  await worker?.stop('SIGKILL');
  await fleet?.remove();
  await redis?.remove();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

/** Builds a program and starts it; `split`: its DWARF is in a file beside it that it only names. */
function run({ split = false, pad = 1 }): Program {
  const path = join(directory, 'program');
  const debug = join(directory, '.debug/program.debug');
  writeFileSync(`${path}.c`, source(pad));
  execFileSync('gcc', ['-g', '-O1', '-Wl,--build-id=sha1', '-o', `${path}.full`, `${path}.c`]);
  copyFileSync(`${path}.full`, path);
  if (split) {
    mkdirSync(join(directory, '.debug'));
    execFileSync('objcopy', ['--only-keep-debug', path, debug]);
    execFileSync('strip', ['--strip-all', path]);
    execFileSync('objcopy', [`--add-gnu-debuglink=${debug}`, path]);
  }
  const notes = execFileSync('readelf', ['-n', path], { encoding: 'utf8' });
  const symbols = execFileSync('nm', [`${path}.full`], { encoding: 'utf8' });
  running.push(spawn(path, { stdio: 'ignore' }));
  return {
    id: `gnu:${/Build ID: ([0-9a-f]{40})/.exec(notes)![1]}`,
    address: `0x${/^0*([0-9a-f]+) [tT] inner$/m.exec(symbols)![1]}`,
  };
}

function addAgent(...args: string[]): Promise<Agent> {
  return fleet.addAgent([], '1s', fleet.servers[0], [...onThisHost, ...args]);
}

async function reported({ id }: Program): Promise<void> {
  await until('the server knows the program', async () => {
    const [found] = await lookup(fleet.servers[0]!.place, [id]);
    return typeof found === 'object' || String(found);
  });
}

/** The names at `inner`, or the status without any, as an agent or server answers now. */
async function namesAt({ id, address }: Program, of: Pick<Agent, 'ask'>): Promise<string[] | number> {
  const { body } = await of.ask('/v1/frames/lookup', { requests: [{ id, addresses: [address] }] });
  const { strings, results } = JSON.parse(body) as {
    strings: string[];
    results: { status: number[]; function: number[] }[];
  };
  const [{ status, function: names }] = results as [(typeof results)[0]];
  return status[0] === 0 ? names.map((at) => strings[at]!) : status[0]!;
}

async function untilNamed(program: Program, agent: Agent): Promise<void> {
  await until('the agent names the frame', async () => {
    const names = await namesAt(program, agent);
    return JSON.stringify(names) === '["twice","inner"]' || `${JSON.stringify(names)}\n${agent.log}`;
  });
}

async function sourcesOf({ id }: Program) {
  const { body } = await fleet.servers[0]!.ask(`/v1/executables/${id}/symbols`);
  return (JSON.parse(body) as { sources: { kind: string; trust: string }[] }).sources;
}

const sent = (agent: Agent) => agent.metric('symkeep_agent_uploads_asked_total');

describe.skipIf(!redisAvailable || !gccAvailable)('an agent that is asked', () => {
  it('sends the debug file of what runs, and then names its frames: names and inlines, without a restart', async () => {
    const program = run({ split: true });
    const agent = await addAgent();
    await reported(program);
    expect(await namesAt(program, agent)).toBe(2);
    await untilNamed(program, agent);
    expect(await sourcesOf(program)).toMatchObject([{ kind: 'debug', trust: 'agent' }]);
  });

  it('is one of those that run it: there is one upload, and all name the frames', async () => {
    const program = run({});
    await addAgent();
    await addAgent();
    await reported(program);
    for (const agent of fleet.agents) expect(await namesAt(program, agent)).toBe(2);
    for (const agent of fleet.agents) await untilNamed(program, agent);
    const asked = await Promise.all(fleet.agents.map(sent));
    expect(asked.sort()).toEqual([0, 1]);
    expect(await sourcesOf(program)).toMatchObject([{ kind: 'executable', trust: 'agent' }]);
  });

  it('is not one that never uploads', async () => {
    const program = run({});
    const never = await addAgent('--upload', 'never');
    await reported(program);
    expect(await namesAt(program, never)).toBe(2);
    // By the time that another was asked and has sent it, this one could have.
    const cycles = (await never.metric('symkeep_agent_cycles_total')) + 5;
    await until('five cycles are over', async () => {
      const now = await never.metric('symkeep_agent_cycles_total');
      return now >= cycles || `${now} of ${cycles}`;
    });
    expect(await namesAt(program, never)).toBe(2);
    expect(await sourcesOf(program)).toEqual([]);
    const other = await addAgent();
    await untilNamed(program, never);
    expect(await sent(other)).toBe(1);
  });

  it('and killed while it sends is followed by another, which is not asked as long as it sends', async () => {
    const program = run({ pad: 6 * 2 ** 20 });
    const first = await addAgent('--upload-rate', '256KiB');
    await reported(program);
    expect(await namesAt(program, first)).toBe(2);
    await until(
      'it sends',
      async () => (await first.metric('symkeep_agent_upload_bytes_total')) > 0 || first.log,
    );
    const second = await addAgent();
    // Longer than its lease: what comes of the file renews it.
    await until('it has sent for four seconds', async () => {
      const bytes = await first.metric('symkeep_agent_upload_bytes_total');
      return bytes > 2 ** 20 || `${bytes} bytes`;
    });
    expect(await sent(second)).toBe(0);
    expect(await first.metric('symkeep_agent_uploads_running')).toBe(1);
    await first.end();
    await untilNamed(program, second);
    expect(await sent(second)).toBe(1);
    expect(await sourcesOf(program)).toHaveLength(1);
  });

  it('and stopped while it sends ends within its five seconds, and gives the lease back', async () => {
    const program = run({ pad: 6 * 2 ** 20 });
    const agent = await addAgent('--upload-rate', '256KiB');
    await reported(program);
    expect(await namesAt(program, agent)).toBe(2);
    await until(
      'it sends',
      async () => (await agent.metric('symkeep_agent_upload_bytes_total')) > 0 || agent.log,
    );
    // The agent ends itself with another code when it takes longer.
    expect(await agent.end('SIGTERM')).toBe(0);
    const returned = await fleet.servers[0]!.metric('symkeep_asks_returned_total');
    expect(returned).toBe(1);
    expect(await sourcesOf(program)).toEqual([]);
  });
});
