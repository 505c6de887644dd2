// What every request goes through, whatever it asks: access, limits, decoding, validation, encoding, and the headers of
// the reply. An operation is run in the middle.
//
// The epoch is read before anything touches the store, and must still be the same after: a reply that was put together
// while the store lost something would be believed.
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { constants, gzip, zstdCompress } from 'node:zlib';
import { type Clock, type EpochSample, StoreUnavailable } from '@symkeep/cache';
import {
  decode,
  type Encoding,
  encode,
  jsonType,
  messagePackType,
  parseMessage,
  SymkeepError,
} from '@symkeep/protocol';
import type { Context as HonoContext } from 'hono';
import { getPath } from 'hono/utils/url';
import type { Logger } from 'pino';
import type { HttpMetrics } from '../metrics.ts';
import { type Access, type Caller, withoutToken } from './access.ts';
import { type BodyBudget, type IncomingBody, readBody } from './body.ts';
import { bodyCoding, bodyEncoding, replyCoding, replyEncoding } from './negotiation.ts';
import { type Context, idempotencyKey, isWrite, type Operation, type Reply, type Role } from './operation.ts';
import type { RequestIds } from './request-ids.ts';

/** Smaller replies gain nothing from compression. */
export const compressBytesMin = 1_024;
/** Fast rather than small: it runs for every large reply. */
const gzipLevel = 1;
const zstdLevel = 1;

export interface ExchangeDeps extends Context {
  readonly clock: Clock;
  readonly access: Access;
  readonly budget: BodyBudget;
  readonly metrics: HttpMetrics;
  readonly requestIds: RequestIds;
  readonly log: Logger;
}

/** What the HTTP server of Node knows beyond the fetch API; absent in tests that ask the app itself. */
export interface Bindings {
  readonly incoming?: IncomingMessage;
  /** What was already received of the body. */
  readonly received?: readonly Uint8Array[];
  /** Tells a client that waits to be asked (`expect: 100-continue`) to send its body. */
  readonly askForBody?: () => void;
}
export type AppContext = HonoContext<{ Bindings: Bindings }>;

const compressGzip = promisify(gzip);
const compressZstd = promisify(zstdCompress);

/** Answers a request by an operation. Throws nothing. */
export async function answer(
  deps: ExchangeDeps,
  c: AppContext,
  route: string,
  operation: Operation,
): Promise<Response> {
  return guarded(deps, c, route, operation.role, async (encoding, caller) => {
    const samples = new Samples(deps);
    const reply = await runOperation(deps, c, operation, samples, caller);
    if ('events' in reply) return new Response(reply.events, { headers: streamHeaders });
    const outage = samples.current.outage();
    if (outage !== null) throw outage;
    const response = await replyResponse(c, reply, encoding);
    response.headers.set('symkeep-epoch', samples.current.epoch);
    return response;
  });
}

/** The epoch of one reply. */
class Samples {
  readonly #deps: ExchangeDeps;
  current: EpochSample;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    this.current = this.renew();
  }

  renew(): EpochSample {
    const sample = this.#deps.catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw sample;
    this.current = sample;
    return sample;
  }
}

/** Answers a request for a page or a document that is no message of the API. Throws nothing. */
export async function answerPage(
  deps: ExchangeDeps,
  c: AppContext,
  route: string,
  role: Role | 'none',
  run: () => Promise<Response> | Response,
): Promise<Response> {
  return guarded(deps, c, route, role, run);
}

/** The reply to a path or method that is not offered. */
export async function answerUnknown(
  deps: ExchangeDeps,
  c: AppContext,
  methods: readonly string[],
): Promise<Response> {
  return guarded(deps, c, 'unknown', 'none', () => {
    const path = JSON.stringify(c.req.path.slice(0, 200));
    if (methods.length === 0) throw new SymkeepError('not_found', `nothing is at ${path}; see /docs`);
    c.header('allow', methods.join(', '));
    throw new SymkeepError(
      'not_found',
      `${c.req.method} is not offered at ${path}, only ${methods.join(', ')}`,
    );
  });
}

