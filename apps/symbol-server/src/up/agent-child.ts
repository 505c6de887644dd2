// The agent of this host as a child process, started again when it ends.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Clock } from '@symkeep/cache';
import { UsageError } from '@symkeep/options';
import { type GuardedChild, startGuarded } from './guarded-child.ts';

/** Between an agent's end and the next start; doubled each time, back to the first after a long life. */
const restartMsMin = 500;
const restartMsMax = 30_000;
const livedMs = 60_000;
/** It flushes and ends within a fraction of this when the server answers. */
const stopMs = 2_500;
/** A left-over one ends at once, since its own starter is gone. */
const lockSeconds = 5;
/** How `ended` begins when the agent was used wrongly. */
const refusal = /^code 2: (symkeep-agent: )?/;

export interface AgentOptions {
  readonly server: string;
  /** `host:port`. */
  readonly listen: string;
  readonly data: string;
  /** Said when it ends by itself. */
  readonly onEnd: (why: string) => void;
  /** Its log goes to ours. */
  readonly verbose: boolean;
}

export interface AgentChild {
  /** Resolves to what the agent says of options that it refuses: no further start would mend them. */
  readonly refused: Promise<UsageError>;
  stop(): Promise<void>;
}

export function startAgent(options: AgentOptions, clock: Clock): AgentChild {
  let child: GuardedChild;
  let stopping = false;
  let pauseMs = restartMsMin / 2;
  let cancelRestart = (): void => undefined;
  const { promise: refused, resolve: refuse } = Promise.withResolvers<UsageError>();

  const start = () => {
    const startedAt = clock.now();
    child = spawnAgent(options);
    void child.ended.then((why) => {
      if (stopping) return;
      if (refusal.test(why)) return refuse(new UsageError([`the agent: ${why.replace(refusal, '')}`]));
      pauseMs = clock.now() - startedAt > livedMs ? restartMsMin : Math.min(pauseMs * 2, restartMsMax);
      options.onEnd(`the agent ended (${why}); it is started again in ${pauseMs / 1_000} s`);
      cancelRestart = clock.setTimer(pauseMs, start);
    });
  };
  start();

  return {
    refused,
    stop: () => {
      stopping = true;
      cancelRestart();
      return child.stop(stopMs, clock);
    },
  };
}

function spawnAgent({ server, listen, data, verbose }: AgentOptions): GuardedChild {
  const manifest = createRequire(import.meta.url).resolve('@symkeep/agent-client/package.json');
  const launcher = join(dirname(manifest), 'bin/symkeep-agent.js');
  const env = { ...process.env, SYMKEEP_SERVER: server, SYMKEEP_AGENT_LISTEN: listen, SYMKEEP_DATA: data };
  const command = [process.execPath, launcher, 'run'];
  return startGuarded({ lock: join(data, 'agent.lock'), lockSeconds, command, env, verbose });
}
