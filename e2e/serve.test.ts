// The server as a process: its quick path answers as its general path does, several processes are one server, and it ends
// in order.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { decode, encode } from '@symkeep/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import { exchange, launcher, type RawReply, request, ServerProcess } from './server-process.ts';

const lookup = '/v1/executables/lookup';
const packed = { 'content-type': 'application/msgpack' };
const hash = (n: number) => n.toString(16).padStart(32, 'c');
const gnu = (n: number) => n.toString(16).padStart(40, 'a');
const executables = Array.from({ length: 150 }, (_, n) => ({
  ids: { gnu: gnu(n), htlhash: hash(n) },
  name: `/usr/lib/lib${n}.so`,
  size: n,
}));
const report = JSON.stringify({ agent: { host: 'h', version: '1' }, executables });
/** Of the commands that are run: not the one of who runs the tests. */
let dataDirectory = '';

describe.skipIf(!redisAvailable)('serve', () => {
  let redis: TestRedis;
  let url: string;

  beforeAll(async () => {
    redis = await TestRedis.start();
    dataDirectory = redis.directory;
    url = `redis+unix://${redis.socket}`;
  });
  afterAll(() => redis.remove());

  /** What two replies must share; the rest differs by nature (time, request ID). */
  function essence({ status, headers, body }: RawReply) {
    const named = ['content-type', 'cache-control', 'vary', 'etag', 'symkeep-epoch', 'content-length'];
    return { status, body, headers: Object.fromEntries(named.map((name) => [name, headers.get(name)])) };
  }

  describe('the quick path', () => {
    let server: ServerProcess;
    beforeAll(async () => {
      server = await ServerProcess.start(url);
      await exchange(server.port, request('POST', '/v1/executables', {}, report));
    });
    afterAll(() => server.stop());

    // A header that the quick path leaves to the general one, and that changes nothing.
    const general = { 'accept-encoding': 'identity', 'content-length': '0' };

    it.each([gnu(1), gnu(1).toUpperCase(), `gnu:${gnu(2)}`, `htlhash:${hash(3)}`])(
      'answers for %s',
      async (id) => {
        const path = `/v1/executables/${id}`;
        for (const headers of [{}, { accept: 'application/msgpack' }] as Record<string, string>[]) {
          await exchange(server.port, request('GET', path, headers));
          const quick = await exchange(server.port, request('GET', path, headers));
          const slow = await exchange(server.port, request('GET', path, { ...headers, ...general }));
          expect(quick.status).toBe(200);
          expect(essence(quick)).toEqual(essence(slow));
          const revalidated = { ...headers, 'if-none-match': quick.headers.get('etag')! };
          const unchanged = await exchange(server.port, request('GET', path, revalidated));
          expect(unchanged.status).toBe(304);
          expect(unchanged.body.length).toBe(0);
        }
      },
    );

    it.each([
      ['records', executables.slice(0, 100).map(({ ids }) => ids.gnu)],
      ['records by any ID, twice', [gnu(1), `gnu:${gnu(1)}`, `htlhash:${hash(1)}`, gnu(1)]],
      ['what is not known', [gnu(1), 'ab'.repeat(20), `htlhash:${'cd'.repeat(16)}`]],
      ['a Go ID and a long digest', [`go:${Buffer.from('a/b/c/d').toString('base64url')}`, 'ab'.repeat(32)]],
      ['wrong IDs', [gnu(1), 'zz', gnu(2)]],
      ['placeholders', ['00'.repeat(20), gnu(2), 'ff'.repeat(20)]],
      ['nothing', []],
    ])('answers a batch of %s', async (_name, ids) => {
      const body = encode({ ids }, 'msgpack');
      for (const round of ['cold', 'warm']) {
        const quick = await exchange(server.port, request('POST', lookup, packed, body));
        const slow = await exchange(
          server.port,
          request('POST', lookup, { ...packed, 'accept-encoding': 'identity' }, body),
        );
        expect(essence(quick), round).toEqual(essence(slow));
        expect((decode(quick.body, 'msgpack') as { results: unknown[] }).results).toHaveLength(ids.length);
      }
    });

    it('reads a body in as many pieces as it comes', async () => {
      const body = Buffer.from(encode({ ids: [gnu(1), gnu(2)] }, 'msgpack'));
      const [head] = request('POST', lookup, packed, body);
      const pieces = [...body].flatMap((_, at) => [body.subarray(at, at + 1), 1]);
      const whole = await exchange(server.port, request('POST', lookup, packed, body));
      expect(essence(await exchange(server.port, [head!, ...pieces]))).toEqual(essence(whole));
    });

    it('answers requests on one connection in their order', async () => {
      const ids = Array.from({ length: 100 }, (_, n) => gnu(n));
      const wire = ids.map((id) => `GET /v1/executables/${id} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`).join('');
      const socket = connect(server.port, '127.0.0.1');
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.split('HTTP/1.1 200').length === 101 && text.endsWith('}')) socket.end();
      });
      socket.write(wire);
      await once(socket, 'close');
      expect([...text.matchAll(/"id":"gnu:(\w+)"/g)].map(([, id]) => id)).toEqual(ids);
    });

    it('sends nothing of one reply in another, however slowly it is read', async () => {
      const bodies = [0, 50].map((from) =>
        encode({ ids: executables.slice(from, from + 100).map(({ ids }) => ids.gnu) }, 'msgpack'),
      );
      const expected = await Promise.all(
        bodies.map((body) => exchange(server.port, request('POST', lookup, packed, body))),
      );
      const replies = await Promise.all(
        Array.from({ length: 200 }, (_, n) =>
          exchange(server.port, request('POST', lookup, packed, bodies[n % 2]!)),
        ),
      );
      for (const [n, reply] of replies.entries()) expect(reply.body.equals(expected[n % 2]!.body)).toBe(true);
    });
  });

  describe('with several processes', () => {
    let server: ServerProcess;
    const get = (path: string) => exchange(server.port, request('GET', path));
    beforeAll(async () => {
      server = await ServerProcess.start(url, ['--processes', '2']);
      await exchange(server.port, request('POST', '/v1/executables', {}, report));
    });
    afterAll(async () => {
      expect(await server.stop()).toBe(0);
    });

    it('each process soon tells what another was told', async () => {
      const path = `/v1/executables/${gnu(7)}`;
      for (let n = 0; n < 8; n++) expect((await get(path)).status).toBe(200);
      const renamed = { ...executables[7], name: '/opt/renamed.so' };
      const body = JSON.stringify({ agent: { host: 'h', version: '1' }, executables: [renamed] });
      await exchange(server.port, request('POST', '/v1/executables', {}, body));
      let agreeing = 0;
      while (agreeing < 20) agreeing = (await get(path)).body.includes('renamed.so') ? agreeing + 1 : 0;
    });

    it('metrics are those of all', async () => {
      const before = requestsIn((await get('/metrics')).body.toString());
      for (let n = 0; n < 20; n++) await get('/v1/info');
      const after = requestsIn((await get('/metrics')).body.toString());
      expect(after - before).toBe(20);
    });

    it('one that ends is replaced', async () => {
      const { pid } = server;
      const workers = childrenOf(pid);
      expect(workers).toHaveLength(2);
      process.kill(workers[0]!, 'SIGKILL');
      await until(async () => {
        const now = childrenOf(pid);
        return now.length === 2 && !now.includes(workers[0]!);
      });
      for (let n = 0; n < 8; n++) expect((await get('/healthz')).status).toBe(200);
    });
  });

  it('ends in order: what is under way is answered, what waits is let go', async () => {
    const server = await ServerProcess.start(url);
    const { cursor } = JSON.parse(
      (await exchange(server.port, request('GET', '/v1/events'))).body.toString(),
    );
    const waiting = exchange(server.port, request('GET', `/v1/events?cursor=${cursor}&wait=25`));
    await until(async () => {
      const metrics = await exchange(server.port, request('GET', '/metrics'));
      return metrics.body.includes('symkeep_events_waiting 1');
    });
    const ended = server.stop();
    expect((await waiting).status).toBe(200);
    expect(await ended).toBe(0);
  });

  it('goes on reading when Redis is full, and says so to who writes', async () => {
    const full = await TestRedis.start();
    const server = await ServerProcess.start(`redis+unix://${full.socket}`);
    try {
      await exchange(server.port, request('POST', '/v1/executables', {}, report));
      await full.cli('CONFIG', 'SET', 'maxmemory', '1');
      const written = { ...executables[1], name: '/opt/new-name.so' };
      const body = JSON.stringify({ agent: { host: 'h', version: '1' }, executables: [written] });
      const refused = await exchange(server.port, request('POST', '/v1/executables', {}, body));
      expect([refused.status, refused.code]).toEqual([503, 'unavailable']);
      expect(JSON.parse(refused.body.toString()).error.details).toEqual({ reason: 'store_full' });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      for (const n of [1, 149]) {
        const read = await exchange(server.port, request('GET', `/v1/executables/${gnu(n)}`));
        expect(read.status).toBe(200);
      }
      await full.cli('CONFIG', 'SET', 'maxmemory', '0');
      expect((await exchange(server.port, request('POST', '/v1/executables', {}, body))).status).toBe(200);
    } finally {
      await server.stop();
      await full.remove();
    }
  });

  it('shows on its page and in its metrics how Redis is set', async () => {
    const server = await ServerProcess.start(url);
    const page = await exchange(server.port, request('GET', '/'));
    expect(page.body.toString()).toContain('Redis has AOF off');
    const metrics = await exchange(server.port, request('GET', '/metrics'));
    expect(metrics.body.toString()).toContain('symkeep_store_fault{fault="append_only_off"} 1');
    expect(metrics.body.toString()).toContain('symkeep_store_fault{fault="evicts"} 0');
    await server.stop();
  });

  it('is examined by the doctor, who says what to do', async () => {
    const server = await ServerProcess.start(url);
    const examine = (args: readonly string[]) => run(['doctor', '--json', '--redis-url', url, ...args]);
    const well = await examine(['--server', server.url]);
    expect(well.exitCode).toBe(0);
    expect(findings(well.stdout)).toMatchObject({
      ...{ node: 'ok', disk: expect.stringMatching(/ok|warn/), clock: 'ok', formats: 'ok' },
      ...{ tokens: 'ok', server: 'ok', redis: 'warn', blobs: 'ok' },
    });
    await server.stop();
    const ill = await examine(['--server', server.url, '--tokens-file', '/nonexistent/tokens']);
    expect(ill.exitCode).toBe(1);
    expect(findings(ill.stdout)).toMatchObject({ server: 'fail', tokens: 'fail' });
    const lost = await run(['doctor', '--redis-url', 'redis+unix:///nonexistent/redis.sock']);
    expect(lost.exitCode).toBe(1);
    expect(lost.stdout).toMatch(/^fail {2}redis .*set REDIS_URL$/m);
  });

  it('refuses to start where it must not, with a line and a code', async () => {
    const cases: [string[], number, RegExp][] = [
      [['--listen', '0.0.0.0:0'], 2, /SYMKEEP_TOKENS_FILE/],
      [['--listen', 'nowhere'], 2, /host:port/],
      [['--processes', 'many', '--cache-bytes', 'much'], 2, /size[\s\S]*number/],
      [['--redis-url', 'http://127.0.0.1'], 2, /--redis-url: is not a Redis URL/],
      [['--tokens-file', '/nonexistent/tokens'], 1, /tokens file/],
      [['--no-such-option'], 2, /unknown option/],
    ];
    for (const [args, code, said] of cases) {
      const { exitCode, stderr } = await run(['serve', ...args]);
      expect([args, exitCode]).toEqual([args, code]);
      expect(stderr).toMatch(said);
    }
  });

  it('refuses a Redis that forgets', async () => {
    const forgetful = await TestRedis.start({ settings: { 'maxmemory-policy': 'allkeys-lru' } });
    const redisUrl = `redis+unix://${forgetful.socket}`;
    const { exitCode, stderr } = await run(['serve', '--redis-url', redisUrl]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('noeviction');
    const allowed = await ServerProcess.start(redisUrl, ['--allow-eviction']);
    expect((await exchange(allowed.port, request('GET', '/readyz'))).status).toBe(200);
    await allowed.stop();
    await forgetful.remove();
  });
});

function requestsIn(metrics: string): number {
  return Number(
    /symkeep_http_requests_total\{route="\/v1\/info",method="GET",status="200"\} (\d+)/.exec(metrics)?.[1] ??
      0,
  );
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** The state of each check; the last one where there are several. */
function findings(stdout: string): Record<string, string> {
  const lines = stdout.trim().split('\n');
  const all = lines.map((line) => JSON.parse(line) as { check: string; state: string });
  return Object.fromEntries(all.map(({ check, state }) => [check, state]));
}

async function run(
  args: readonly string[],
): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const env = { ...process.env, SYMKEEP_DATA: dataDirectory };
  const child = spawn(process.execPath, [launcher, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text: Buffer) => {
    stdout += text.toString();
  });
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  await once(child, 'close');
  return { exitCode: child.exitCode, stdout, stderr };
}
