// The program: its commands, and the clock that all of them are given.
import { readFileSync } from 'node:fs';
import { SystemClock } from '@symkeep/cache';
import { type CommandDefinition, type Options, runProgram } from '@symkeep/options';
import { variables } from './options.ts';

const clock = new SystemClock();
const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
const { version } = JSON.parse(manifest) as { version: string };

/**
 * In the order of the help. Only what is asked for is loaded: a short command takes less time than the files of the server
 * do.
 */
const commands: Readonly<Record<string, () => Promise<CommandDefinition<Options>>>> = {
  up: async () => (await import('./commands/up.ts')).up(clock, version),
  serve: async () => (await import('./commands/serve.ts')).serve(clock, version),
  worker: async () => (await import('./commands/worker.ts')).worker(clock),
  lookup: async () => (await import('./commands/lookup.ts')).lookup,
  push: async () => (await import('./commands/push.ts')).push(clock),
  backfill: async () => (await import('./commands/backfill.ts')).backfill(clock),
  wanted: async () => (await import('./commands/wanted.ts')).wanted,
  explain: async () => (await import('./commands/explain.ts')).explain,
  symbolize: async () => (await import('./commands/symbolize.ts')).symbolize,
  extract: async () => (await import('./commands/extract.ts')).extract(clock),
  rebuild: async () => (await import('./commands/rebuild.ts')).rebuild(clock),
  doctor: async () => (await import('./commands/doctor.ts')).doctor(clock),
  token: async () => (await import('./commands/token.ts')).token,
};
const argv = process.argv.slice(2);
const asked = Object.entries(commands).filter(([name]) => name === argv[0]);
const loaded = (asked.length > 0 ? asked : Object.entries(commands)).map(([, load]) => load());

process.exitCode = await runProgram(
  {
    name: 'symkeep',
    describe: 'a symbol server for fleet-wide continuous profiling',
    version,
    // The agent has options of its own, which it checks itself.
    variables: { known: variables, foreign: /^SYMKEEP_AGENT_/ },
  },
  await Promise.all(loaded),
  argv,
);
