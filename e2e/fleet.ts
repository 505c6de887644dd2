// A fleet on one machine: real server and agent processes, killed and started again at the same address, and HTTP to
// them. Nothing here waits for a fixed time: `until` asks again and again until something holds.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SystemClock } from '@symkeep/cache';
import { type Executable, FleetHost } from './fleet-host.ts';
import { launcher } from './server-process.ts';

const agentLauncher = fileURLToPath(new URL('../apps/agent-client/bin/symkeep-agent.js', import.meta.url));
/** Of what a process logged last, for the failure that may need it. */
const logCharactersMax = 4_000;
const idsPerLookup = 1_000;
const pollMs = 40;
const patienceMs = 60_000;

export const clock = new SystemClock();

/** Asks until the answer is true; until then it is what is missing, in words. */
export async function until(
  what: string,
  ask: () => Promise<true | string>,
  deadlineMs = patienceMs,
): Promise<void> {
  const deadline = clock.now() + deadlineMs;
  for (let answer = await ask(); answer !== true; answer = await ask()) {
    if (clock.now() > deadline) throw new Error(`waited in vain until ${what}: ${answer}`);
    await clock.sleep(pollMs);
  }
}

export interface Reply {
  /** 0: nobody answered. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Where a process listens. */
type Place = { readonly port: number } | { readonly socketPath: string };

/** One request on a connection of its own. */
export function ask(place: Place, path: string, message?: unknown): Promise<Reply> {
  const body = message === undefined ? undefined : JSON.stringify(message);
  return new Promise((resolve) => {
    const asked = request({
      ...{ host: '127.0.0.1', ...place, path, agent: false },
      method: body === undefined ? 'GET' : 'POST',
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
    });
    const nobody = (error: Error) => resolve({ status: 0, headers: {}, body: error.message });
    asked.on('error', nobody);
    asked.on('response', async (response) => {
      const { statusCode: status = 0, headers } = response;
      try {
        resolve({ status, headers, body: Buffer.concat(await response.toArray()).toString() });
      } catch (error) {
        nobody(error as Error);
      }
    });
    asked.end(body);
  });
}

export interface FoundRecord {
  readonly id: string;
  readonly ids: {
    readonly gnu?: string;
    readonly htlhash: readonly string[];
    readonly go: readonly string[];
  };
  readonly names: readonly string[];
}

/** What a process says of each ID: a record, or the code of the error. */
export async function lookup(place: Place, ids: readonly string[]): Promise<(FoundRecord | string)[]> {
  const found: (FoundRecord | string)[] = [];
  for (let from = 0; from < ids.length; from += idsPerLookup) {
    const asked = ids.slice(from, from + idsPerLookup);
    const { status, body } = await ask(place, '/v1/executables/lookup', { ids: asked });
    if (status !== 200) {
      found.push(...asked.map(() => `status ${status}`));
      continue;
    }
    const { results } = JSON.parse(body) as { results: { record?: FoundRecord; error?: { code: string } }[] };
    found.push(...results.map(({ record, error }) => record ?? error?.code ?? ''));
  }
  return found;
}

/** The ID of the record that a process gives for each ID, or the code of the error. */
export async function outcomes({ place }: Server | Agent, ids: readonly string[]): Promise<string[]> {
  return (await lookup(place, ids)).map((found) => (typeof found === 'string' ? found : found.id));
}

/** Of each executable, every ID that does not lead to its record, with what was answered instead. */
export async function missing(place: Place, executables: readonly Executable[]): Promise<string[]> {
  const ids = executables.flatMap((one) => one.ids.map((id) => ({ id, home: one.ids[0]! })));
  const found = await lookup(
    place,
    ids.map(({ id }) => id),
  );
  return ids.flatMap(({ id, home }, at) => {
    const answer = found[at]!;
    if (typeof answer === 'string') return [`${id} is ${answer}`];
    return answer.id === home ? [] : [`${id} leads to ${answer.id}`];
  });
}

/** Every record that a server lists. */
export async function listed(place: Place): Promise<FoundRecord[]> {
  const records: FoundRecord[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const from: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const { status, body } = await ask(place, `/v1/executables?limit=100${from}`);
    if (status !== 200) throw new Error(`the list ended with ${status}: ${body}`);
    const page = JSON.parse(body) as { items: FoundRecord[]; nextCursor?: string | null };
    records.push(...page.items);
    cursor = page.nextCursor ?? null;
  }
  return records;
}

// Variables of the shell that runs the tests are not for the processes under test.
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(SYMKEEP_|REDIS_URL$|NODE_OPTIONS$)/.test(name)),
);

/** A process that is the same place across restarts. */
abstract class Program {
  #child: ChildProcess | undefined;
  /** The end of what it logged, over all its lives. */
  log = '';