async function guarded(
  deps: ExchangeDeps,
  c: AppContext,
  route: string,
  role: Role | 'none',
  run: (encoding: Encoding, caller: Caller) => Promise<Response> | Response,
): Promise<Response> {
  const started = deps.clock.now();
  const epoch = deps.catalog.epoch.current;
  const encoding = replyEncoding(c.req.header('accept'), c.req.header('content-type'));
  const requestId = deps.requestIds.of(c.req.header('x-request-id'));
  let response: Response;
  try {
    response = await run(encoding, admit(deps.access, c, role));
  } catch (thrown) {
    const error = errorOf(thrown);
    if (error.code === 'internal')
      deps.log.error({ err: error.cause ?? error, requestId, route }, 'request failed');
    response = errorResponse(c, error, encoding);
  }
  const current = deps.catalog.epoch.current;
  // An error may tell of the newest epoch: nothing it says can be believed wrongly.
  const shown = response.status >= 500 ? current : epoch;
  if (shown !== undefined && !response.headers.has('symkeep-epoch'))
    response.headers.set('symkeep-epoch', shown);
  response.headers.set('x-request-id', requestId);
  deps.metrics.observe(route, c.req.method, response.status, deps.clock.now() - started);
  return response;
}

const nobody: Caller = { token: undefined, roles: [] };

function admit(access: Access, c: AppContext, role: Role | 'none'): Caller {
  const incoming = c.env?.incoming;
  if (incoming?.httpVersion === '1.1' && incoming.headers.host === undefined) {
    throw new SymkeepError('invalid_argument', 'an HTTP/1.1 request without a Host header');
  }
  if (role === 'none') return nobody;
  return access(
    {
      host: hostOf(c.req.url),
      authorization: c.req.header('authorization'),
      path: getPath(c.req.raw),
      origin: c.req.header('origin'),
      writes: c.req.method !== 'GET' && c.req.method !== 'HEAD',
    },
    role,
  );
}

