import { appendFileSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLoopback, tokenAccess } from '../src/http/access.ts';
import { createToken, parseTokens, TokenFile } from '../src/http/tokens.ts';
import { refusedConfig } from '../src/process.ts';
import { bash, reportOf, startApp } from './app-under-test.ts';

let folder: string;
let path: string;
let now = Date.UTC(2026, 0, 1);
const read = createToken('reader', ['read'], 'never');
const agent = createToken('agent', ['agent'], '2026-06-01');

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'symkeep-test-'));
  path = join(folder, 'tokens');
  writeFileSync(path, `# tokens\n\n${read.line}\n${agent.line}\n`);
  now = Date.UTC(2026, 0, 1);
});
afterEach(() => rmSync(folder, { recursive: true }));

async function startClosed(troubles: Error[] = []) {
  const tokens = new TokenFile(
    path,
    () => now,
    (error) => troubles.push(error),
  );
  return startApp({ access: tokenAccess(tokens) });
}

function bearer(token: string) {
  return { authorization: `Bearer ${token}` };
}

describe('a server with tokens', () => {
  it('asks for one, wherever the request comes from, but says that it is alive', async () => {
    const server = await startClosed();
    const reply = await server.get('/v1/info');
    expect(reply.status).toBe(401);
    expect(reply.headers.get('www-authenticate')).toContain('Bearer');
    expect((await server.get('/v1/info', bearer('sk_wrong'))).status).toBe(401);
    expect((await server.get('/metrics')).status).toBe(401);
    expect((await server.get('/healthz')).status).toBe(200);
    expect(
      (await server.app.request('http://symbols.example/v1/info', { headers: bearer(read.token) })).status,
    ).toBe(200);
  });

  it('lets each role do what it may', async () => {
    const server = await startClosed();
    expect((await server.get('/v1/info', bearer(read.token))).status).toBe(200);
    expect((await server.post('/v1/executables', reportOf(bash), bearer(read.token))).status).toBe(403);
    expect((await server.post('/v1/executables', reportOf(bash), bearer(agent.token))).status).toBe(200);
    expect((await server.get('/v1/info', bearer(agent.token))).status).toBe(200);
  });

  it('takes Basic for reading only', async () => {
    const server = await startClosed();
    const basic = { authorization: `Basic ${Buffer.from(`any:${agent.token}`).toString('base64')}` };
    expect((await server.get('/v1/info', basic)).status).toBe(200);
    expect((await server.post('/v1/executables', reportOf(bash), basic)).status).toBe(403);
  });

  it('takes a token in the path for reading only, and routes by what is behind it', async () => {
    const server = await startClosed();
    expect((await server.get(`/t/${agent.token}/v1/info`)).status).toBe(200);
    expect((await server.get('/t/sk_wrong/v1/info')).status).toBe(401);
    expect((await server.get(`/t/${agent.token}/v1/none`)).status).toBe(404);
    const written = await server.post(`/t/${agent.token}/v1/executables`, reportOf(bash));
    expect(written.status).toBe(403);
    const encoded = await server.get(`/t/${read.token}/v1/executables/gnu%3A${bash.ids.gnu}`);
    expect(encoded.status).toBe(404);
    expect(await encoded.text()).toContain(`gnu:${bash.ids.gnu}`);
    const open = await startApp();
    expect((await open.get('/t/any/v1/info')).status).toBe(200);
  });

  it('refuses an expired token', async () => {
    const server = await startClosed();
    now = Date.UTC(2026, 5, 2);
    expect((await server.get('/v1/info', bearer(agent.token))).status).toBe(401);
    expect((await server.get('/v1/info', bearer(read.token))).status).toBe(200);
  });

  it('reads the file again when it changes, and keeps its tokens when that cannot be read', async () => {
    const troubles: Error[] = [];
    const server = await startClosed(troubles);
    const late = createToken('late', ['read'], 'never');
    appendFileSync(path, `${late.line}\n`);
    now += 2_000;
    expect((await server.get('/v1/info', bearer(late.token))).status).toBe(200);
    writeFileSync(path, 'broken');
    utimesSync(path, 1, 1);
    now += 2_000;
    expect((await server.get('/v1/info', bearer(late.token))).status).toBe(200);
    expect(troubles.map(({ message }) => message)).toEqual([expect.stringContaining('line 1')]);
  });
});

describe('the tokens file', () => {
  it.each([
    'name',
    `x ${'0'.repeat(63)} read never`,
    `x ${'0'.repeat(64)} reader never`,
    `x ${'0'.repeat(64)} read someday`,
    `x ${'0'.repeat(64)} read never more`,
  ])('refuses the line %s', (line) => {
    expect(() => parseTokens(`# first\n${line}\n`)).toThrow('line 2');
  });

  it('never holds a token', () => {
    expect(read.line).not.toContain(read.token);
    expect(parseTokens(read.line)).toMatchObject([{ name: 'reader', roles: ['read'] }]);
  });
});

describe('listening', () => {
  it.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost'])('on %s is open without tokens', (host) => {
    expect(isLoopback(host)).toBe(true);
    expect(refusedConfig({ listen: { host, port: 1 }, tokensFile: undefined })).toBeUndefined();
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', 'example.org', '127.0.0.1.example.org'])(
    'on %s needs tokens',
    (host) => {
      expect(refusedConfig({ listen: { host, port: 1 }, tokensFile: undefined })).toContain(
        'SYMKEEP_TOKENS_FILE',
      );
      expect(refusedConfig({ listen: { host, port: 1 }, tokensFile: 'tokens' })).toBeUndefined();
    },
  );
});