  protected abstract command(): readonly string[];
  abstract get place(): Place;

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the process; it is not ready yet. */
  launch(): ChildProcess {
    const child = spawn(process.execPath, this.command(), {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const end = () => void child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => process.off('exit', end));
    child.stderr.on('data', (text: Buffer) => {
      this.log = (this.log + text.toString()).slice(-logCharactersMax);
    });
    this.#child = child;
    return child;
  }

  /** Resolves once it answers. */
  async ready(): Promise<void> {
    await until(`process ${this.pid} answers`, async () => {
      if (!this.isRunning) throw new Error(`it ended: ${this.log}`);
      const { status } = await ask(this.place, '/healthz');
      return status === 200 || `status ${status}`;
    });
  }

  /** Ends it, by default as a crash would; resolves to its exit code, or the signal that ended it. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | NodeJS.Signals | null> {
    const child = this.#child;
    if (child === undefined) return null;
    if (this.isRunning) {
      const exited = once(child, 'exit');
      child.kill(signal);
      await exited;
    }
    return child.exitCode ?? child.signalCode;
  }

  /** All numbers of its metrics, by name and labels as they stand in the text. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const { body } = await ask(this.place, '/metrics');
    const lines = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new Map(lines.map((line) => [line.replace(/ \S+$/, ''), Number(line.split(' ').at(-1))]));
  }

  /** The sum of a metric over all its labels; 0 if there is none. */
  async metric(name: string): Promise<number> {
    return sum(await this.metrics(), name);
  }

  ask(path: string, message?: unknown): Promise<Reply> {
    return ask(this.place, path, message);
  }
}

export function sum(metrics: ReadonlyMap<string, number>, name: string): number {
  const own = [...metrics].filter(([full]) => full === name || full.startsWith(`${name}{`));
  return own.reduce((total, [, value]) => total + value, 0);
}

export class Server extends Program {
  readonly #args: readonly string[];
  #port = 0;

  constructor(redisUrl: string, args: readonly string[] = []) {
    super();
    this.#args = ['--redis-url', redisUrl, '--log-level', 'error', ...args];
  }

  get place(): { readonly port: number } {
    return { port: this.#port };
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<this> {
    const { stdout } = this.launch();
    for await (const line of createInterface({ input: stdout! })) {
      this.#port = Number(new URL((JSON.parse(line) as { url: string }).url).port);
      break;
    }
    await this.ready();
    return this;
  }

  /** What the server calls the present state of the store. */
  async epoch(): Promise<string> {
    return String((await this.ask('/v1/info')).headers['symkeep-epoch'] ?? '');
  }

  protected override command(): readonly string[] {
    return [launcher, 'serve', '--json', '--listen', `127.0.0.1:${this.#port}`, ...this.#args];
  }
}

export class Agent extends Program {
  readonly host = new FleetHost();
  readonly data = mkdtempSync(join(tmpdir(), 'sk-agent-'));
  readonly #server: Server;
  readonly #cycle: string;
  readonly #args: readonly string[];

  constructor(server: Server, cycle: string, args: readonly string[] = []) {
    super();
    this.#server = server;
    this.#cycle = cycle;
    this.#args = args;
  }

  get place(): { readonly socketPath: string } {
    return { socketPath: join(this.data, 'agent/agent.sock') };
  }

  async start(): Promise<this> {
    this.launch();
    await this.ready();
    return this;
  }

  /** Whether all of its host is reported and acknowledged, nothing waits, and nothing was lost on the way. */
  async settled(): Promise<true | string> {
    const metrics = await this.metrics();
    const { live } = this.host;
    const found = metrics.get('symkeep_agent_executables') ?? 0;
    if (found !== live) return `${found} of ${live} executables found`;
    const waiting = sum(metrics, 'symkeep_agent_queue') + sum(metrics, 'symkeep_agent_checks_waiting');
    if (waiting > 0) return `${waiting} executables wait`;
    const marks = sum(metrics, 'symkeep_agent_marks');
    return marks >= live || `${marks} of ${live} acknowledged`;
  }

  remove(): void {
    rmSync(this.data, { recursive: true, force: true });
    this.host.remove();
  }

  protected override command(): readonly string[] {
    const { proc, sys } = this.host;
    const own = ['--proc', proc, '--sys', sys, '--data', this.data, '--host', this.data];
    return [
      ...[agentLauncher, 'run', '--server', this.#server.url, ...own],
      ...['--cycle', this.#cycle, '--scan-interval', '1s', ...this.#args],
    ];
  }
}

/** Servers, agents, and whatever they run on: removed as one. */
export class Fleet {
  readonly servers: Server[] = [];
  readonly agents: Agent[] = [];

  /** A server on the Redis at this URL. */
  async addServer(redisUrl: string, args: readonly string[] = []): Promise<Server> {
    const server = new Server(redisUrl, args);
    this.servers.push(server);
    return server.start();
  }

  /** An agent of a host that runs these executables; if not told, it reports to the servers in turn. */
  async addAgent(
    numbers: readonly number[],
    cycle: string,
    server = this.servers[this.agents.length % this.servers.length]!,
    args: readonly string[] = [],
  ): Promise<Agent> {
    const agent = new Agent(server, cycle, args);
    this.agents.push(agent);
    agent.host.run(numbers);
    return agent.start();
  }

  /** All that any host runs, each content once. */
  get executables(): Executable[] {
    const all = this.agents.flatMap(({ host }) => host.executables);
    return [...new Map(all.map((one) => [one.ids[0], one])).values()];
  }

  async settled(): Promise<true | string> {
    for (const [at, agent] of this.agents.entries()) {
      const state = await agent.settled();
      if (state !== true) return `agent ${at}: ${state}\n${agent.log}`;
    }
    return true;
  }

  /** Whether every server answers with the right record to every ID of every executable. */
  async whole(): Promise<true | string> {
    for (const [at, server] of this.servers.entries()) {
      const gaps = await missing(server.place, this.executables);
      if (gaps.length > 0) return `server ${at} lacks ${gaps.length} IDs, as ${gaps[0]}\n${server.log}`;
    }
    return true;
  }

  async remove(): Promise<void> {
    await Promise.all([...this.agents, ...this.servers].map((program) => program.end()));
    for (const agent of this.agents) agent.remove();
  }
}

/** Whole numbers from `from`, as many as `count`. */
export function numbers(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => from + at);
}
