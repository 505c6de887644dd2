// The process in which one target reads its inputs: what must not happen there harms nobody else, and is told to run.ts.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Fuzz } from './target.ts';
import { targets } from './targets.ts';

/** Of one small input. */
const inputMsMax = 1_000;
/** A machine that does other things may take long once, or twice. */
const attemptsMax = 3;
const progressMs = 1_000;
const failuresMax = 20;
/** Distinct outcomes that are told apart; more are counted by their word. */
const outcomesMax = 400;

export interface FuzzTask {
  readonly target: string;
  readonly seed: number;
  readonly inputs: number;
}

export interface FuzzResult {
  readonly inputs: number;
  readonly failures: readonly { readonly seed: number; readonly why: string }[];
  /** How often each outcome was, and the first seed that had it. */
  readonly outcomes: Readonly<Record<string, { count: number; readonly seed: number }>>;
  readonly slowestMs: number;
  readonly slowestSeed: number;
  readonly peakBytes: number;
}

export type FuzzMessage = { readonly done: number } | { readonly result: FuzzResult };

const { target: name, seed: firstSeed, inputs } = JSON.parse(process.argv[2] ?? '') as FuzzTask;
const target = targets.find((known) => known.name === name);
if (target === undefined) throw new Error(`no target ${name}`);

const current = new Int32Array(new SharedArrayBuffer(4)).fill(-1);
const watch = new Worker(new URL('./watch.ts', import.meta.url), { workerData: { current, name } });
await once(watch, 'message');
const result = run(target.open());
await new Promise((sent) => process.send?.({ result }, sent));
process.exit(0);

function run(fuzz: Fuzz): FuzzResult {
  const failures: { seed: number; why: string }[] = [];
  const outcomes: Record<string, { count: number; seed: number }> = {};
  const slowest = { ms: 0, seed: 0 };
  let kinds = 0;
  let done = 0;
  let told = performance.now();
  for (; done < inputs && failures.length < failuresMax; done++) {
    const seed = firstSeed + done;
    Atomics.store(current, 0, seed);
    try {
      const { outcome, ms } = timed(fuzz, seed);
      if (ms > slowest.ms) Object.assign(slowest, { ms, seed });
      if (ms > inputMsMax) failures.push({ seed, why: `${Math.round(ms)} ms` });
      const key = outcome in outcomes || kinds < outcomesMax ? outcome : outcome.split(':')[0]!;
      const known = outcomes[key];
      if (known === undefined) {
        outcomes[key] = { count: 1, seed };
        kinds++;
      } else known.count++;
    } catch (error) {
      failures.push({ seed, why: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
    const now = performance.now();
    if (now - told > progressMs) {
      told = now;
      process.send?.({ done: done + 1 });
    }
  }
  const peakBytes = 1024 * process.resourceUsage().maxRSS;
  return { inputs: done, failures, outcomes, slowestMs: slowest.ms, slowestSeed: slowest.seed, peakBytes };
}

/** The least of some attempts if the first is over the limit. */
function timed(fuzz: Fuzz, seed: number): { readonly outcome: string; readonly ms: number } {
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; ; attempt++) {
    const start = performance.now();
    const outcome = fuzz(seed);
    least = Math.min(least, performance.now() - start);
    if (least <= inputMsMax || attempt + 1 === attemptsMax) return { outcome, ms: least };
  }
}