function hostOf(url: string): string {
  const start = url.indexOf('://') + 3;
  const end = url.slice(start).search(/[/?#]/);
  return end < 0 ? url.slice(start) : url.slice(start, start + end);
}

/** The path by which a request is routed. */
export function routedPath(request: Request): string {
  return withoutToken(getPath(request));
}

async function runOperation(
  deps: ExchangeDeps,
  c: AppContext,
  operation: Operation,
  samples: Samples,
  caller: Caller,
): Promise<Reply> {
  if (isWrite(operation)) parseMessage(idempotencyKey, c.req.header('idempotency-key'));
  const query = operation.query === undefined ? undefined : parseMessage(operation.query, queryOf(c));
  const { value, release } = operation.body === undefined ? noBody : await messageOf(deps, c, operation.body);
  try {
    return await operation.run(deps, {
      params: c.req.param() as Record<string, string>,
      query,
      body: value,
      header: (name) => c.req.header(name),
      sample: samples.current,
      renewSample: () => samples.renew(),
      file: operation.file === undefined ? noFile : incomingBody(c),
      caller,
      signal: c.req.raw.signal,
    });
  } finally {
    release();
  }
}

const noBody = { value: undefined, release: () => undefined };
const noFile: IncomingBody = { chunks: emptyChunks(), length: 0, coding: 'identity' };

// `?limit=` means what leaving it out means.
function queryOf(c: AppContext): Record<string, string> {
  return Object.fromEntries(Object.entries(c.req.query()).filter(([, value]) => value !== ''));
}

async function messageOf(deps: ExchangeDeps, c: AppContext, schema: NonNullable<Operation['body']>) {
  const encoding = bodyEncoding(c.req.header('content-type'));
  const { bytes, release } = await readBody(incomingBody(c), deps.budget, deps.clock);
  try {
    return { value: parseMessage(schema, decode(bytes, encoding)), release };
  } catch (error) {
    release();
    throw error;
  }
}

function incomingBody(c: AppContext): IncomingBody {
  const coding = bodyCoding(c.req.header('content-encoding'));
  const declared = c.req.header('content-length');
  return { chunks: chunksOf(c), length: declared === undefined ? undefined : Number(declared), coding };
}

// Node's own stream where there is one: the fetch API's costs more than the rest of a request. It must outlive an early
// end of reading, since the reply goes over the same socket.
function chunksOf(c: AppContext): AsyncIterator<Uint8Array> {
  const incoming = c.env?.incoming;
  if (incoming !== undefined) return incomingChunks(incoming, c.env);
  const { body } = c.req.raw;
  return body === null ? emptyChunks() : body[Symbol.asyncIterator]();
}

async function* incomingChunks(
  incoming: IncomingMessage,
  { received = [], askForBody }: Bindings,
): AsyncGenerator<Uint8Array> {
  askForBody?.();
  yield* received;
  if (received.length > 0 && incoming.complete) return;
  yield* incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
}

async function* emptyChunks(): AsyncGenerator<Uint8Array> {}

const streamHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  // nginx buffers otherwise
  'x-accel-buffering': 'no',
};

async function replyResponse(c: AppContext, reply: Exclude<Reply, { events: unknown }>, encoding: Encoding) {
  const headers: Record<string, string> = { ...replyHeaders[encoding] };
  if ('bytes' in reply && reply.etag !== undefined) {
    headers.etag = reply.etag;
    headers['cache-control'] = revalidate;
    if (matchesEtag(c.req.header('if-none-match'), reply.etag))
      return new Response(null, { status: 304, headers });
  }
  const bytes = 'bytes' in reply ? reply.bytes(encoding) : encode(reply.value, encoding);
  return encodedResponse(c, bytes, headers, 'value' in reply ? (reply.status ?? 200) : 200);
}

async function encodedResponse(
  c: AppContext,
  plain: Uint8Array,
  headers: Record<string, string>,
  status: number,
): Promise<Response> {
  const coding = plain.length < compressBytesMin ? 'identity' : replyCoding(c.req.header('accept-encoding'));
  let bytes = plain;
  if (coding === 'gzip') bytes = await compressGzip(plain, { level: gzipLevel });
  if (coding === 'zstd') {
    bytes = await compressZstd(plain, { params: { [constants.ZSTD_c_compressionLevel]: zstdLevel } });
  }
  if (coding !== 'identity') headers['content-encoding'] = coding;
  headers['content-length'] = String(bytes.length);
  return new Response(bytes as Uint8Array<ArrayBuffer>, { status, headers });
}

export const revalidate = 'private, no-cache';
export const vary = 'accept, accept-encoding';
export const replyHeaders: Record<Encoding, Record<string, string>> = {
  json: { 'content-type': jsonType, 'cache-control': 'no-store', vary },
  msgpack: { 'content-type': messagePackType, 'cache-control': 'no-store', vary },
};

/** Whether an `if-none-match` names the ETag; weak and strong compare alike here (RFC 9110, 13.1.2). */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  return ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === etag);
}

/** The funnel from whatever was thrown to an error of the protocol. */
export function errorOf(thrown: unknown): SymkeepError {
  if (!(thrown instanceof StoreUnavailable)) return SymkeepError.from(thrown);
  const details = { reason: thrown.reason };
  return new SymkeepError('unavailable', thrown.message, { cause: thrown, retryAfterSeconds: 1, details });
}

function errorResponse(c: AppContext, error: SymkeepError, encoding: Encoding): Response {
  const headers: Record<string, string> = { ...replyHeaders[encoding] };
  if (error.code === 'unavailable' || error.code === 'rate_limited') {
    headers['retry-after'] = String(error.retryAfterSeconds ?? 1);
  }
  if (error.code === 'unauthenticated') headers['www-authenticate'] = 'Bearer, Basic realm="symkeep"';
  if (error.code === 'unsupported') headers['accept-encoding'] = 'gzip, zstd';
  const reason = (error.details as { reason?: unknown } | undefined)?.reason;
  // A HEAD has no body that could say it.
  if (typeof reason === 'string') headers['symkeep-reason'] = reason;
  const allow = c.res.headers.get('allow');
  if (allow !== null) headers.allow = allow;
  const bytes = encode(error.body(), encoding);
  headers['content-length'] = String(bytes.length);
  return new Response(bytes, { status: error.status, headers });
}
