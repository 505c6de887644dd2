// The agent of this host as a child process, started again when it ends.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Clock } from '@symkeep/cache';
import { UsageError } from '@symkeep/options';
import { type GuardedChild, startGuarded } from './guarded-child.ts';
import { type KeptChild, keepChild, lockSeconds } from './kept-child.ts';

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

export interface AgentChild extends KeptChild {
  /** Resolves to what the agent says of options that it refuses: no further start would mend them. */
  readonly refused: Promise<UsageError>;
}

export function startAgent(options: AgentOptions, clock: Clock): AgentChild {
  const { promise: refused, resolve: refuse } = Promise.withResolvers<UsageError>();
  const isRefusal = (why: string) => {
    if (!refusal.test(why)) return false;
    refuse(new UsageError([`the agent: ${why.replace(refusal, '')}`]));
    return true;
  };
  const { onEnd } = options;
  const kept = keepChild({ name: 'the agent', spawn: () => spawnAgent(options), onEnd, isRefusal }, clock);
  return { refused, stop: () => kept.stop() };
}

function spawnAgent({ server, listen, data, verbose }: AgentOptions): GuardedChild {
  const manifest = createRequire(import.meta.url).resolve('@symkeep/agent-client/package.json');
  const launcher = join(dirname(manifest), 'bin/symkeep-agent.js');
  const env = {
    // One agent beside its server may well keep a request open; a fleet decides for itself.
    SYMKEEP_AGENT_EVENTS: 'follow',
    ...process.env,
    ...{ SYMKEEP_SERVER: server, SYMKEEP_AGENT_LISTEN: listen, SYMKEEP_DATA: data },
  };
  const command = [process.execPath, launcher, 'run'];
  return startGuarded({ lock: join(data, 'agent.lock'), lockSeconds, command, env, verbose });
}
