// A child process that ends when we do, however we end, and that holds a lock of the kernel's while it runs (guard.sh).
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@symkeep/cache';

const guard = fileURLToPath(new URL('./guard.sh', import.meta.url));
/** What the guard answers when another process holds the lock. */
const lockedCode = 75;
/** Of what the child wrote to stderr, the end, for the message when it ends. */
const keptBytes = 4_096;

export interface GuardedCommand {
  readonly lock: string;
  readonly lockSeconds: number;
  readonly command: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Its stderr is ours. */
  readonly verbose?: boolean;
}

export interface GuardedChild {
  /** Resolves when it ends, to why: `locked`, or its code or signal and the last line it said. */
  readonly ended: Promise<string>;
  /** Asks it to end, and ends it after `ms`. */
  stop(ms: number, clock: Clock): Promise<void>;
}

export function startGuarded({
  lock,
  lockSeconds,
  command,
  env,
  verbose = false,
}: GuardedCommand): GuardedChild {
  const child = spawn('sh', [guard, lock, String(lockSeconds), ...command], {
    stdio: ['pipe', 'ignore', verbose ? 'inherit' : 'pipe'],
    env: env ?? process.env,
    // A group of its own: the terminal's signals are for us, and it is ended in its turn.
    detached: true,
  });
  let tail = '';
  child.stderr?.on('data', (text: Buffer) => {
    tail = `${tail}${text.toString()}`.slice(-keptBytes);
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(whyOf(code, signal, tail)));
  });
  return { ended, stop: (ms, clock) => stop(child, ended, ms, clock) };
}

function whyOf(code: number | null, signal: string | null, tail: string): string {
  if (code === lockedCode) return 'locked';
  const last = tail.trimEnd().split('\n').at(-1) ?? '';
  return `${signal ?? `code ${code}`}${last === '' ? '' : `: ${last}`}`;
}

async function stop(child: ChildProcess, ended: Promise<string>, ms: number, clock: Clock): Promise<void> {
  child.stdin?.end();
  const cancel = clock.setTimer(ms, () => killGroup(child));
  await ended;
  cancel();
}

function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
}
