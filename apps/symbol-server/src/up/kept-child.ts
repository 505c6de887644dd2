// A child process that is started again when it ends: the agent of this host, a worker.
import type { Clock } from '@symkeep/cache';
import type { GuardedChild } from './guarded-child.ts';

/** Between a child's end and the next start; doubled each time, back to the first after a long life. */
const restartMsMin = 500;
const restartMsMax = 30_000;
const livedMs = 60_000;
/** It ends within a fraction of this when all is well. */
const stopMs = 2_500;
/** A left-over one ends at once, since its own starter is gone. */
export const lockSeconds = 5;

export interface KeptOptions {
  /** As people call it: `the agent`. */
  readonly name: string;
  readonly spawn: () => GuardedChild;
  /** Said when it ends by itself. */
  readonly onEnd: (why: string) => void;
  /** Takes it for refused instead: no further start would mend that. */
  readonly isRefusal?: (why: string) => boolean;
}

export interface KeptChild {
  stop(): Promise<void>;
}

export function keepChild({ name, spawn, onEnd, isRefusal }: KeptOptions, clock: Clock): KeptChild {
  let child: GuardedChild;
  let stopping = false;
  let pauseMs = restartMsMin / 2;
  let cancelRestart = (): void => undefined;

  const start = () => {
    const startedAt = clock.now();
    child = spawn();
    void child.ended.then((why) => {
      if (stopping || isRefusal?.(why) === true) return;
      pauseMs = clock.now() - startedAt > livedMs ? restartMsMin : Math.min(pauseMs * 2, restartMsMax);
      onEnd(`${name} ended (${why}); it is started again in ${pauseMs / 1_000} s`);
      cancelRestart = clock.setTimer(pauseMs, start);
    });
  };
  start();

  return {
    stop: () => {
      stopping = true;
      cancelRestart();
      return child.stop(stopMs, clock);
    },
  };
}
