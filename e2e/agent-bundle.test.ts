// The agent as a fleet installs it: two files of JavaScript in a folder of their own, far from node_modules.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleAgent } from '../tools/bundle-agent.ts';
import { ask, until } from './fleet.ts';
import { FleetHost } from './fleet-host.ts';

describe('the bundled agent', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sk-bundle-'));
  const host = new FleetHost();
  let program: string;
  let agent: ChildProcess | undefined;
  beforeAll(async () => {
    program = await bundleAgent(join(directory, 'dist'));
  });
  afterAll(() => {
    agent?.kill('SIGKILL');
    rmSync(directory, { recursive: true });
    host.remove();
  });

  const run = (...args: string[]) =>
    execFileSync(process.execPath, [program, ...args], { cwd: '/', encoding: 'utf8' });

  it('is whole, of the version of the package, and needs nothing beside it', () => {
    const manifest = new URL('../apps/agent-client/package.json', import.meta.url);
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
    expect(run('--version')).toBe(`${version}\n`);
    expect(readdirSync(join(directory, 'dist')).sort()).toEqual(['main.mjs', 'symkeep-agent.mjs']);
  });

  it('identifies what the agent of the sources does', () => {
    const launcher = new URL('../apps/agent-client/bin/symkeep-agent.js', import.meta.url);
    const files = ['identify', '--json', process.execPath, '/bin/sh'];
    const expected = execFileSync(process.execPath, [launcher.pathname, ...files], { encoding: 'utf8' });
    expect(run(...files)).toBe(expected);
  });

  it('finds its host, answers without a server, and ends in order under the process ID it was started with', async () => {
    const [one] = host.run([1, 2, 3]);
    const data = join(directory, 'data');
    const places = ['--proc', host.proc, '--sys', host.sys, '--data', data, '--server', 'http://127.0.0.1:9'];
    agent = spawn(process.execPath, [program, 'run', ...places], { stdio: ['ignore', 'ignore', 'pipe'] });
    const place = { socketPath: join(data, 'agent/agent.sock') };
    await until('it knows what runs here', async () => {
      const { status, body } = await ask(place, `/v1/executables/${one!.ids[0]}`);
      return status === 200 || `status ${status}: ${body}`;
    });
    const exited = once(agent, 'exit');
    agent.kill('SIGTERM');
    expect((await exited)[0]).toBe(0);
    expect(readdirSync(join(data, 'agent'))).toEqual(['snapshot']);
  });
});
