// Real redis-server processes for tests: each in its own temporary directory, on a unix socket and a loopback
// port, ended by its process. Where redis-server is missing, `redisAvailable` is false and tests are skipped
// by name.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const slotCount = 16_384;

export const redisAvailable = isInstalled('redis-server') && isInstalled('redis-cli');

function isInstalled(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

export interface TestRedisOptions {
  /** Keep an append-only file, so that a restart finds the data again. */
  readonly appendOnly?: boolean;
  /** Further settings, by the names of redis.conf. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** One redis-server; it stays the same place (directory, socket, port) across restarts. */
export class TestRedis {
  readonly directory = mkdtempSync(join(tmpdir(), 'sk-redis-'));
  readonly socket = join(this.directory, 's');
  readonly port: number;
  readonly #settings: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;

  private constructor(port: number, { appendOnly = false, settings = {} }: TestRedisOptions) {
    this.port = port;
    const own = {
      bind: '127.0.0.1',
      save: '',
      'maxmemory-policy': 'noeviction',
      'repl-diskless-sync-delay': '0',
      appendonly: appendOnly ? 'yes' : 'no',
    };
    this.#settings = { ...own, ...settings };
  }

  static async start(options: TestRedisOptions = {}): Promise<TestRedis> {
    const redis = new TestRedis(await freePort(), options);
    await redis.start();
    return redis;
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('this redis-server is not running');
    return pid;
  }

  /** Starts the process and waits until it accepts connections. */
  async start(): Promise<void> {
    const place = { dir: this.directory, unixsocket: this.socket, port: String(this.port) };
    const args = Object.entries({ ...this.#settings, ...place }).flatMap(([name, value]) => [
      `--${name}`,
      value,
    ]);
    const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => process.removeListener('exit', end));
    this.#process = child;
    await lineOf(child, 'Ready to accept connections');
  }

  /** Ends the process, by default as a crash would. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** Suspends the process (it holds its connections and answers nothing), until `resume`. */
  suspend(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** Ends the process and removes its directory. */
  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Runs redis-cli against this server; an error reply is thrown. */
  async cli(...args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('redis-cli', ['-e', '-s', this.socket, ...args]);
    return stdout.trim();
  }

  /** Repeats a command until a line of its reply is this one. */
  async until(line: string, ...args: readonly string[]): Promise<void> {
    const repeated = ['-s', this.socket, '-r', '-1', '-i', '0.02', ...args];
    const child = spawn('redis-cli', repeated, { stdio: ['ignore', 'pipe', 'inherit'] });
    await lineOf(child, line);
    child.kill();
  }
}

/** Resolves at a line of a process's output that contains the text. */
async function lineOf({ stdout }: ChildProcess, text: string): Promise<void> {
  if (stdout === null) throw new Error('the output of this process is not read');
  const lines: string[] = [];
  for await (const line of createInterface({ input: stdout })) {
    lines.push(line);
    if (!line.includes(text)) continue;
    stdout.resume();
    return;
  }
  throw new Error(`the process ended before "${text}":\n${lines.join('\n')}`);
}

/**
 * Masters of one Cluster, each with an equal range of the slots. A master that is away leaves the others
 * serving.
 */
export class TestCluster {
  readonly masters: readonly TestRedis[];

  private constructor(masters: readonly TestRedis[]) {
    this.masters = masters;
  }

  static async start(count = 3): Promise<TestCluster> {
    const busPorts = await Promise.all(Array.from({ length: count }, freePort));
    const masters = await Promise.all(
      busPorts.map((port) => TestRedis.start({ settings: clusterSettings(port) })),
    );
    const cluster = new TestCluster(masters);
    await cluster.#join(busPorts);
    return cluster;
  }

  /** Addresses for a Cluster client. */
  get addresses(): { readonly host: string; readonly port: number }[] {
    return this.masters.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  async #join(busPorts: readonly number[]): Promise<void> {
    const [first] = this.masters;
    for (const [i, master] of this.masters.entries()) {
      const [from, to] = [i, i + 1].map((n) => Math.floor((n * slotCount) / this.masters.length));
      await master.cli('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to! - 1));
      await master.cli('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1));
      if (i > 0) await first!.cli('CLUSTER', 'MEET', '127.0.0.1', String(master.port), String(busPorts[i]));
    }
    // A node knows all slots a while before it serves them.
    for (const line of [`cluster_slots_ok:${slotCount}`, 'cluster_state:ok']) {
      await Promise.all(this.masters.map((master) => master.until(line, 'CLUSTER', 'INFO')));
    }
  }

  async remove(): Promise<void> {
    await Promise.all(this.masters.map((master) => master.remove()));
  }
}

function clusterSettings(busPort: number): Readonly<Record<string, string>> {
  return {
    'cluster-enabled': 'yes',
    'cluster-port': String(busPort),
    'cluster-node-timeout': '1000',
    'cluster-require-full-coverage': 'no',
  };
}

/** A port that nothing listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('a listening TCP server has a port');
  return address.port;
}
