// The reads of the symbol server, answered by the agent of a host from its cache: the same paths, messages and codes, so
// that a profiler need not know which of the two it talks to.
import { createHash } from 'node:crypto';
import {
  addressesMax,
  type ExecutableId,
  type ExecutableRecord,
  FRAME_STATUS,
  FramesReplyBuilder,
  framesLookupRequest,
  itemsMax,
  lookupRequest,
  parseAddress,
  parseExecutableId,
  parseFramesLookupItem,
  parseIdItem,
  parseMessage,
  SymkeepError,
} from '@symkeep/protocol';
import type { Catalog, FramesRequest, LookupOutcome } from '../catalog.ts';
import type { Transport, TransportRequest, TransportResponse } from '../transport.ts';
import { bodyBytesMax, decodedBytesMax, messageOf, reply, replyError } from './exchange.ts';

export interface ReadApiDeps {
  readonly catalog: Catalog;
  readonly version: string;
  /** The epoch of the store as last heard. */
  readonly epoch: () => string | undefined;
  /** Prometheus text. */
  readonly metricsText: () => string;
}

type Run = (
  request: TransportRequest,
  params: readonly string[],
) => Promise<TransportResponse> | TransportResponse;
interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: RegExp;
  readonly run: Run;
}

/** Answers every request, and rejects never. */
export function createReadApi(deps: ReadApiDeps): Transport {
  const routes = routesOf(deps);
  return async (request) => {
    let response: TransportResponse;
    try {
      response = await dispatch(routes, request);
    } catch (error) {
      response = replyError(request, error);
    }
    const epoch = deps.epoch();
    const headers = epoch === undefined ? response.headers : { ...response.headers, 'symkeep-epoch': epoch };
    return { ...response, headers, body: request.method === 'HEAD' ? new Uint8Array() : response.body };
  };
}

function routesOf({ catalog, version, epoch, metricsText }: ReadApiDeps): readonly Route[] {
  const limits = { itemsMax, addressesMax, bodyBytesMax, decodedBytesMax };
  const features = ['executables', 'frames', 'msgpack', 'gzip', 'zstd'];
  return [
    get(/^\/v1\/info$/, (request) => reply(request, { version, epoch: epoch() ?? '', limits, features })),
    get(/^\/v1\/executables\/([^/]+)$/, (request, [id]) => getExecutable(catalog, request, id)),
    get(/^\/v1\/executables\/([^/]+)\/frames\/([^/]+)$/, (request, [id, address]) =>
      getFrames(catalog, request, id, address),
    ),
    post(/^\/v1\/executables\/lookup$/, (request) => lookupExecutables(catalog, request)),
    post(/^\/v1\/frames\/lookup$/, (request) => lookupFrames(catalog, request)),
    get(/^\/healthz$/, () => text('ok\n', 'text/plain; charset=utf-8')),
    get(/^\/metrics$/, () => text(metricsText(), 'text/plain; version=0.0.4; charset=utf-8')),
  ];
}

function get(path: RegExp, run: Run): Route {
  return { method: 'GET', path, run };
}

function post(path: RegExp, run: Run): Route {
  return { method: 'POST', path, run };
}

async function dispatch(routes: readonly Route[], request: TransportRequest): Promise<TransportResponse> {
  const path = request.path.split('?', 1)[0] ?? '';
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  for (const route of routes) {
    const match = route.method === method ? route.path.exec(path) : null;
    if (match !== null) return route.run(request, match.slice(1).map(decodePart));
  }
  const shown = JSON.stringify(path.slice(0, 200));
  throw new SymkeepError(
    'not_found',
    `the agent answers no ${request.method.slice(0, 16)} of ${shown}; it only reads`,
  );
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw new SymkeepError('invalid_argument', 'a broken escape in the path', { cause: error });
  }
}

