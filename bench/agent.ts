// The agent on a busy host: 1,000 processes that map 1,500 distinct executables. How long the first pass takes, and what
// the agent costs from then on, memory and processor, as its own metrics say: started as `npm start` does, and bundled.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bytesSource, identify } from '@symkeep/elf';
import { MemoryServer } from '../apps/agent-client/test/memory-server.ts';
import { bundleAgent } from '../tools/bundle-agent.ts';
import { median, Report } from './report.ts';

const processes = 1_000;
const files = 1_500;
const filesEach = 12;
/** Several passes at the agent's usual interval of 30 s; the first ten seconds are start-up. */
const settleMs = 10_000;
const steadyMs = 120_000;
const rounds = 5;
/** Megabytes: TypeScript as it is, whose compiler stays in memory, and JavaScript in one file. */
const memoryBars: Readonly<Record<string, number>> = { 'npm start': 100, bundled: 80 };

const agentBin = fileURLToPath(new URL('../apps/agent-client/bin/symkeep-agent.js', import.meta.url));
const program = fileURLToPath(new URL('agent/mapped-host.c', import.meta.url));

const directory = mkdtempSync(join(tmpdir(), 'symkeep-bench-'));
const children: ChildProcess[] = [];
try {
  await run();
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
}

async function run(): Promise<void> {
  const report = new Report('agent');
  makeFiles();
  const host = start(join(directory, 'mapped-host'), [
    directory,
    String(files),
    String(processes),
    String(filesEach),
  ]);
  await once(host.stdout!, 'data');
  const programs = { 'npm start': agentBin, bundled: await bundleAgent(join(directory, 'bundle')) };
  const memory = new MemoryServer();
  const server = await serve(memory);
  for (const [subject, program] of Object.entries(programs)) {
    const { scans, found } = await timeScans(program);
    report.add('first pass, command and all', subject, median(scans), 'ms');
    report.add('executables found', subject, found, 'executables');
    report.ratio(`bar of 3 s for the first pass, ${subject}`, 3_000 / median(scans));
  }
  const agents = await Promise.all(
    Object.entries(programs).map(async ([subject, program]) => {
      const agent = start(
        process.execPath,
        [program, 'run', '--listen', '127.0.0.1:0'],
        agentEnvironment(server, subject),
      );
      return { subject, address: await listeningAddress(agent) };
    }),
  );
  await sleep(settleMs);
  const before = await Promise.all(agents.map(({ address }) => readMetrics(address)));
  await sleep(steadyMs);
  const after = await Promise.all(agents.map(({ address }) => readMetrics(address)));
  for (const [at, { subject }] of agents.entries()) addSteady(report, subject, before[at]!, after[at]!);
  report.add('reported', 'both', memory.records.size, 'executables');
  server.close();
  server.closeAllConnections();
  report.publish();
}

function addSteady(
  report: Report,
  subject: string,
  before: Map<string, number>,
  after: Map<string, number>,
): void {
  const passes = difference('symkeep_agent_scans_total', before, after);
  const scanMs = 1_000 * difference('symkeep_agent_scan_cpu_seconds_total', before, after);
  const share = (1_000 * difference('process_cpu_seconds_total', before, after)) / steadyMs;
  const resident = after.get('process_resident_memory_bytes')!;
  const bar = memoryBars[subject]!;
  report.add('live executables', subject, after.get('symkeep_agent_executables')!, 'executables');
  report.add('resident memory, steady', subject, resident / 1e6, 'MB');
  report.add('processor, steady', subject, 100 * share, '% of a core');
  report.add('a further pass', subject, scanMs / passes, 'ms of processor');
  report.ratio(`bar of ${bar} MB, ${subject}`, (bar * 1e6) / resident);
  report.ratio(`bar of 0.5 % of a core, ${subject}`, 0.005 / share);
}

// One shared object, and copies of it that differ in their build ID, as the versions of a library do.
function makeFiles(): void {
  const library = join(directory, 'library.so');
  const source = join(directory, 'library.c');
  writeFileSync(source, 'int answer(void) { return 42; }\n');
  execFileSync('gcc', ['-shared', '-nostdlib', '-Wl,--build-id=sha1', '-o', library, source]);
  execFileSync('gcc', ['-O1', '-o', join(directory, 'mapped-host'), program]);
  const bytes = readFileSync(library);
  const id = Buffer.from(identify(bytesSource(bytes)).gnu!, 'hex');
  const at = bytes.indexOf(id);
  for (let file = 0; file < files; file++) {
    bytes.writeUInt32BE(file, at);
    writeFileSync(join(directory, `${file}.so`), bytes);
  }
}

async function timeScans(program: string): Promise<{ scans: number[]; found: number }> {
  const scans: number[] = [];
  let found = 0;
  for (let round = 0; round < rounds; round++) {
    const began = process.hrtime.bigint();
    const lines = execFileSync(process.execPath, [program, 'scan', '--json'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    scans.push(Number(process.hrtime.bigint() - began) / 1e6);
    found = lines.toString().split('\n').length - 1;
  }
  return { scans, found };
}

function serve(memory: MemoryServer): Promise<Server> {
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    const message = { method: request.method!, path: request.url!, headers: {}, body: Buffer.concat(chunks) };
    const { status, headers, body } = await memory.transport(message);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value!);
    response.writeHead(status).end(body);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

// Each has a directory of its own, and is told apart as a host.
function agentEnvironment(server: Server, subject: string): NodeJS.ProcessEnv {
  const { port } = server.address() as AddressInfo;
  return {
    ...process.env,
    SYMKEEP_SERVER: `http://127.0.0.1:${port}`,
    SYMKEEP_DATA: join(directory, subject),
    SYMKEEP_AGENT_HOST: subject,
  };
}

function start(command: string, args: readonly string[], env = process.env): ChildProcess {
  const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  return child;
}

function listeningAddress(agent: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    agent.stderr!.on('data', (chunk) => {
      const address = /"(127\.0\.0\.1:\d+)"/.exec(String(chunk))?.[1];
      if (address !== undefined) resolve(address);
    });
    agent.on('exit', (code) => reject(new Error(`the agent ended with ${code}`)));
  });
}

async function readMetrics(address: string): Promise<Map<string, number>> {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.split(' ')[0]!, Number(line.split(' ')[1])]));
}

function difference(name: string, before: Map<string, number>, after: Map<string, number>): number {
  return after.get(name)! - before.get(name)!;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
