// `POST /v1/executables/lookup` in MessagePack: the body is read straight into ID keys, records are found by key, and the
// reply is their stored bytes put one after the other.
import type { ServerResponse } from 'node:http';
import { idKeyBytes, itemsMax, LookupReader, messagePackType } from '@symkeep/protocol';
import type { StoredRecord } from '../catalog/index.ts';
import { type ExchangeDeps, vary } from './exchange.ts';
import { type FastPath, mayRead, type Next } from './fast-path.ts';
import { collectBody, hasPlainBody } from './plain-body.ts';
import { ReplyBuffers } from './reply-buffers.ts';
import { type LookupItem, lookupReplyBytes, writeLookupReply } from './splice.ts';

const route = '/v1/executables/lookup';
/** The reply to some 200 records. */
const bufferBytes = 128 * 1024;
const buffersMax = 64;

interface Exchange {
  readonly response: ServerResponse;
  readonly started: number;
  readonly epoch: string;
  readonly requestId: string;
}

export function createFastLookup(deps: ExchangeDeps): FastPath {
  const { catalog, access, requestIds, metrics, clock } = deps;
  const found = metrics.series(route, 'POST', 200);
  const reader = new LookupReader();
  const buffers = new ReplyBuffers(bufferBytes, buffersMax);
  // Reused: what it holds is of one request only until that is answered or has to wait.
  const cached = new Array<StoredRecord | undefined>(itemsMax).fill(undefined);

  const reply = (
    { response, started, epoch, requestId }: Exchange,
    items: readonly LookupItem[],
    count: number,
  ) => {
    const buffer = buffers.take(lookupReplyBytes(items, count), response);
    const length = writeLookupReply(items, count, buffer);
    const head = ['content-type', messagePackType, 'cache-control', 'no-store', 'vary', vary];
    head.push('symkeep-epoch', epoch, 'x-request-id', requestId, 'content-length', String(length));
    response.writeHead(200, head).end(buffer.subarray(0, length));
    found.observe(clock.now() - started);
  };

  const answer = (exchange: Exchange, body: Uint8Array, next: Next) => {
    const count = reader.read(body);
    if (count < 0) return next([body]);
    const missing = findCached(deps, reader, count, cached);
    if (missing.length === 0) return reply(exchange, cached as StoredRecord[], count);
    const items = cached.slice(0, count);
    const ids = missing.map((index) => reader.idAt(index));
    catalog.executables.lookup(ids).then(
      (outcomes) => {
        if (catalog.epoch.current !== exchange.epoch) return next([body]);
        for (const [at, index] of missing.entries()) (items as LookupItem[])[index] = outcomes[at]!;
        reply(exchange, items as LookupItem[], count);
      },
      () => next([body]),
    );
  };

  return (request, response, next) => {
    const { headers } = request;
    const epoch = catalog.epoch.current;
    if (epoch === undefined || !hasPlainBody(request) || !mayRead(access, request)) return next();
    const requestId = requestIds.of(headers['x-request-id'] as string | undefined);
    const exchange = { response, started: clock.now(), epoch, requestId };
    collectBody(deps.clock, request, next, (body) => answer(exchange, body, next));
  };
}

/** Finds what this process holds; returns the indexes of what it does not. */
function findCached(
  { catalog }: ExchangeDeps,
  reader: LookupReader,
  count: number,
  into: (StoredRecord | undefined)[],
): number[] {
  const missing: number[] = [];
  for (let index = 0; index < count; index++) {
    const record = catalog.executables.cached(reader.keys, index * idKeyBytes);
    into[index] = record;
    if (record === undefined) missing.push(index);
  }
  return missing;
}
