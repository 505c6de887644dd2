// symkeep-agent: the only place of the agent that constructs things.
import { SystemClock } from '@symkeep/cache';
import { runProgram } from '@symkeep/options';
import { identifyCommand } from './commands/identify.ts';
import { runCommand } from './commands/run.ts';
import { scanCommand } from './commands/scan.ts';
import { outputOptions, runOptions } from './options.ts';
import { version } from './version.ts';

const variables = {
  known: [...Object.values(runOptions), ...Object.values(outputOptions)].map(({ env }) => env),
  foreign: /^(?!SYMKEEP_AGENT_)/,
};
const about = { name: 'symkeep-agent', describe: 'symkeep: the agent of one host', version, variables };
const commands = [runCommand(new SystemClock()), scanCommand, identifyCommand];

process.exitCode = await runProgram(about, commands, process.argv.slice(2));
