// A real `symkeep worker` process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { launcher } from './server-process.ts';

export class WorkerProcess {
  readonly child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  /** Starts one, and waits until it takes jobs. With `onLine` its log is given line by line, else it is the test's. */
  static async start(
    redisUrl: string,
    blobs: string,
    concurrency = 2,
    args: readonly string[] = [],
    onLine?: (line: string) => void,
  ): Promise<WorkerProcess> {
    const options = ['--json', '--blobs', blobs, '--concurrency', String(concurrency), ...args];
    const child = spawn(process.execPath, [launcher, 'worker', ...options], {
      env: { ...process.env, REDIS_URL: redisUrl, SYMKEEP_LOG_LEVEL: 'error' },
      stdio: ['ignore', 'pipe', onLine === undefined ? 'inherit' : 'pipe'],
    });
    if (onLine !== undefined) createInterface({ input: child.stderr! }).on('line', onLine);
    for await (const _ of createInterface({ input: child.stdout! })) return new WorkerProcess(child);
    throw new Error('symkeep worker ended before it took jobs');
  }

  /** Ends it; resolves to its exit code, or the signal that ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    const { exitCode, signalCode } = this.child;
    if (exitCode !== null || signalCode !== null) return exitCode ?? signalCode!;
    const exited = once(this.child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    this.child.kill(signal);
    const [code, ended] = await exited;
    return code ?? ended!;
  }
}
