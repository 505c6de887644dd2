// `symkeep push` as people and CI run it: what is sent, what is not, what the exit code says, and that a server that is
// away for a moment does not matter.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { launcher, ServerProcess } from './server-process.ts';
import { WorkerProcess } from './worker-process.ts';

const fixtures = fileURLToPath(new URL('../libs/elf/fixtures/', import.meta.url));
const buildId = '8c9e72df13abdc3cb3ab325156716669a66bdd51';

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Report {
  readonly pushed: number;
  readonly kept: number;
  readonly skipped: number;
  readonly failed: number;
  readonly files: readonly { path: string; status: string; id?: string; reason?: string; job?: string }[];
}

function push(url: string, ...args: string[]): Promise<Result> {
  const env = { ...process.env, SYMKEEP_SERVER: url };
  return new Promise((resolve) => {
    execFile(process.execPath, [launcher, 'push', ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: (error?.code as number | undefined) ?? 0, stdout, stderr }),
    );
  });
}

async function pushJson(url: string, ...args: string[]): Promise<Report & { code: number }> {
  const { code, stdout } = await push(url, '--json', ...args);
  return { code, ...(JSON.parse(stdout) as Report) };
}

describe.skipIf(!redisAvailable)('push', () => {
  let redis: TestRedis;
  let server: ServerProcess;
  let worker: WorkerProcess;
  let folder: string;
  let build: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sk-push-'));
    build = join(folder, 'build');
    mkdirSync(join(build, 'deep/er'), { recursive: true });
    const copy = (name: string, to: string) => cpSync(join(fixtures, name), join(build, to));
    copy('debug-stripped', 'server');
    copy('debug-only', 'deep/server.debug');
    copy('shapes-x86_64', 'deep/er/libshapes.so');
    copy('shapes-no-id', 'deep/er/no-id');
    copy('shapes.o', 'deep/er/shapes.o');
    copy('debug-plain.readelf', 'notes.txt');
    writeFileSync(join(build, 'empty'), '');
    writeFileSync(join(build, 'half'), Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]));
    // A link out, and one that never ends.
    symlinkSync('/usr/bin', join(build, 'out'));
    symlinkSync('..', join(build, 'deep/up'));
    redis = await TestRedis.start();
    const url = `redis+unix://${redis.socket}`;
    const blobs = join(folder, 'blobs');
    server = await ServerProcess.start(url, ['--blobs', blobs]);
    worker = await WorkerProcess.start(url, blobs);
  });

  afterAll(async () => {
    await worker?.stop();
    await server?.stop();
    await redis?.remove();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  it('sends what a build made, and returns once it can be looked up', async () => {
    const { code, files, ...counts } = await pushJson(server.url, '--wait', build);
    expect(files.filter(({ status }) => status === 'failed')).toEqual([]);
    expect([code, counts]).toEqual([0, { pushed: 4, kept: 0, skipped: 2, failed: 0 }]);
    const reasons = Object.fromEntries(
      files.map(({ path, reason }) => [path.slice(build.length + 1), reason]),
    );
    expect(reasons).toMatchObject({
      half: expect.stringContaining('ELF header'),
      'deep/er/shapes.o': 'it has no build ID',
    });
    const reply = await fetch(`${server.url}/v1/executables/${buildId}`);
    const record = (await reply.json()) as { fileName: string; symbols: { state: string; quality: string } };
    expect(record).toMatchObject({ fileName: 'server', symbols: { state: 'ready', quality: 'dwarf' } });
  });

  it('sends nothing that is there already', async () => {
    const { code, stdout, stderr } = await push(server.url, build);
    expect([code, stdout, stderr]).toEqual([0, '0 pushed, 0 kept, 6 skipped, 0 failed\n', '']);
  });

  it('sends a file that is named, through a link too, and meets it once', async () => {
    const link = join(folder, 'link');
    symlinkSync(join(build, 'server'), link);
    const { code, files } = await pushJson(server.url, link, join(build, 'server'), link);
    expect([code, files.map(({ status, reason }) => [status, reason])]).toEqual([0, [['skipped', 'known']]]);
  });

  it('fails by its exit code', async () => {
    expect((await push(server.url, join(folder, 'none'))).code).toBe(2);
    expect((await push(server.url)).code).toBe(2);
    expect((await push(server.url, '--parallel', '0', build)).code).toBe(2);
    const empty = mkdtempSync(join(folder, 'empty-'));
    const nothing = await push(server.url, empty);
    expect([nothing.code, nothing.stderr]).toEqual([1, 'no ELF files were found\n']);
    const help = await push(server.url, '--help');
    expect([help.code, help.stdout]).toEqual([0, expect.stringContaining('symkeep push')]);
  });

  it('is refused without a token that may, at once and for each file', async () => {
    const tokens = join(folder, 'tokens');
    const token = await created('reader', 'read', tokens);
    const closed = await ServerProcess.start(`redis+unix://${redis.socket}`, [
      ...['--blobs', join(folder, 'blobs'), '--tokens-file', tokens],
    ]);
    const { code, failed, files } = await pushJson(closed.url, '--token', token, join(build, 'server'));
    expect([code, failed, files[0]!.reason]).toEqual([1, 1, expect.stringContaining('403')]);
    await closed.stop();
  });

  it('comes back to a server that is busy, or breaks off', async () => {
    const flaky = await FlakyServer.start(4);
    const { code, pushed } = await pushJson(flaky.url, join(build, 'server'));
    expect([code, pushed, flaky.asked]).toEqual([0, 1, 5]);
    await flaky.stop();
  });

  it('shows a bar on a terminal alone', async () => {
    const plain = await push(server.url, build);
    expect(plain.stderr).toBe('');
    const command = `${process.execPath} ${launcher} push ${build}`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, SYMKEEP_SERVER: server.url },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const shown = await textOf(child);
    expect(shown).toMatch(/\[[# ]{24}\] +\d+%/);
    expect(shown).toContain('6 skipped');
  });
});

async function created(name: string, role: string, file: string): Promise<string> {
  const args = [launcher, 'token', 'create', name, '--role', role];
  return new Promise((resolve, reject) => {
    const env = { ...process.env, SYMKEEP_TOKENS_FILE: file };
    execFile(process.execPath, args, { env }, (error, stdout) =>
      error === null ? resolve(stdout.trim().split('\n').at(-1)!) : reject(error),
    );
  });
}

async function textOf(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout! as AsyncIterable<Buffer>) text += chunk.toString();
  return text;
}

/** Fails the first uploads in turn: busy, or cut off; then takes one. */
class FlakyServer {
  asked = 0;
  readonly #server: Server;
  readonly #failures: number;

  private constructor(failures: number) {
    this.#failures = failures;
    this.#server = createServer((request, response) => {
      if (request.method === 'HEAD') {
        response.end();
        return;
      }
      this.asked++;
      if (this.asked > this.#failures) {
        request.resume();
        request.once('end', () => {
          response.writeHead(202, { 'content-type': 'application/json' });
          response.end(JSON.stringify({ status: 'accepted', job: 'j' }));
        });
        return;
      }
      if (this.asked % 2 === 0) {
        request.socket.destroy();
        return;
      }
      response.writeHead(503, { 'content-type': 'application/json', 'retry-after': '0' });
      response.end(JSON.stringify({ error: { code: 'unavailable', message: 'busy' } }));
    });
  }

  static async start(failures: number): Promise<FlakyServer> {
    const flaky = new FlakyServer(failures);
    await new Promise<void>((resolve) => flaky.#server.listen(0, '127.0.0.1', resolve));
    return flaky;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
