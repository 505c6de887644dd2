// The agent runs for months on every host, so what its first second leaves behind counts: a process that compiled its own
// source keeps the compiler's memory, 25 MB and more, for as long as it runs, and V8 by default trades memory for speed
// that an agent does not need. So it starts over in place, on a filled compile cache: the same process ID, the
// same streams. Figures in docs/benchmarks.md.
import { flushCompileCache } from 'node:module';

/** How often it has started over: a cache that cannot be written must not make it do so for ever. */
const marker = '_SYMKEEP_AGENT_STARTS';

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
  const starts = Number(process.env[marker] ?? 0);
  // With other flags V8 takes another cache: the first time this one was empty as well, and the compiler is in memory.
  const isDone = starts === 1 ? !hasCompiled() : starts > 1;
  if (isDone || process.execve === undefined) return;
  flushCompileCache();
  const args = starts === 0 ? [...flags, ...process.execArgv] : process.execArgv;
  process.execve(process.execPath, [process.execPath, ...args, ...process.argv.slice(1)], {
    ...process.env,
    [marker]: String(starts + 1),
  });
}

/** Whether TypeScript was compiled, rather than read from the cache. */
function hasCompiled(): boolean {
  const { moduleLoadList = [] } = process as { moduleLoadList?: string[] };
  return moduleLoadList.some((name) => name.includes('amaro'));
}
