// The agent runs for months on every host, so what its first second leaves behind counts: a process that compiled its own
// source keeps the compiler's memory, 25 MB and more, for as long as it runs, and V8 by default trades memory for speed
// that an agent does not need. So it starts over once, in place, on a filled compile cache: the same process ID, the
// same streams. Figures in docs/benchmarks.md.
import { flushCompileCache } from 'node:module';

/** Says that this is the second start: there is no third. */
const marker = '_SYMKEEP_AGENT_WARM';

const flags = [
  // Garbage of a pass is collected in small steps, instead of growing the young generation to 16 MB twice.
  '--max-semi-space-size=1',
  // One helper thread of V8 instead of four, each of which keeps a heap of its own.
  '--v8-pool-size=1',
  // A tenth of a second of work each half minute: compiling it better costs 10 MB and gains no processor time.
  '--no-opt',
  '--no-maglev',
];

/** Does not return if the process starts over. */
export function startWarm(): void {
  if (process.env[marker] !== undefined || process.execve === undefined) return;
  flushCompileCache();
  process.execve(
    process.execPath,
    [process.execPath, ...flags, ...process.execArgv, ...process.argv.slice(1)],
    { ...process.env, [marker]: '1' },
  );
}
