// A process that had to compile its own source keeps the compiler's memory, 25 MB and more, for as long as it runs. The
// agent runs for months on every host, so after a first start that filled the compile cache it starts over, in place:
// the same process ID, the same streams.
import { flushCompileCache, getCompileCacheDir } from 'node:module';

/** Says that this is the second start: a cache that cannot be written must not make a third. */
const marker = '_SYMKEEP_AGENT_WARM';

/** Does not return if the process starts over. */
export function startWarm(): void {
  const hasCompiled = (process as { moduleLoadList?: string[] }).moduleLoadList?.some((name) =>
    name.includes('amaro'),
  );
  if (hasCompiled !== true || process.env[marker] !== undefined || process.execve === undefined) return;
  if (getCompileCacheDir() === undefined) return;
  flushCompileCache();
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    ...process.env,
    [marker]: '1',
  });
}
