export {
  byteSize,
  duration,
  flag,
  listenAddress,
  type Option,
  type OptionSources,
  type Options,
  option,
  resolveOptions,
  UsageError,
  type Values,
} from './options.ts';
export { type CommandDefinition, defineCommand, type Program, runProgram } from './program.ts';
