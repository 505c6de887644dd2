import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  byteSize,
  defineCommand,
  duration,
  flag,
  listenAddress,
  option,
  resolveOptions,
  runProgram,
  UsageError,
} from '@symkeep/options';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

const options = {
  listen: option(listenAddress.default({ host: '127.0.0.1', port: 1 }), {
    describe: 'address',
    env: 'SYMKEEP_LISTEN',
    placeholder: '<host:port>',
  }),
  idleAfter: option(duration.optional(), { describe: 'idle', env: 'SYMKEEP_IDLE', placeholder: '<time>' }),
  cache: option(byteSize.default(1), { describe: 'cache', env: 'SYMKEEP_CACHE', placeholder: '<size>' }),
  quiet: option(flag.default(false), { describe: 'quiet', env: 'SYMKEEP_QUIET' }),
};

async function mistakesOf(run: () => Promise<unknown>): Promise<readonly string[]> {
  try {
    await run();
  } catch (error) {
    if (error instanceof UsageError) return error.mistakes;
    throw error;
  }
  return [];
}

describe('options', () => {
  it('come from flags before the environment before the file before defaults', async () => {
    const file = { path: 'x.yaml', text: 'cache: 3KiB\nidleAfter: 5s\nquiet: true\n' };
    const env = { SYMKEEP_CACHE: '2KiB', SYMKEEP_LISTEN: '[::1]:80' };
    expect(await resolveOptions(options, { flags: { cache: '1KiB' }, env, file })).toEqual({
      listen: { host: '::1', port: 80 },
      idleAfter: 5_000,
      cache: 1_024,
      quiet: true,
    });
    expect(await resolveOptions(options, { flags: {}, env: {} })).toMatchObject({ cache: 1, quiet: false });
  });

  it('are refused with every mistake listed, where it was made', async () => {
    const file = { path: 'x.yaml', text: 'cashe: 1\nquiet: perhaps\n' };
    const env = { SYMKEEP_LISTEN: 'nowhere', SYMKEEP_LISTENN: 'x', SYMKEEP_OTHER: '1' };
    const flags = { idleAfter: 'soon' };
    expect(
      await mistakesOf(() => resolveOptions(options, { flags, env, file }, { known: ['SYMKEEP_OTHER'] })),
    ).toEqual([
      'x.yaml: unknown option cashe; did you mean cache?',
      'SYMKEEP_LISTEN: is not host:port',
      '--idle-after: is not a duration such as 250ms, 60s, 10m or 24h',
      'quiet (in the file): is neither true nor false',
      'SYMKEEP_LISTENN: no such option; did you mean SYMKEEP_LISTEN?',
    ]);
  });

  it('leave the variables of other programs to them, but for what is nearly one of ours', async () => {
    const env = { SYMKEEP_AGENT_HOST: 'x', SYMKEEP_AGENT_CYCEL: 'x', SYMKEEP_QUITE: '1' };
    const others = { known: [], foreign: /^SYMKEEP_(AGENT_|QUI)/ };
    expect(await mistakesOf(() => resolveOptions(options, { flags: {}, env }, others))).toEqual([
      'SYMKEEP_QUITE: no such option; did you mean SYMKEEP_QUIET?',
    ]);
  });

  it('refuse a file that is no map', async () => {
    const read = (text: string) =>
      mistakesOf(() => resolveOptions(options, { flags: {}, env: {}, file: { path: 'f', text } }));
    expect(await read('- a\n')).toEqual(['f: not a map of options']);
    expect((await read('a: ['))[0]).toMatch(/^f: not YAML/);
  });

  it.each([
    ['127.0.0.1:0', true],
    ['localhost:65535', true],
    ['127.0.0.1:65536', false],
    ['8520', false],
    ['::1:80', false],
  ])('takes the address %s: %s', (text, good) => {
    expect(listenAddress.safeParse(text).success).toBe(good);
  });
});

describe('a program', () => {
  let said: string;
  let folder: string;
  const run = vi.fn(async () => 0);
  const command = defineCommand({ name: 'go', describe: 'goes', args: '<where> [more...]', options, run });
  const about = {
    name: 'prog',
    describe: 'does',
    version: '1.2.3',
    variables: { known: ['SYMKEEP_ELSEWHERE'] },
  };
  const start = (argv: string[], env = {}) => runProgram(about, [command], argv, env);

  beforeEach(() => {
    said = '';
    folder = mkdtempSync(join(tmpdir(), 'options-'));
    run.mockClear();
    for (const stream of [process.stdout, process.stderr]) {
      vi.spyOn(stream, 'write').mockImplementation((text) => {
        said += text;
        return true;
      });
    }
  });
  afterEach(() => {
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true });
  });

  it('runs a command with its values and arguments', async () => {
    const config = join(folder, 'c.yaml');
    writeFileSync(config, 'quiet: true\n');
    expect(
      await start(['go', 'there', 'x', '--cache', '1KiB', '--config', config], { SYMKEEP_ELSEWHERE: '1' }),
    ).toBe(0);
    expect(run).toHaveBeenCalledWith(expect.objectContaining({ cache: 1_024, quiet: true }), ['there', 'x']);
  });

  it.each([
    ['a wrong value', ['go', 'there', '--listen', 'x'], /prog: --listen: is not host:port\n/],
    ['an unknown flag', ['go', 'there', '--wat'], /^prog: unknown option '--wat'\n$/],
    [
      'a misspelt flag',
      ['go', 'there', '--quite'],
      /^prog: unknown option '--quite' \(Did you mean --quiet\?\)\n$/,
    ],
    ['an unknown command', ['fly'], /^prog: unknown command 'fly'\n$/],
    ['a missing argument', ['go'], /^prog: missing required argument 'where'\n$/],
    [
      'a file that is not there',
      ['go', 'there', '--config', '/nowhere/c.yaml'],
      /--config \/nowhere\/c.yaml: cannot be read/,
    ],
  ])('answers %s with a line and 2', async (_, argv, line) => {
    expect(await start(argv)).toBe(2);
    expect(said).toMatch(line);
    expect(run).not.toHaveBeenCalled();
  });

  it('answers a failure with a line and 1, and help with 0', async () => {
    run.mockRejectedValueOnce(new Error('no way'));
    expect(await start(['go', 'there'])).toBe(1);
    expect(said).toBe('prog: no way\n');
    expect(await start(['go', '--help'])).toBe(0);
    expect(said).toContain('SYMKEEP_LISTEN');
    expect(await start(['--version'])).toBe(0);
    expect(said).toContain('1.2.3');
  });
});
