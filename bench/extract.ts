// `symkeep extract` against `llvm-gsymutil-19 --convert` (Debian: llvm-19), in turn and as whole processes, start-up included:
// wall time, processor time, peak memory, and what is stored. The files are libc's and libjvm's debug files, as Debian's
// packages libc6-dbg and openjdk-17-dbg have them; BENCH_LIBC and BENCH_LIBJVM name others.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { measureInTurn, median, Report } from './report.ts';

const rounds = 5;
/** Whole processes have nothing to compile before; it brings the file into the page cache. */
const warmUps = 1;
const timeFormat = '%e %U %S %M';
const directory = mkdtempSync(join(tmpdir(), 'symkeep-bench-'));
const program = fileURLToPath(new URL('../apps/symbol-server/bin/symkeep.js', import.meta.url));
const output = (name: string) => join(directory, name);

interface Run {
  readonly wallMs: number;
  /** User and system: other load on the machine does not add to it as it does to the wall time. */
  readonly cpuMs: number;
  readonly peakMiB: number;
}

const subjects: Readonly<Record<string, (file: string) => readonly string[]>> = {
  'symkeep, 1 thread': (file) => symkeep(file, 1),
  'symkeep, 2 threads': (file) => symkeep(file, 2),
  gsymutil: (file) => [
    ...['llvm-gsymutil-19', '--convert', file, '--num-threads=1', '--quiet', '-o', output('gsym')],
  ],
};

try {
  await run();
} finally {
  rmSync(directory, { recursive: true });
}

async function run(): Promise<void> {
  for (const tool of ['/usr/bin/time', 'llvm-gsymutil-19']) {
    if (spawnSync(tool, ['--version']).error === undefined) continue;
    console.error(
      `extract: ${tool} is not installed (Debian: apt-get install time llvm-19); nothing was measured`,
    );
    return;
  }
  const report = new Report('extract');
  for (const [name, file] of Object.entries({ libc: findLibc(), libjvm: findLibjvm() })) {
    if (file === undefined)
      console.error(`extract: the debug file of ${name} is not installed; it is left out`);
    else await compare(report, name, file);
  }
  report.publish();
}

function symkeep(file: string, threads: number): string[] {
  return [
    process.execPath,
    program,
    'extract',
    file,
    '--threads',
    String(threads),
    '--output',
    output('skst'),
  ];
}

async function compare(report: Report, name: string, file: string): Promise<void> {
  const runs = new Map<string, Run[]>(Object.keys(subjects).map((subject) => [subject, []]));
  await measureInTurn(
    Object.entries(subjects).map(([subject, command]) => ({
      name: subject,
      sample: () => {
        const one = runOnce(command(file));
        runs.get(subject)?.push(one);
        return one.wallMs;
      },
    })),
    rounds,
    warmUps,
  );
  const medians = (value: (one: Run) => number) =>
    new Map([...runs].map(([subject, all]) => [subject, median(all.slice(-rounds).map(value))]));
  addAll(
    report,
    `${name}: wall`,
    medians(({ wallMs }) => wallMs),
    'ms',
  );
  addAll(
    report,
    `${name}: processor`,
    medians(({ cpuMs }) => cpuMs),
    'ms',
  );
  addAll(
    report,
    `${name}: peak memory`,
    medians(({ peakMiB }) => peakMiB),
    'MiB',
  );
  addStored(report, name, file);
}

function addAll(report: Report, what: string, values: ReadonlyMap<string, number>, unit: string): void {
  report.addAll(what, values, unit);
  const theirs = values.get('gsymutil')!;
  for (const [subject, value] of values) {
    if (subject !== 'gsymutil') report.ratio(`${what}, ${subject}`, theirs / value);
  }
}

function addStored(report: Report, name: string, file: string): void {
  const [node, ...args] = symkeep(file, 1);
  const stats = JSON.parse(execFileSync(node!, [...args, '--stats'], { encoding: 'utf8' })) as {
    readonly ranges: number;
    readonly functions: number;
  };
  const [ours, theirs] = [statSync(output('skst')).size, statSync(output('gsym')).size];
  report.add(`${name}: stored`, 'symkeep', ours, 'bytes');
  report.add(`${name}: stored`, 'gsymutil', theirs, 'bytes');
  report.add(`${name}: stored`, 'symkeep', ours / stats.ranges, `bytes a range (${stats.ranges})`);
  report.add(`${name}: stored`, 'symkeep', ours / stats.functions, `bytes a function (${stats.functions})`);
  report.ratio(`${name}: stored`, theirs / ours);
}

function runOnce(command: readonly string[]): Run {
  const { status, stderr } = spawnSync('/usr/bin/time', ['-f', timeFormat, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}: ${stderr}`);
  const [wall, user, system, peak] = stderr.trim().split('\n').at(-1)!.split(' ').map(Number);
  return { wallMs: 1_000 * wall!, cpuMs: 1_000 * (user! + system!), peakMiB: peak! / 1_024 };
}

function findLibc(): string | undefined {
  return process.env.BENCH_LIBC ?? debugFileOf('/lib/x86_64-linux-gnu/libc.so.6');
}

/** By build ID of the library if that is installed, else the largest file of the package. */
function findLibjvm(): string | undefined {
  const asked = process.env.BENCH_LIBJVM;
  if (asked !== undefined) return asked;
  const { stdout } = spawnSync('dpkg', ['-L', 'openjdk-17-dbg'], { encoding: 'utf8' });
  const files = stdout.split('\n').filter((path) => path.endsWith('.debug') && existsSync(path));
  return files.toSorted((a, b) => statSync(b).size - statSync(a).size)[0];
}

function debugFileOf(library: string): string | undefined {
  if (!existsSync(library)) return undefined;
  const said = execFileSync('readelf', ['-n', library], { encoding: 'utf8' });
  const id = /Build ID: (\w+)/.exec(said)?.[1] ?? '';
  const path = `/usr/lib/debug/.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`;
  return existsSync(path) ? path : undefined;
}
