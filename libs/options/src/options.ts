// Options by flag, environment or YAML file, from one definition each: the flag, the variable, the key in the file, the
// check, the default and the help text are written down once. A flag goes before the environment, that before the file.
import { z } from 'zod';

/** Letters wrong, missing or too many in what is taken for a misspelt name. */
const editsMaxDefault = 3;
/** Two names of two programs may well be three apart. */
const foreignEditsMax = 2;

/** One option. Its name in code (camelCase) gives the flag (`--kebab-case`) and the key in the file. */
export interface Option<T> {
  readonly schema: z.ZodType<T>;
  readonly describe: string;
  /** Environment variable. */
  readonly env: string;
  /** Placeholder of the flag's value in the help, as `<host:port>`; none for a boolean flag. */
  readonly placeholder?: string;
  /** One letter, for a flag that people type often. */
  readonly short?: string;
}

export type Options = Readonly<Record<string, Option<unknown>>>;
export type Values<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

/** Wrong use of a command: every mistake in one line each. Commands exit with 2 on it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly mistakes: readonly string[];
  constructor(mistakes: readonly string[]) {
    super(mistakes.join('\n'));
    this.mistakes = mistakes;
  }
}

export function option<T>(schema: z.ZodType<T>, about: Omit<Option<T>, 'schema'>): Option<T> {
  return { schema, ...about };
}

export interface OptionSources {
  /** Values of flags by name in code; undefined where the flag was not given. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A YAML file's text, and its path for messages. */
  readonly file?: { readonly path: string; readonly text: string };
}

/** Variables that the options of a command do not name, and that are no mistakes all the same. */
export interface OtherVariables {
  /** Read by other commands of the same program. */
  readonly known: readonly string[];
  /** Of the other programs of an installation, which check them; one that is nearly ours is a misspelt one of ours. */
  readonly foreign?: RegExp;
}

/**
 * The values of all options. An environment variable `SYMKEEP_…` that no option has, or an unknown key in the file, is a
 * mistake as well: it is most often a misspelt one. Rejects with `UsageError` with every mistake.
 */
export async function resolveOptions<O extends Options>(
  options: O,
  { flags, env, file }: OptionSources,
  others: OtherVariables = { known: [] },
): Promise<Values<O>> {
  const mistakes: string[] = [];
  const inFile = file === undefined ? {} : await readFile(file, options, mistakes);
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    const [given, source] = pick(name, option, { flags, env, inFile });
    const parsed = option.schema.safeParse(given);
    if (parsed.success) values[name] = parsed.data;
    else for (const issue of parsed.error.issues) mistakes.push(`${source}: ${issue.message}`);
  }
  mistakes.push(...unknownVariables(options, env, others));
  if (mistakes.length > 0) throw new UsageError(mistakes);
  return values as Values<O>;
}

export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

// Text from flags and variables becomes a number, a boolean or a list by the option's schema (coercion stands there).
function pick(
  name: string,
  option: Option<unknown>,
  {
    flags,
    env,
    inFile,
  }: { flags: OptionSources['flags']; env: OptionSources['env']; inFile: Record<string, unknown> },
): [value: unknown, source: string] {
  if (flags[name] !== undefined) return [flags[name], flagOf(name)];
  const variable = env[option.env];
  if (variable !== undefined && variable !== '') return [variable, option.env];
  return [inFile[name], name in inFile ? `${name} (in the file)` : flagOf(name)];
}

async function readFile(
  { path, text }: { path: string; text: string },
  options: Options,
  mistakes: string[],
): Promise<Record<string, unknown>> {
  // Its 75 files take as long to load as many a command takes.
  const { parse: parseYaml } = await import('yaml');
  let parsed: unknown;
  try {
    parsed = parseYaml(text) ?? {};
  } catch (error) {
    mistakes.push(`${path}: not YAML: ${(error as Error).message.split('\n')[0]}`);
    return {};
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    mistakes.push(`${path}: not a map of options`);
    return {};
  }
  for (const key of Object.keys(parsed)) {
    if (!Object.hasOwn(options, key))
      mistakes.push(`${path}: unknown option ${key}${nearest(key, Object.keys(options))}`);
  }
  return parsed as Record<string, unknown>;
}

function unknownVariables(
  options: Options,
  env: OptionSources['env'],
  { known, foreign }: OtherVariables,
): string[] {
  const names = [...Object.values(options).map((option) => option.env), ...known];
  return Object.keys(env)
    .filter((name) => name.startsWith('SYMKEEP_') && !names.includes(name))
    .filter((name) => foreign?.test(name) !== true || nearest(name, names, foreignEditsMax) !== '')
    .map((name) => `${name}: no such option${nearest(name, names)}`);
}

function nearest(word: string, words: readonly string[], editsMax = editsMaxDefault): string {
  const best = words
    .map((other) => ({ other, distance: editDistance(word, other) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return best !== undefined && best.distance <= editsMax ? `; did you mean ${best.other}?` : '';
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(replace, row[j]! + 1, next[j - 1]! + 1);
    }
    row = next;
  }
  return row[b.length]!;
}

/** `host:port`, `[v6]:port`. Port 0 lets the system choose. */
export const listenAddress = z
  .string('is not host:port')
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):\d{1,5}$/, 'is not host:port')
  .transform((text) => {
    const colon = text.lastIndexOf(':');
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
  })
  .refine(({ port }) => port <= 65_535, 'has a port over 65535');

/** `true`/`false` in any source, a bare flag. */
export const flag = z
  .union([z.boolean(), z.enum(['true', 'false', '1', '0'])], 'is neither true nor false')
  .transform((value) => value === true || value === 'true' || value === '1');

const durationMistake = 'is not a duration such as 250ms, 60s, 10m or 24h';
/** A duration such as `250ms`, `60s`, `10m`, `24h`, in milliseconds. */
export const duration = z
  .string(durationMistake)
  .regex(/^\d+(\.\d+)?(ms|s|m|h)$/, durationMistake)
  .transform((text) => {
    const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[/[a-z]+$/.exec(text)![0]]!;
    return Number.parseFloat(text) * unit;
  });

/** A size such as `512KiB`, `64MiB`, `2GiB` or plain bytes. */
export const byteSize = z
  .union([z.string(), z.number()])
  .transform(String)
  .refine((text) => /^\d+(\.\d+)?(B|KiB|MiB|GiB)?$/.test(text), 'is not a size such as 512KiB, 64MiB or 2GiB')
  .transform((text) => {
    const unit = { '': 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[/[A-Za-z]*$/.exec(text)![0]]!;
    return Math.floor(Number.parseFloat(text) * unit);
  });
