// Requests over HTTP/1.1 with kept connections, to a URL or a unix socket. `node:http` rather than `fetch`: the latter
// brings a second HTTP stack of several megabytes into every agent of a fleet, as TLS does where it is not used.
import * as http from 'node:http';
import type * as https from 'node:https';
import { getBuiltinModule } from 'node:process';
import { pipeline } from 'node:stream/promises';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** One for the reports, one for the cycle, one for a file, the others for lookups. */
const socketsMax = 5;
/** Connections idle for longer are dropped; proxies drop them after 60 s and do not always say so. */
const idleMs = 50_000;
/** The largest answer in use is a lookup of 1,000 records, half a megabyte; frames of a whole profile are some more. */
const responseBytesMax = 33_554_432;

export interface HttpTransport {
  readonly transport: Transport;
  /** Drops the kept connections. */
  close(): void;
}

/**
 * `server` is `http://…`, `https://…` (a path in it is a prefix), or `unix:<path>`.
 */
export function httpTransport(server: string): HttpTransport {
  const target = targetOf(server);
  const agent = new target.library.Agent({ keepAlive: true, maxSockets: socketsMax, timeout: idleMs });
  const transport: Transport = (request, signal) => exchange(target, agent, request, signal);
  return { transport, close: () => agent.destroy() };
}

interface Target {
  readonly library: typeof http | typeof https;
  readonly options: http.RequestOptions;
  readonly prefix: string;
}

function targetOf(server: string): Target {
  if (server.startsWith('unix:')) {
    const options = { socketPath: server.slice('unix:'.length), headers: { host: 'localhost' } };
    return { library: http, options, prefix: '' };
  }
  const url = new URL(server);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const options = { host, ...(url.port === '' ? {} : { port: url.port }), headers: { host: url.host } };
  const prefix = url.pathname.replace(/\/$/, '');
  const library = url.protocol === 'https:' ? getBuiltinModule('node:https') : http;
  return { library, options, prefix };
}

function exchange(
  { library, options, prefix }: Target,
  agent: http.Agent,
  { method, path, headers, body, stream }: TransportRequest,
  signal: AbortSignal | undefined,
): Promise<TransportResponse> {
  return new Promise((resolve, reject) => {
    const bytes = body?.length ?? stream?.bytes;
    const length = bytes === undefined ? {} : { 'content-length': String(bytes) };
    const request = library.request({
      ...options,
      ...{ method, path: prefix + path, agent },
      headers: { ...(options.headers as Record<string, string>), ...headers, ...length },
      ...(signal === undefined ? {} : { signal }),
    });
    request.on('response', (response) => {
      const answered = collect(response).then(resolve, reject);
      // Whoever answers before the end wants no more of it.
      void answered.finally(() => request.writableFinished || request.destroy());
    });
    request.on('error', reject);
    if (stream === undefined) request.end(body);
    else pipeline(stream.parts, request).catch(reject);
  });
}

async function collect(response: http.IncomingMessage): Promise<TransportResponse> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length > responseBytesMax) throw new Error(`an answer of more than ${responseBytesMax} bytes`);
  }
  const headers = response.headers as Record<string, string | undefined>;
  return { status: response.statusCode ?? 0, headers, body: Buffer.concat(chunks, length) };
}