async function getExecutable(
  catalog: Catalog,
  request: TransportRequest,
  idText = '',
): Promise<TransportResponse> {
  const id = parseExecutableId(idText);
  const record = foundOr(id, (await catalog.lookup([id]))[0]);
  const etag = etagOf(record);
  const headers = { etag, 'cache-control': 'private, no-cache' };
  const asked =
    request.headers['if-none-match']?.split(',').map((one) => one.trim().replace(/^W\//, '')) ?? [];
  if (asked.includes(etag) || asked.includes('*')) return { status: 304, headers, body: new Uint8Array() };
  return reply(request, record, headers);
}

async function lookupExecutables(catalog: Catalog, request: TransportRequest): Promise<TransportResponse> {
  const { ids } = parseMessage(lookupRequest, messageOf(request));
  const items = ids.map((value) => parsed(() => parseIdItem(value)));
  const outcomes = await catalog.lookup(items.filter(isParsed));
  let next = 0;
  const results = items.map((item) => {
    const outcome = item instanceof SymkeepError ? item.code : outcomes[next++]!;
    return typeof outcome === 'string' ? { error: { code: outcome } } : { record: outcome };
  });
  return reply(request, { results });
}

async function getFrames(
  catalog: Catalog,
  request: TransportRequest,
  idText = '',
  addressText = '',
): Promise<TransportResponse> {
  const id = parseExecutableId(idText);
  const [outcome] = await catalog.frames([{ id, addresses: [parseAddress(addressText)] }]);
  const { generation, at } = outcome!;
  const { status, source, frames } = at[0]!;
  if (status === FRAME_STATUS.unknownExecutable) throw notFound(id);
  if (status === FRAME_STATUS.unavailable) throw unavailable();
  return reply(request, { status, generation, source, frames });
}

async function lookupFrames(catalog: Catalog, request: TransportRequest): Promise<TransportResponse> {
  const { requests } = parseMessage(framesLookupRequest, messageOf(request));
  const items = requests.map((value) => parsed<FramesRequest>(() => parseFramesLookupItem(value)));
  const good = items.filter(isParsed);
  const asked = good.reduce((sum, { addresses }) => sum + addresses.length, 0);
  if (asked > addressesMax)
    throw new SymkeepError('too_large', `over ${addressesMax} addresses in one request`);
  const outcomes = await catalog.frames(good);
  const builder = new FramesReplyBuilder();
  let next = 0;
  for (const [index, item] of items.entries()) {
    const id = idTextOf(requests[index]);
    if (item instanceof SymkeepError) builder.addError(id, { code: item.code, message: item.message });
    else {
      const { canonical, generation, at } = outcomes[next++]!;
      builder.add(id, canonical, generation, at);
    }
  }
  return reply(request, builder.reply);
}

// The ID is given back as it was asked.
function idTextOf(request: unknown): string {
  const id = (request as { id?: unknown } | null)?.id;
  return typeof id === 'string' ? id.slice(0, 400) : '';
}

function parsed<T>(parse: () => T): T | SymkeepError {
  try {
    return parse();
  } catch (error) {
    const known = SymkeepError.from(error);
    if (known.code === 'internal') throw error;
    return known;
  }
}

function isParsed<T>(item: T | SymkeepError): item is T {
  return !(item instanceof SymkeepError);
}

function foundOr(id: ExecutableId, outcome: LookupOutcome | undefined): ExecutableRecord {
  if (typeof outcome === 'object') return outcome;
  if (outcome === 'unavailable') throw unavailable();
  if (outcome === 'erased') throw new SymkeepError('erased', `${id} was erased`);
  throw notFound(id);
}

function notFound(id: ExecutableId): SymkeepError {
  return new SymkeepError('not_found', `no executable is known as ${id}`);
}

function unavailable(): SymkeepError {
  return new SymkeepError('unavailable', 'not in the cache, and the symbol server cannot be asked now', {
    retryAfterSeconds: 1,
  });
}

function etagOf({ id, version, generation }: ExecutableRecord): string {
  const digest = createHash('sha256').update(`${id} ${version} ${generation}`).digest('base64url');
  return `"${digest.slice(0, 22)}"`;
}

function text(content: string, type: string): TransportResponse {
  return {
    status: 200,
    headers: { 'content-type': type, 'cache-control': 'no-store' },
    body: Buffer.from(content),
  };
}
