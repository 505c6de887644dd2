// The agent on a busy host: 1,000 processes that map 1,500 distinct executables. How long the first pass takes, and what
// the agent costs from then on, memory and processor, as its own metrics say.
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
import { median, Report } from './report.ts';

const processes = 1_000;
const files = 1_500;
const filesEach = 12;
/** Several passes at the agent's usual interval of 30 s; the first ten seconds are start-up. */
const settleMs = 10_000;
const steadyMs = 120_000;
const rounds = 5;

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
  const { scans, found } = await timeScans();
  report.add('first pass, command and all', 'symkeep-agent scan', median(scans), 'ms');
  report.add('executables found', 'symkeep-agent scan', found, 'executables');
  const memory = new MemoryServer();
  const server = await serve(memory);
  const agent = start(
    process.execPath,
    [agentBin, 'run', '--listen', '127.0.0.1:0'],
    agentEnvironment(server),
  );
  const address = await listeningAddress(agent);
  await sleep(settleMs);
  const before = await readMetrics(address);
  await sleep(steadyMs);
  const after = await readMetrics(address);
  const passes = after.get('symkeep_agent_scans_total')! - before.get('symkeep_agent_scans_total')!;
  const scanMs = 1_000 * difference('symkeep_agent_scan_cpu_seconds_total', before, after);
  const share = (1_000 * difference('process_cpu_seconds_total', before, after)) / steadyMs;
  report.add('live executables', 'symkeep-agent run', after.get('symkeep_agent_executables')!, 'executables');
  report.add('reported', 'symkeep-agent run', memory.records.size, 'executables');
  report.add(
    'resident memory, steady',
    'symkeep-agent run',
    after.get('process_resident_memory_bytes')! / 1e6,
    'MB',
  );
  report.add('processor, steady', 'symkeep-agent run', 100 * share, '% of a core');
  report.add('a further pass', 'symkeep-agent run', scanMs / passes, 'ms of processor');
  report.ratio('bar of 3 s for the first pass', 3_000 / median(scans));
  report.ratio('bar of 100 MB', 100e6 / after.get('process_resident_memory_bytes')!);
  report.ratio('bar of 0.5 % of a core', 0.005 / share);
  server.close();
  server.closeAllConnections();
  report.publish();
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

async function timeScans(): Promise<{ scans: number[]; found: number }> {
  const scans: number[] = [];
  let found = 0;
  for (let round = 0; round < rounds; round++) {
    const began = process.hrtime.bigint();
    const lines = execFileSync(process.execPath, [agentBin, 'scan', '--json'], {
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

function agentEnvironment(server: Server): NodeJS.ProcessEnv {
  const { port } = server.address() as AddressInfo;
  return { ...process.env, SYMKEEP_SERVER: `http://127.0.0.1:${port}`, SYMKEEP_DATA: directory };
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
