// Commands of a program: help, flags from option definitions, `--config FILE`, and one place that turns what a command
// throws into a line on stderr and an exit code: 0 done, 1 failed, 2 wrong use.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import {
  flagOf,
  type Options,
  type OtherVariables,
  resolveOptions,
  UsageError,
  type Values,
} from './options.ts';

/** A command whose values are checked before it runs. `run` resolves to the exit code. */
export interface CommandDefinition<O extends Options> {
  readonly name: string;
  readonly describe: string;
  /** Positional arguments in commander's form, as `<id> [address...]`. */
  readonly args?: string;
  readonly options: O;
  /** Lines below the options in `--help`: examples. */
  readonly more?: string;
  run(values: Values<O>, args: readonly string[]): Promise<number>;
}

export interface Program {
  readonly name: string;
  readonly describe: string;
  readonly version: string;
  /** Environment variables of all commands, so that one command does not refuse another's, and of other programs. */
  readonly variables: OtherVariables;
}

/** Runs one command of a program by `argv` (without node and script). Returns the exit code; writes to the streams given. */
export async function runProgram(
  about: Program,
  commands: readonly CommandDefinition<Options>[],
  argv: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  let code = 0;
  const others = { ...about.variables, known: [...about.variables.known, 'SYMKEEP_CONFIG'] };
  const program = new Command(about.name)
    .description(about.describe)
    .version(about.version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${about.name}: ${lineOf(text)}\n`) });
  for (const definition of commands) {
    const command = subcommand(program, definition);
    command.action(async () => {
      const { config, ...flags } = command.opts<Record<string, unknown> & { config?: string }>();
      const path = config ?? env.SYMKEEP_CONFIG;
      const sources = {
        flags,
        env,
        ...(path === undefined ? {} : { file: { path, text: readConfig(path) } }),
      };
      const values = await resolveOptions(definition.options, sources, others);
      code = await definition.run(values, command.args);
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    return exitCodeOf(error, about.name);
  }
}

/** `defineCommand` keeps the types of a command's own options while a list of commands forgets them. */
export function defineCommand<const O extends Options>(
  definition: CommandDefinition<O>,
): CommandDefinition<Options> {
  return { ...definition, run: (values, args) => definition.run(values as Values<O>, args) };
}

function subcommand(
  program: Command,
  { name, args, describe, options, more }: CommandDefinition<Options>,
): Command {
  const command = program.command(args === undefined ? name : `${name} ${args}`).description(describe);
  if (args === undefined) command.allowExcessArguments(false);
  for (const [key, { describe, placeholder, short, env }] of Object.entries(options)) {
    const flag = short === undefined ? flagOf(key) : `-${short}, ${flagOf(key)}`;
    command.option(placeholder === undefined ? flag : `${flag} ${placeholder}`, `${describe} (${env})`);
  }
  command.option('--config <file>', 'YAML file with any of these options (SYMKEEP_CONFIG)');
  if (more !== undefined) command.addHelpText('after', `\n${more}`);
  return command.exitOverride();
}

// Commander's message with its suggestion, as one line like all others.
function lineOf(text: string): string {
  return text
    .trim()
    .replace(/^error: /, '')
    .replaceAll('\n', ' ');
}

function readConfig(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError([`--config ${path}: cannot be read: ${(error as Error).message}`]);
  }
}

function exitCodeOf(error: unknown, program: string): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has printed its line
  if (error instanceof UsageError) {
    for (const mistake of error.mistakes) process.stderr.write(`${program}: ${mistake}\n`);
    return 2;
  }
  process.stderr.write(`${program}: ${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
}
