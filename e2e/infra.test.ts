// What infra/ holds is accepted by the programs it is for, where they are installed.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { ServerProcess } from './server-process.ts';

const infra = (name: string) => fileURLToPath(new URL(`../infra/${name}`, import.meta.url));
const isInstalled = (program: string) => spawnSync(program, ['--version']).error === undefined;

describe('infra', () => {
  it.skipIf(!redisAvailable)('redis.conf makes a Redis that is fit without a warning', async () => {
    const settings = readFileSync(infra('redis.conf'), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)] as const)
      .filter(([name]) => name !== 'bind' && name !== 'port')
      .map(([name, value]) => [name, value === '""' ? '' : value]);
    const redis = await TestRedis.start({ settings: Object.fromEntries(settings) });
    try {
      const server = await ServerProcess.start(`redis+unix://${redis.socket}`);
      await server.stop();
      const said = await redis.cli('INFO', 'memory');
      expect(said).toContain('maxmemory_policy:noeviction');
      const env = {
        ...process.env,
        REDIS_URL: `redis+unix://${redis.socket}`,
        SYMKEEP_DATA: redis.directory,
      };
      const launcher = fileURLToPath(new URL('../apps/symbol-server/bin/symkeep.js', import.meta.url));
      const { stdout } = spawnSync(process.execPath, [launcher, 'doctor', '--json'], {
        env,
        encoding: 'utf8',
      });
      const findings = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { check: string; state: string });
      expect(findings.filter(({ check }) => check === 'redis').map(({ state }) => state)).toEqual(['ok']);
    } finally {
      await redis.remove();
    }
  });

  it.skipIf(!isInstalled('systemd-analyze'))('systemd takes its units', () => {
    const units = ['server', 'worker', 'agent'].map((name) => infra(`systemd/symkeep-${name}.service`));
    const said = spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' });
    // Where the programs will be installed is not here.
    const complaints = said.stderr
      .split('\n')
      .filter((line) => line !== '' && !line.includes('is not executable'));
    expect(complaints).toEqual([]);
  });

  it.skipIf(!isInstalled('docker-compose'))('compose takes its file', () => {
    const directory = mkdtempSync(join(tmpdir(), 'sk-compose-'));
    try {
      for (const name of ['agent.env', 'tokens']) writeFileSync(join(directory, name), '');
      const args = ['-f', infra('compose.yaml'), '--project-directory', directory, 'config', '--services'];
      const { status, stdout, stderr } = spawnSync('docker-compose', args, { encoding: 'utf8' });
      expect([status, stderr]).toEqual([0, '']);
      expect(stdout.trim().split('\n').sort()).toEqual(['agent', 'redis', 'server', 'worker']);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('guard.sh is plain sh', () => {
    const guard = fileURLToPath(new URL('../apps/symbol-server/src/up/guard.sh', import.meta.url));
    expect(() => execFileSync('sh', ['-n', guard])).not.toThrow();
  });
});
