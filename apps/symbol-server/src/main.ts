// The program: its commands, and the clock that all of them are given.
import { readFileSync } from 'node:fs';
import { SystemClock } from '@symkeep/cache';
import { runProgram } from '@symkeep/options';
import { doctor } from './commands/doctor.ts';
import { extract } from './commands/extract.ts';
import { lookup } from './commands/lookup.ts';
import { serve } from './commands/serve.ts';
import { symbolize } from './commands/symbolize.ts';
import { token, tokenVariables } from './commands/token.ts';
import { up } from './commands/up.ts';
import { wanted } from './commands/wanted.ts';
import { variables } from './options.ts';

const clock = new SystemClock();
const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
const { version } = JSON.parse(manifest) as { version: string };

process.exitCode = await runProgram(
  {
    name: 'symkeep',
    describe: 'a symbol server for fleet-wide continuous profiling',
    version,
    // The agent has options of its own, which it checks itself.
    variables: { known: [...variables, ...tokenVariables], foreign: /^SYMKEEP_AGENT_/ },
  },
  [up(clock, version), serve(clock, version), lookup, wanted, symbolize, extract, doctor(clock), token],
  process.argv.slice(2),
);
