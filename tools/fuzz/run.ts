// npm run fuzz -- [--inputs N]: reads mutated files, sections, tables and names, each target in a process of its own with a limit
// on its memory. Every input follows from its seed. Exits with 1 if anything crashed, hung, or passed a limit.
import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { FuzzMessage, FuzzResult, FuzzTask } from './process.ts';
import { targets } from './targets.ts';

const usage = `usage: npm run fuzz -- [options]
  --inputs N      of all targets together (100000)
  --target NAME   this one only; may be repeated
  --seed N        the first one (1)
  --keep          keep one seed for each new outcome, and those of failures, in tools/fuzz/seeds.json
  --help          this text

Targets: ${targets.map(({ name }) => name).join(', ')}`;

/** A reader holds at most 64 MiB beside its input; the rest is Node, the fixtures, and garbage. */
const memoryBytesMax = 512 * 1024 ** 2;
const heapMegabytesMax = 256;
/** So many seeds of a target take part of a second in `npm test`. */
const keptMax = 60;
const seedsFile = new URL('./seeds.json', import.meta.url);

const { values: options } = parseArgs({
  options: {
    inputs: { type: 'string', default: '100000' },
    target: { type: 'string', multiple: true, default: [] },
    seed: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function runTarget(task: FuzzTask): Promise<FuzzResult> {
  return new Promise((resolve) => {
    let done = 0;
    let result: FuzzResult | undefined;
    const child = fork(new URL('./process.ts', import.meta.url), [JSON.stringify(task)], {
      execArgv: [`--max-old-space-size=${heapMegabytesMax}`],
    });
    child.on('message', (message: FuzzMessage) => {
      if ('result' in message) result = message.result;
      else {
        done = message.done;
        if (process.stderr.isTTY) process.stderr.write(`\r${task.target}: ${done} of ${task.inputs}`);
      }
    });
    child.on('exit', (code, signal) => {
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
      resolve(result ?? endedEarly(task.seed, done, `ended with ${signal ?? code}`));
    });
  });
}

function endedEarly(firstSeed: number, done: number, why: string): FuzzResult {
  const failures = [{ seed: firstSeed + done, why: `${why} at or after this seed` }];
  return { inputs: done, failures, outcomes: {}, slowestMs: 0, slowestSeed: 0, peakBytes: 0 };
}

function report(target: string, result: FuzzResult, seconds: number): boolean {
  const { inputs, failures, outcomes, slowestMs, slowestSeed, peakBytes } = result;
  const words = new Map<string, number>();
  for (const [outcome, { count }] of Object.entries(outcomes)) {
    const word = outcome.split(':')[0]!;
    words.set(word, count + (words.get(word) ?? 0));
  }
  const counts = [...words].sort((a, b) => b[1] - a[1]).map(([word, count]) => `${count} ${word}`);
  const kinds = Object.keys(outcomes).length;
  const megabytes = Math.round(peakBytes / 1024 ** 2);
  console.log(
    `${target}: ${inputs} inputs in ${seconds.toFixed(0)} s, ${failures.length} failed; ${kinds} outcomes: ${counts.join(', ')}; ` +
      `slowest ${slowestMs.toFixed(0)} ms (seed ${slowestSeed}); peak ${megabytes} MiB`,
  );
  for (const { seed, why } of failures) console.log(`  seed ${seed}: ${why}`);
  const isOver = peakBytes > memoryBytesMax;
  if (isOver) console.log(`  more memory than ${memoryBytesMax / 1024 ** 2} MiB`);
  return failures.length === 0 && !isOver;
}

function keep(target: string, { outcomes, failures }: FuzzResult): void {
  const seeds = JSON.parse(readFileSync(seedsFile, 'utf8')) as Record<string, number[]>;
  const found = [...failures, ...Object.values(outcomes)].map(({ seed }) => seed);
  const kept = [...new Set([...(seeds[target] ?? []), ...found])].slice(0, keptMax);
  const lines = Object.entries({ ...seeds, [target]: kept }).map(
    ([name, list]) => `  ${JSON.stringify(name)}: ${JSON.stringify(list).replaceAll(',', ', ')}`,
  );
  writeFileSync(seedsFile, `{\n${lines.join(',\n')}\n}\n`);
}

async function run(): Promise<boolean> {
  const chosen = targets.filter(({ name }) => options.target.length === 0 || options.target.includes(name));
  if (chosen.length === 0) throw new Error(`no such target\n${usage}`);
  const weights = chosen.reduce((sum, { weight }) => sum + weight, 0);
  let isGood = true;
  let inputs = 0;
  const started = performance.now();
  for (const { name, weight } of chosen) {
    const share = Math.ceil((Number(options.inputs) * weight) / weights);
    const start = performance.now();
    const result = await runTarget({ target: name, seed: Number(options.seed), inputs: share });
    isGood = report(name, result, (performance.now() - start) / 1_000) && isGood;
    inputs += result.inputs;
    if (options.keep) keep(name, result);
  }
  const minutes = (performance.now() - started) / 60_000;
  console.log(`${inputs} inputs in ${minutes.toFixed(1)} minutes: ${isGood ? 'nothing failed' : 'FAILED'}`);
  return isGood;
}

if (options.help) console.log(usage);
else process.exitCode = (await run()) ? 0 : 1;
