// Files over a real connection: sent part by part, and no further once the server has answered.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HttpTransport, httpTransport } from '../src/http-transport.ts';

const partBytes = 65_536;

let directory: string;
let server: Server;
let http: HttpTransport;
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sk-http-'));
  const socket = join(directory, 'server.sock');
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  http = httpTransport(`unix:${socket}`);
});
afterEach(async () => {
  http.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true });
});

/** Parts as they are asked for; `ended` resolves once nobody wants more. */
function stream(count: number) {
  const state = { taken: 0 };
  const ended = Promise.withResolvers<void>();
  const parts = (async function* () {
    try {
      for (; state.taken < count; state.taken++) yield new Uint8Array(partBytes).fill(state.taken);
    } finally {
      ended.resolve();
    }
  })();
  return { state, ended: ended.promise, body: { bytes: count * partBytes, parts } };
}

function put(body: { bytes: number; parts: AsyncIterable<Uint8Array> }, signal?: AbortSignal) {
  return http.transport({ method: 'PUT', path: '/file', headers: {}, stream: body }, signal);
}

describe('a file', () => {
  it('is sent with its length', async () => {
    let received = 0;
    answer = async (request, response) => {
      for await (const chunk of request) received += (chunk as Buffer).length;
      response.end(request.headers['content-length']);
    };
    const { state, ended, body } = stream(10);
    const { status, body: reply } = await put(body);
    expect([status, Buffer.from(reply).toString(), received]).toEqual([200, String(body.bytes), body.bytes]);
    await ended;
    expect(state.taken).toBe(10);
  });

  it('that is refused at once is read no further', async () => {
    answer = (_, response) => response.writeHead(409).end('no');
    const { state, ended, body } = stream(100_000);
    const { status, body: reply } = await put(body);
    expect([status, Buffer.from(reply).toString()]).toEqual([409, 'no']);
    await ended;
    expect(state.taken).toBeLessThan(100_000);
  });

  it('that cannot be read, or is no longer to be sent, is an error', async () => {
    answer = (request) => request.resume();
    const broken = (async function* () {
      yield new Uint8Array(partBytes);
      throw new Error('the disk is gone');
    })();
    await expect(put({ bytes: 2 * partBytes, parts: broken })).rejects.toThrow('the disk is gone');
    const abort = new AbortController();
    const { ended, body } = stream(100_000);
    answer = (request) => request.once('data', () => abort.abort());
    await expect(put(body, abort.signal)).rejects.toThrow();
    await ended;
  });
});
