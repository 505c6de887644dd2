// The main job as a new user meets it: `symkeep up` finds what runs on this host, answers for it, and still knows it
// after a restart.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { ExecutableRecord } from '@symkeep/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { redisAvailable } from '../tools/test-redis.ts';
import { launcher } from './server-process.ts';

const bash = '/bin/bash';
/** What its own tools say of it: the expected value does not come from our code. */
const buildId = buildIdOf(bash);

function buildIdOf(path: string): string | undefined {
  try {
    const notes = execFileSync('readelf', ['-n', path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return /Build ID: ([0-9a-f]+)/.exec(notes)?.[1];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

interface Up {
  readonly child: ChildProcess;
  readonly url: string;
  readonly agentUrl: string;
  readonly executables: number;
  readonly examples: { name: string; id: string }[];
}

describe.skipIf(!redisAvailable || buildId === undefined)('symkeep up', () => {
  let data: string;
  let environment: NodeJS.ProcessEnv;
  let shell: ChildProcess;
  let started: ChildProcess[] = [];

  beforeAll(() => {
    // A bash that runs as long as the test does, waiting for input that never comes.
    shell = spawn(bash, ['-c', 'read -r line'], { stdio: ['pipe', 'ignore', 'ignore'] });
  });
  afterAll(() => shell.kill());

  beforeEach(async () => {
    data = mkdtempSync(join(tmpdir(), 'sk-up-'));
    const { REDIS_URL: _, ...env } = process.env;
    environment = {
      ...env,
      SYMKEEP_DATA: data,
      SYMKEEP_LISTEN: `127.0.0.1:${await freePort()}`,
      SYMKEEP_AGENT_LISTEN: `127.0.0.1:${await freePort()}`,
    };
  });
  afterEach(async () => {
    await Promise.all(started.map((child) => end(child, 'SIGTERM')));
    started = [];
    rmSync(data, { recursive: true, force: true });
  });

  async function up(): Promise<Up> {
    const child = spawn(process.execPath, [launcher, 'up', '--json'], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.push(child);
    let said = '';
    child.stderr.on('data', (text: Buffer) => {
      said += text.toString();
    });
    for await (const line of createInterface({ input: child.stdout })) {
      return { child, ...(JSON.parse(line) as Omit<Up, 'child'>) };
    }
    throw new Error(`symkeep up ended before it was up: ${said}`);
  }

  async function symkeep(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = { ...environment, SYMKEEP_SERVER: `http://${environment.SYMKEEP_LISTEN}` };
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [launcher, ...args], { env });
      return { code: 0, stdout, stderr };
    } catch (error) {
      return error as { code: number; stdout: string; stderr: string };
    }
  }

  it('finds bash, answers for it, and still knows it after a restart', async () => {
    const first = await up();
    expect(first.executables).toBeGreaterThan(2);
    expect(first.examples).toContainEqual({ name: 'bash', id: buildId });
    const record = JSON.parse((await symkeep('lookup', buildId!, '--json')).stdout) as ExecutableRecord;
    expect(record).toMatchObject({ id: `gnu:${buildId}`, ids: { gnu: buildId }, fileName: 'bash' });
    expect((await symkeep('lookup', buildId!)).stdout).toContain(record.names[0]);
    expect((await symkeep('lookup', 'ab'.repeat(20))).code).toBe(1);
    expect((await symkeep('lookup', 'zz')).code).toBe(2);
    expect((await symkeep('doctor', '--json')).code).toBe(0);

    expect(await end(first.child, 'SIGTERM')).toBe(0);
    expect(await answers(join(data, 'redis/redis.sock'))).toBe(false);

    const second = await up();
    const again = JSON.parse((await symkeep('lookup', buildId!, '--json')).stdout) as ExecutableRecord;
    expect(again).toEqual(record);
    expect(second.executables).toBeGreaterThanOrEqual(first.executables / 2);
    // Redis started anew, so the agent asks whether it still has everything; it does, and nothing is sent again.
    const checked = 'symkeep_agent_checks_total{result="ok"}';
    await until(async () => ((await agentMetrics(second.agentUrl)).get(checked) ?? 0) > 2);
    const metrics = await agentMetrics(second.agentUrl);
    expect(metrics.get('symkeep_agent_snapshots_total{outcome="restored"}')).toBe(1);
    expect(metrics.get('symkeep_agent_reports_total{status="unchanged"}')).toBe(0);
    expect(metrics.get('symkeep_agent_checks_total{result="missing"}')).toBe(0);
  });

  it('refuses what it or its agent was told wrongly, in a line', async () => {
    for (const [name, value, says] of [
      ['SYMKEEP_AGENT_LISTN', '127.0.0.1:1', /^symkeep: SYMKEEP_AGENT_LISTN: no such option.*\n$/],
      ['SYMKEEP_AGENT_CYCLE', 'soon', /^symkeep: the agent: SYMKEEP_AGENT_CYCLE: is not a duration .*\n$/m],
    ] as const) {
      const right = environment;
      environment = { ...right, [name]: value };
      const { code, stderr } = await symkeep('up');
      environment = right;
      expect(stderr).toMatch(says);
      expect(code).toBe(2);
    }
  });

  it('is one per data directory and per port, and says so in a line', async () => {
    const first = await up();
    const same = await symkeep('up');
    expect(same.code).toBe(1);
    expect(same.stderr).toMatch(/^symkeep: .* is taken by another program.*\n$/);
    environment = {
      ...environment,
      SYMKEEP_LISTEN: `127.0.0.1:${await freePort()}`,
      SYMKEEP_AGENT_LISTEN: `127.0.0.1:${await freePort()}`,
    };
    const beside = await symkeep('up');
    expect(beside.code).toBe(1);
    expect(beside.stderr).toMatch(/^symkeep: another symkeep up runs on .*\n$/);
    expect((await fetch(`${first.url}/healthz`)).status).toBe(200);
  });

  it('takes its Redis and its agent with it when it is killed, and recovers what they held', async () => {
    const first = await up();
    const record = JSON.parse((await symkeep('lookup', buildId!, '--json')).stdout) as ExecutableRecord;
    await end(first.child, 'SIGKILL');
    const second = await up();
    const again = JSON.parse((await symkeep('lookup', buildId!, '--json')).stdout) as ExecutableRecord;
    expect(again.id).toBe(record.id);
    expect(await end(second.child, 'SIGINT')).toBe(0);
  });

  it('starts a Redis again that ends by itself', async () => {
    const { url } = await up();
    const log = join(data, 'redis/redis.log');
    const pid = Number(/^(\d+):/m.exec(readFileSync(log, 'utf8'))![1]);
    process.kill(pid, 'SIGKILL');
    await until(async () => (await fetch(`${url}/readyz`)).status === 503);
    await until(async () => (await fetch(`${url}/readyz`)).status === 200);
    expect((await symkeep('lookup', buildId!)).code).toBe(0);
  });
});

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
  return child.exitCode ?? child.signalCode!;
}

async function answers(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false;
  const client = connect(socket);
  return new Promise((resolve) => {
    client.once('connect', () => resolve(true)).once('error', () => resolve(false));
    client.once('close', () => client.destroy());
  });
}

async function agentMetrics(url: string): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const samples = text.split('\n').map((line) => /^([^#].*) (\S+)$/.exec(line));
  return new Map(samples.flatMap((one) => (one === null ? [] : [[one[1]!, Number(one[2])]])));
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
