// `POST /v1/frames/lookup` in MessagePack: addresses are read into columns of words, found in the pages that this process
// holds, and the reply is written straight into its bytes. What is not held here, or not usual, takes the general path,
// which also fetches it, so that the next one finds it.
import { type ExecutableId, FramesLookupReader, FramesReplyWriter, messagePackType } from '@symkeep/protocol';
import { missedSamples } from '../catalog/demand.ts';
import type { Catalog } from '../catalog/index.ts';
import { type ExchangeDeps, vary } from './exchange.ts';
import { type FastPath, mayRead } from './fast-path.ts';
import { collectBody, hasPlainBody } from './plain-body.ts';
import { ReplyBuffers } from './reply-buffers.ts';

const route = '/v1/frames/lookup';
/** The reply to some thousand addresses of C++; a few are under way at once. */
const bufferBytes = 512 * 1024;
const buffersMax = 16;

export function createFastFrames(deps: ExchangeDeps): FastPath {
  const { catalog, access, requestIds, metrics, clock } = deps;
  const found = metrics.series(route, 'POST', 200);
  const frames = new CachedFrames(catalog);
  const buffers = new ReplyBuffers(bufferBytes, buffersMax);
  return (request, response, next) => {
    const { headers } = request;
    const epoch = catalog.epoch.current;
    if (epoch === undefined || !hasPlainBody(request) || !mayRead(access, request)) return next();
    const requestId = requestIds.of(headers['x-request-id'] as string | undefined);
    const started = clock.now();
    collectBody(clock, request, next, (body) => {
      // What came while the body did may have changed everything.
      const isSame = catalog.epoch.current === epoch;
      const reply = isSame ? frames.answer(body, (size) => buffers.take(size, response)) : undefined;
      if (reply === undefined) return next([body]);
      const head = ['content-type', messagePackType, 'cache-control', 'no-store', 'vary', vary];
      head.push('symkeep-epoch', epoch, 'x-request-id', requestId, 'content-length', String(reply.length));
      response.writeHead(200, head).end(reply);
      found.observe(clock.now() - started);
    });
  };
}

/** Answers lookups of frames from what this process holds. */
export class CachedFrames {
  readonly #catalog: Catalog;
  readonly #reader = new FramesLookupReader();
  readonly #writer = new FramesReplyWriter();

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** The reply to a body in MessagePack; undefined if it needs the general path. `take` gives the buffer to write it into. */
  answer(body: Uint8Array, take: (size: number) => Buffer): Buffer | undefined {
    const reader = this.#reader;
    const writer = this.#writer;
    const count = reader.read(body);
    if (count < 0) return undefined;
    writer.begin();
    const misses: { readonly id: ExecutableId; readonly samples: number }[] = [];
    const { keys, lo, hi, starts } = reader;
    for (let index = 0; index < count; index++) {
      const asked = { key: keys, offset: reader.keyOffset(index), idText: reader.idTextAt(index) };
      const addresses = { lo, hi, from: starts[index]!, to: starts[index + 1]! };
      const outcome = this.#catalog.frames.writeCached(asked, addresses, writer);
      if (outcome === undefined) return undefined;
      const samples = missedSamples(outcome.statuses, reader.weightsAt(index));
      if (samples > 0) misses.push({ id: outcome.canonical, samples });
    }
    // Only now is it sure that the general path will not count them too.
    for (const { id, samples } of misses) this.#catalog.demand.note(id, samples);
    return writer.end(take);
  }
}
