// A table that one process puts into a real Redis, looked up over HTTP from two server processes.
import { execFile } from 'node:child_process';
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
