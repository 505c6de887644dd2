// A table that one process puts into a real Redis, looked up over HTTP from two server processes.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { executableIdOf } from '../apps/symbol-server/src/elf-files.ts';
import { TestRedis } from '../tools/test-redis.ts';
import { until } from './fleet.ts';
import { launcher, ServerProcess } from './server-process.ts';

const run = promisify(execFile);
const fixture = fileURLToPath(new URL('../libs/symbols/fixtures/dwarf/gcc5', import.meta.url));
const id = executableIdOf(fixture);
/** The first instruction of `fibonacci`. */
const address = '0x401000';

let redis: TestRedis;
let servers: ServerProcess[];

beforeAll(async () => {
  redis = await TestRedis.start();
  const url = `redis+unix://${redis.socket}`;
  servers = [await ServerProcess.start(url), await ServerProcess.start(url)];
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  await redis.remove();
});

async function frameAt(server: ServerProcess): Promise<string> {
  const reply = await fetch(`${server.url}/v1/executables/${id}/frames/${address}`);
  if (!reply.ok) return `${reply.status}`;
  const { source, frames } = (await reply.json()) as {
    source: string;
    frames: { function: string; line: number }[];
  };
  return `${source}: ${frames.map((frame) => `${frame.function}:${frame.line}`).join(' < ')}`;
}

async function symkeep(...args: string[]) {
  const env = { ...process.env, REDIS_URL: `redis+unix://${redis.socket}` };
  return run(process.execPath, [launcher, ...args], { env });
}

describe('symkeep extract --store', () => {
  it('gives names to every server that runs, at once', async () => {
    for (const server of servers) expect(await frameAt(server)).toBe('404');
    const { stdout, stderr } = await symkeep('extract', fixture, '--store', '--stats');
    expect(JSON.parse(stdout)).toMatchObject({ quality: 'dwarf', damage: [] });
    expect(stderr).toContain(`${id}: published, generation `);
    for (const server of servers) {
      await until('the table is heard of', async () => {
        const found = await frameAt(server);
        return found === 'dwarf: fibonacci(int):16' || found;
      });
    }
  });

  it('changes nothing when it is done again', async () => {
    expect((await symkeep('extract', fixture, '--store')).stderr).toContain(': unchanged, ');
  });

  it('says why a file has no table, and ends with 1', async () => {
    const script = fileURLToPath(import.meta.url);
    await expect(symkeep('extract', script, '--store', '--id', id)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not_elf'),
    });
  });
});

describe('symkeep symbolize', () => {
  /** Exit code, and the lines of what it wrote to stdout and stderr. */
  async function symbolize(file: string, input: string) {
    const child = spawn(process.execPath, [launcher, 'symbolize', file], { stdio: 'pipe' });
    child.stdin.end(input);
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { code: child.exitCode ?? (await once(child, 'exit'))[0], out: out.trim().split('\n'), err };
  }

  it('answers addresses in every spelling, a JSON line each, without what is not known', async () => {
    const { code, out } = await symbolize(fixture, '401000\n0x401000\n\n 0X401000 \n1\n0xffffffffffffffff\n');
    expect(code).toBe(0);
    const frame = { function: 'fibonacci(int)', rawName: '_ZL9fibonaccii', file: '/src/one.cpp', line: 16 };
    const known = JSON.parse(out[0]!);
    expect(known).toMatchObject({ address: '0x401000', frames: [frame], source: 'dwarf' });
    expect(out.slice(1, 3)).toEqual([out[0], out[0]]);
    expect(out.slice(3).map((line) => JSON.parse(line))).toEqual([
      { address: '0x1', frames: [], source: 'none' },
      { address: '0xffffffffffffffff', frames: [], source: 'none' },
    ]);
  });

  it('gives the frames that a server would, innermost first', async () => {
    const expected = readFileSync(`${fixture}.expected`, 'utf8').split(/^(?=0x)/m);
    const inlined = expected.find((block) => block.trim().split('\n').length > 3)!;
    const [at, ...lines] = inlined.trim().split('\n');
    const { out } = await symbolize(fixture, `${at}\n`);
    const { frames } = JSON.parse(out[0]!) as { frames: { rawName: string; file: string; line: number }[] };
    expect(frames.flatMap(({ rawName, file, line }) => [rawName, `${file}:${line}`])).toEqual(lines);
  });

  it('ends with 2 on what is no address, with 1 on what is no ELF file', async () => {
    expect((await symbolize(fixture, 'main\n')).code).toBe(2);
    expect(await symbolize(fileURLToPath(import.meta.url), '1\n')).toMatchObject({ code: 1, out: [''] });
  });
});

describe('symkeep extract --threads', () => {
  it('makes the same table with any number of them', async () => {
    const tables = await Promise.all(
      ['1', '2', '3'].map((threads) => symkeep('extract', fixture, '--stats', '--threads', threads)),
    );
    const [first, ...others] = tables.map(({ stdout }) => JSON.parse(stdout));
    expect(first).toMatchObject({ quality: 'dwarf', damage: [] });
    for (const table of others) expect(table).toEqual(first);
  });

  it.each(['0', '65', 'two'])('refuses %s', async (threads) => {
    await expect(symkeep('extract', fixture, '--threads', threads)).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--threads: '),
    });
  });
});
