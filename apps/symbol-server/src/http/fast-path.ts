// The reads that a fleet asks all day, answered without the layers that the general path needs: a record by ID, and
// records and frames by a MessagePack batch. It takes only requests with nothing unusual about them; every other one, and
// every mistake, goes on to the app, so there is one set of rules and one place for errors.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { idKeyBytes, jsonType, messagePackType, readKey } from '@symkeep/protocol';
import type { Access } from './access.ts';
import { compressBytesMin, type ExchangeDeps, matchesEtag, revalidate, vary } from './exchange.ts';
import { createFastFrames } from './fast-frames.ts';
import { createFastLookup } from './fast-lookup.ts';

const recordPath = '/v1/executables/';
const recordRoute = '/v1/executables/{id}';
const lookupPath = '/v1/executables/lookup';
const framesPath = '/v1/frames/lookup';
/** Longest ID text read here; others take the general path. */
const idTextMax = 64;

/** The general path. Given what was already received of the body. */
export type Next = (received?: readonly Uint8Array[]) => void;

/** Answers a request, or leaves it to `next`. */
export type FastPath = (request: IncomingMessage, response: ServerResponse, next: Next) => void;

export function createFastPath(deps: ExchangeDeps): FastPath {
  const get = createFastGet(deps);
  const lookup = createFastLookup(deps);
  const frames = createFastFrames(deps);
  return (request, response, next) => {
    const { method, url } = request;
    if (method === 'POST' && url === lookupPath) lookup(request, response, next);
    else if (method === 'POST' && url === framesPath) frames(request, response, next);
    else if (method !== 'GET' || !url!.startsWith(recordPath) || !get(request, response)) next();
  };
}

function createFastGet({ catalog, access, requestIds, metrics, clock }: ExchangeDeps) {
  const found = metrics.series(recordRoute, 'GET', 200);
  const unmodified = metrics.series(recordRoute, 'GET', 304);
  const idText = new Uint8Array(idTextMax);
  const key = new Uint8Array(idKeyBytes);

  /** False leaves the request untouched. */
  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const { headers } = request;
    const length = copyId(request.url!, idText);
    if (length < 0 || !readKey(idText, 0, length, key, 0)) return false;
    const started = clock.now();
    const epoch = catalog.epoch.current;
    const type = typeAccepted(headers.accept, jsonType);
    if (epoch === undefined || type === undefined || hasBody(request) || !mayRead(access, request))
      return false;
    const record = catalog.executables.cached(key, 0);
    if (record === undefined) return false;
    const text = type === jsonType ? record.jsonText : record.wireText;
    if (text.length >= compressBytesMin && headers['accept-encoding'] !== undefined) return false;
    const requestId = requestIds.of(headers['x-request-id'] as string | undefined);
    // prettier than an object, and what Node writes out as it is
    const head = ['content-type', type, 'cache-control', revalidate, 'vary', vary, 'etag', record.etag];
    head.push('symkeep-epoch', epoch, 'x-request-id', requestId);
    const same = matchesEtag(headers['if-none-match'], record.etag);
    if (same) response.writeHead(304, head).end();
    else {
      head.push('content-length', String(text.length));
      // Node writes headers and a string as one piece, headers and a buffer as two.
      response.writeHead(200, head).end(text, 'latin1');
    }
    (same ? unmodified : found).observe(clock.now() - started);
    return true;
  };
}

/** Copies what follows the path of records; -1 if that is longer than the IDs read here. */
function copyId(url: string, into: Uint8Array): number {
  const length = url.length - recordPath.length;
  if (length > into.length) return -1;
  for (let index = 0; index < length; index++) into[index] = url.charCodeAt(recordPath.length + index);
  return length;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
}

/** The media type that a plain `accept` asks for; undefined if it needs thought. */
export function typeAccepted(accept: string | undefined, usual: string): string | undefined {
  if (accept === undefined || accept === '*/*') return usual;
  return accept === jsonType || accept === messagePackType ? accept : undefined;
}

/** Whether access is granted for reading; a refusal is worded by the general path. */
export function mayRead(access: Access, { headers, url }: IncomingMessage): boolean {
  if (headers.host === undefined) return false;
  const { host, authorization, origin } = headers;
  try {
    access({ host, authorization, path: url!, origin, writes: origin !== undefined }, 'read');
    return true;
  } catch {
    return false;
  }
}
