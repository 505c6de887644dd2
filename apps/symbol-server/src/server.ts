// The HTTP server: limits that Node enforces, errors that never reach the app, and an orderly end. Requests go to the
// fast path first, which leaves to the app whatever it does not take.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { SymkeepError } from '@symkeep/protocol';
import { type AppDeps, createApp } from './app.ts';
import { createFastPath } from './http/fast-path.ts';
import { dropLeftover } from './http/leftover.ts';

/** Of request line and headers together: tokens and cursors are under 2 KiB. */
const headersBytesMax = 16 * 1024;
/** From the connection, or the end of the previous request, to the end of the headers. */
const headersTimeoutMs = 10_000;
/** How often Node looks for headers that are late. */
const lookForLateMs = 1_000;
/** Longer than agents' pauses between requests, so that they find their connection open. */
const keepAliveMs = 75_000;
/** Open connections per process: a few per agent. */
const connectionsMax = 32_768;
/** Requests on one connection have this long to end when the server does. */
const drainMs = 2_000;

export interface Listening {
  readonly host: string;
  readonly port: number;
  /** Takes no new requests, lets running ones end, closes what remains. */
  stop(): Promise<void>;
}

/** Starts to listen. Rejects with a line for people if it cannot. */
export async function startServer(deps: AppDeps, listen: { host: string; port: number }): Promise<Listening> {
  const server = createHttpServer(deps);
  await listening(server, listen);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : listen.port;
  return { host: listen.host, port, stop: () => stop(server, deps) };
}

function createHttpServer(deps: AppDeps): Server {
  const app = createApp(deps);
  const fast = createFastPath(deps);
  const received = new WeakMap<IncomingMessage, readonly Uint8Array[]>();
  const expecting = new WeakMap<IncomingMessage, () => void>();
  const general = getRequestListener(
    (request, env) => {
      const { incoming } = env as { incoming: IncomingMessage };
      const body = received.get(incoming);
      const askForBody = expecting.get(incoming);
      return app.fetch(request, {
        incoming,
        ...(body === undefined ? {} : { received: body }),
        ...(askForBody === undefined ? {} : { askForBody }),
      });
    },
    {
      hostname: 'localhost',
      overrideGlobalObjects: true,
      // Its own reads up to 64 MiB of what was refused; see http/leftover.ts.
      autoCleanupIncoming: false,
      errorHandler: (error) =>
        refusal(deps, new SymkeepError('invalid_argument', `the request cannot be read: ${String(error)}`)),
    },
  );
  const options = {
    maxHeaderSize: headersBytesMax,
    headersTimeout: headersTimeoutMs,
    connectionsCheckingInterval: lookForLateMs,
    // Bodies have a minimum rate of their own; a fixed time would cut long uploads.
    requestTimeout: 0,
    keepAliveTimeout: keepAliveMs,
    // Refused by the app, in the form of every other error.
    requireHostHeader: false,
  };
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    dropLeftover(request, response, deps.clock);
    fast(request, response, (body) => {
      if (body !== undefined) received.set(request, body);
      void general(request, response);
    });
  };
  const server = createServer(options, handle);
  // What is refused by its headers alone, such as a file that is not wanted, need not be sent.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === 'PUT') expecting.set(request, () => response.writeContinue());
    else response.writeContinue();
    handle(request, response);
  });
  // An expectation that is not known is no reason to refuse what is asked.
  server.on('checkExpectation', handle);
  server.on('connect', (_request, socket) => refuseSocket(deps, new Error('CONNECT'), socket as Socket));
  server.maxConnections = connectionsMax;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
    refuseSocket(deps, error, socket as Socket),
  );
  return server;
}

function listening(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen(port, host, resolve);
  });
}

export function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const at = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (error.code === 'EADDRINUSE')
    return new Error(`${at} is taken by another program; choose another with --listen`);
  if (error.code === 'EACCES') return new Error(`${at}: listening there is not permitted`);
  return new Error(`cannot listen on ${at}: ${error.message}`);
}

// What the parser refuses has no request that the app could answer.
function refuseSocket({ catalog }: AppDeps, error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const refused = parserError(error);
  const body = JSON.stringify(refused.body());
  const epoch = catalog.epoch.current;
  const head = [
    `HTTP/1.1 ${refused.status} ${refused.code}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    ...(epoch === undefined ? [] : [`symkeep-epoch: ${epoch}`]),
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function parserError(error: NodeJS.ErrnoException): SymkeepError {
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    return new SymkeepError('too_large', `the headers are over ${headersBytesMax} bytes`);
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new SymkeepError('invalid_argument', `the headers took longer than ${headersTimeoutMs} ms`);
  }
  return new SymkeepError('invalid_argument', 'this is no HTTP/1.1 request that is answered here');
}

/** What cannot even become a request of the fetch API: an address or a Host that is none. */
function refusal({ catalog }: AppDeps, error: SymkeepError): Response {
  const epoch = catalog.epoch.current;
  const headers = {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    ...(epoch === undefined ? {} : { 'symkeep-epoch': epoch }),
  };
  return new Response(JSON.stringify(error.body()), { status: error.status, headers });
}

async function stop(server: Server, { clock, waiters }: AppDeps): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  waiters.end();
  server.closeIdleConnections();
  const cancel = clock.setTimer(drainMs, () => server.closeAllConnections());
  await closed;
  cancel();
}
