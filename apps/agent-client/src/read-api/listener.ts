// The read API on sockets: a unix socket that only its owner and group may open, and on TCP if asked, loopback only. A
// web page can point a name of its own at 127.0.0.1 (DNS rebinding), so requests over TCP must name this host.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, isIPv4 } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { SymkeepError } from '@symkeep/protocol';
import type { Transport, TransportRequest } from '../transport.ts';
import { bodyBytesMax, replyError, tooLarge } from './exchange.ts';

/** `sun_path` of Linux holds 108 bytes with its NUL. */
export const socketPathBytesMax = 107;
/** Profilers and tools of one host; each connection costs some 20 kB. */
const connectionsMax = 256;
const headerBytesMax = 16_384;
/** A local client that takes longer to send its request has died in it. */
const requestMs = 30_000;
/** Longer than clients keep theirs, so that they are the ones to close. */
const keepAliveMs = 75_000;

export interface Listening {
  /** Where it listens: a path, or `host:port`. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Listens on a unix socket at `path`, or, where that is too long for one, in a directory of its own under the temporary
 * one, the same at each start; its place is written to `<path>.place`. A socket left over from a dead process is taken
 * over; a live one is an error.
 */
export async function listenOnSocket(api: Transport, path: string): Promise<Listening> {
  mkdirSync(dirname(path), { recursive: true });
  const place = socketPlace(path);
  await removeStale(place);
  const server = serverOf(api, () => true);
  // Created with the mode it is to have: there is no moment in which others could connect.
  const mask = process.umask(0o117);
  try {
    await listen(server, { path: place });
  } finally {
    process.umask(mask);
  }
  chmodSync(place, 0o660);
  return { address: place, close: () => close(server) };
}

/** Throws on an address that is not loopback. */
export async function listenOnLoopback(
  api: Transport,
  { host, port }: { host: string; port: number },
): Promise<Listening> {
  if (!isLoopback(host)) throw new Error(`${host} is not loopback: the agent has no tokens to guard it with`);
  const server = serverOf(api, (request) => isLoopback(hostOf(request.headers.host ?? '')));
  await listen(server, { host, port });
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    address: family === 'IPv6' ? `[${address}]:${bound}` : `${address}:${bound}`,
    close: () => close(server),
  };
}

export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}

function socketPlace(path: string): string {
  if (Buffer.byteLength(path) <= socketPathBytesMax) return path;
  const record = `${path}.place`;
  const kept = existsSync(record) ? readFileSync(record, 'utf8').trim() : '';
  if (kept !== '' && isOwnDirectory(dirname(kept))) return kept;
  const place = join(mkdtempSync(join(tmpdir(), 'symkeep-agent-')), 'agent.sock');
  writeFileSync(record, `${place}\n`);
  return place;
}

// Temporary folders are cleaned, and what is gone from there anybody may put back.
function isOwnDirectory(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats?.isDirectory() === true && stats.uid === process.getuid?.() && (stats.mode & 0o022) === 0;
}

async function removeStale(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) throw new Error(`${path} is there and is no socket`);
  if (await answers(path)) throw new Error(`${path}: another agent answers there`);
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function serverOf(api: Transport, admits: (request: IncomingMessage) => boolean): Server {
  const server = createServer(
    {
      maxHeaderSize: headerBytesMax,
      requestTimeout: requestMs,
      headersTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
    },
    (request, response) => void answer(api, admits(request), request, response),
  );
  server.maxConnections = connectionsMax;
  return server;
}

async function answer(
  api: Transport,
  admitted: boolean,
  incoming: IncomingMessage,
  response: ServerResponse,
) {
  const request = { method: incoming.method ?? '', path: incoming.url ?? '', headers: headersOf(incoming) };
  try {
    if (!admitted) throw new SymkeepError('permission_denied', "the host of the request is not this agent's");
    const body = await bodyOf(incoming);
    send(response, await api(body.length === 0 ? request : { ...request, body }));
  } catch (error) {
    // What is left of a body that was refused is not worth reading.
    response.setHeader('connection', 'close');
    send(response, replyError(request, error));
  }
}

function send(response: ServerResponse, { status, headers, body }: Awaited<ReturnType<Transport>>): void {
  if (response.destroyed) return;
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) response.setHeader(name, value);
  response.statusCode = status;
  if (status !== 304 && response.req.method !== 'HEAD') response.setHeader('content-length', body.length);
  response.end(body);
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  if (Number(incoming.headers['content-length'] ?? 0) > bodyBytesMax)
    throw tooLarge('the body', bodyBytesMax);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length;
    if (length > bodyBytesMax) throw tooLarge('the body', bodyBytesMax);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks, length);
}

// Of the headers that this API reads, node joins repeated ones or keeps the first.
function headersOf({ headers }: IncomingMessage): TransportRequest['headers'] {
  return headers as Record<string, string>;
}

function hostOf(header: string): string {
  return header.replace(/:\d*$/, '').replace(/^\[|\]$/g, '');
}

function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenError(error, where));
    server.once('error', fail);
    server.listen(where, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

function listenError(error: NodeJS.ErrnoException, where: { path: string } | { host: string; port: number }) {
  if (error.code !== 'EADDRINUSE' || 'path' in where) return error;
  const { host, port } = where;
  return new Error(`${host}:${port} is taken by another program; choose another with --listen`);
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
