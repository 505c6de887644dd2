// Request bodies from anyone: bounded as received, bounded once decompressed, bounded in time by a minimum rate. Messages
// are read whole, and bounded together over all requests, so that no number of clients can fill the memory; files are
// streamed.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import type { Clock } from '@symkeep/cache';
import { bodyBytesMax, decodedBytesMax, invalid, SymkeepError } from '@symkeep/protocol';
import type { Coding } from './negotiation.ts';
import { forgetBuffers } from './read-buffers.ts';

/** What a sender may fall behind: slow starts, round trips and pauses. */
export const bodyGraceMs = 5_000;
/** Bytes per second a body must keep up; slower ones hold memory and a socket for hours. */
export const bodyRateMin = 16 * 1024;
/** The same as the window that zstd at its usual levels needs; its format allows 128 MiB and more. */
const zstdWindowLogMax = 23;
/** A streamed file may inflate to this without more ado, */
const freeInflationBytes = 64 * 1024 * 1024;
/** and beyond that to so many times what was received. Debug files reach 20, files of zeros 1,000. */
const inflationRatioMax = 128;
/** Bytes of all bodies in this process together: eight of the largest, thousands of usual ones. */
export const bodiesBytesMax = 256 * 1024 * 1024;

/** Counts the bytes that bodies hold in this process. */
export class BodyBudget {
  #held = 0;
  readonly #max: number;

  constructor(max = bodiesBytesMax) {
    this.#max = max;
  }

  get held(): number {
    return this.#held;
  }

  hold(bytes: number): void {
    if (this.#held + bytes > this.#max) {
      throw new SymkeepError('unavailable', 'too many large requests at once', { retryAfterSeconds: 1 });
    }
    this.#held += bytes;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }
}

export interface IncomingBody {
  readonly chunks: AsyncIterator<Uint8Array>;
  /** As declared, if it was. */
  readonly length: number | undefined;
  readonly coding: Coding;
}

/**
 * The decoded bytes of a body, and a release of what it holds of the budget. Throws `too_large`, `invalid_argument`
 * (broken compression, too slow) or `unavailable` (budget).
 */
export async function readBody(
  { chunks, length, coding }: IncomingBody,
  budget: BodyBudget,
  clock: Clock,
): Promise<{ bytes: Uint8Array; release: () => void }> {
  const share = new Share(budget);
  try {
    if (length !== undefined && length > bodyBytesMax) throw tooLarge('the body', bodyBytesMax);
    const received = await receive(chunks, share, clock);
    const bytes = coding === 'identity' ? received : await decompress(received, coding, share);
    return { bytes, release: () => share.release() };
  } catch (error) {
    share.release();
    throw error;
  }
}

/** What one request holds of the budget. */
class Share {
  readonly #budget: BodyBudget;
  #held = 0;
  constructor(budget: BodyBudget) {
    this.#budget = budget;
  }
  hold(bytes: number): void {
    this.#budget.hold(bytes);
    this.#held += bytes;
  }
  release(): void {
    this.#budget.release(this.#held);
    this.#held = 0;
  }
}

async function receive(chunks: AsyncIterator<Uint8Array>, share: Share, clock: Clock): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let received = 0;
  for await (const part of paced(chunks, clock)) {
    received += part.length;
    if (received > bodyBytesMax) throw tooLarge('the body', bodyBytesMax);
    share.hold(part.length);
    parts.push(part);
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts, received);
}

/**
 * The decoded bytes of a file as they come, `bytesMax` at most. Whoever stops reading early has to end it (`return`).
 * Throws `too_large` or `invalid_argument` (broken compression, too slow, cut short).
 */
export async function* streamBody(
  { chunks, length, coding }: IncomingBody,
  bytesMax: number,
  clock: Clock,
): AsyncGenerator<Uint8Array> {
  if (length !== undefined && length > bytesMax) throw tooLarge('the file', bytesMax);
  const counted = { received: 0 };
  const source = counting(paced(chunks, clock), counted);
  let size = 0;
  for await (const part of coding === 'identity' ? source : inflated(source, coding, counted)) {
    size += part.length;
    if (size > bytesMax) throw tooLarge('the file', bytesMax);
    if (size > Math.max(freeInflationBytes, inflationRatioMax * counted.received)) {
      throw new SymkeepError('too_large', `the body inflates to over ${inflationRatioMax} times its size`);
    }
    yield part;
    if (coding !== 'identity') forgetBuffers(part.length);
  }
}

async function* counting(
  chunks: AsyncIterable<Uint8Array>,
  counted: { received: number },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    counted.received += chunk.length;
    yield chunk;
    forgetBuffers(chunk.length);
  }
}

async function* inflated(
  chunks: AsyncIterable<Uint8Array>,
  coding: 'gzip' | 'zstd',
  counted: { readonly received: number },
): AsyncGenerator<Uint8Array> {
  const decoder = decoderOf(coding);
  const source = Readable.from(chunks, { objectMode: true });
  // What fails there fails the decoder, and so the reading of it.
  pipeline(source, decoder).catch(() => undefined);
  try {
    yield* decoder as AsyncIterable<Buffer>;
  } catch (error) {
    throw notOf(coding, error);
  } finally {
    source.destroy();
    decoder.destroy();
  }
  if (decoder.bytesWritten !== counted.received) throw trailing(coding);
}

/**
 * Chunks whose sender keeps up the minimum rate. Only the time that is spent waiting for the sender counts: a disk that
 * is slow to take what has come is not its fault. What it was ahead once does not excuse a long silence later.
 */
async function* paced(chunks: AsyncIterator<Uint8Array>, clock: Clock): AsyncGenerator<Uint8Array> {
  let graceMs = bodyGraceMs;
  for (;;) {
    const started = clock.now();
    const next = await nextWithin(chunks, graceMs, clock);
    if (next.done === true) return;
    graceMs -= clock.now() - started;
    graceMs = Math.min(bodyGraceMs, graceMs + (next.value.length / bodyRateMin) * 1_000);
    yield next.value;
  }
}

async function nextWithin(
  chunks: AsyncIterator<Uint8Array>,
  ms: number,
  clock: Clock,
): Promise<IteratorResult<Uint8Array>> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const cancel = clock.setTimer(Math.max(0, ms), () =>
    reject(invalid(`the body came slower than ${bodyRateMin} bytes per second`)),
  );
  try {
    return await Promise.race([nextOf(chunks), late]);
  } finally {
    cancel();
  }
}

// Node words a client that went away as an error of the connection; it is no fault of ours, and no one reads the reply.
async function nextOf(chunks: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
  try {
    return await chunks.next();
  } catch (error) {
    if (error instanceof SymkeepError) throw error;
    throw new SymkeepError('invalid_argument', 'the body ended early', { cause: error });
  }
}

async function decompress(bytes: Uint8Array, coding: 'gzip' | 'zstd', share: Share): Promise<Uint8Array> {
  const decoder = decoderOf(coding);
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    decoder.end(bytes);
    for await (const part of decoder as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > decodedBytesMax) throw tooLarge('the decompressed body', decodedBytesMax);
      share.hold(part.length);
      parts.push(part);
    }
  } catch (error) {
    throw notOf(coding, error);
  } finally {
    decoder.destroy();
  }
  if (decoder.bytesWritten !== bytes.length) throw trailing(coding);
  return Buffer.concat(parts, size);
}

function decoderOf(coding: 'gzip' | 'zstd'): Gunzip | ZstdDecompress {
  if (coding === 'gzip') return createGunzip();
  return createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } });
}

function notOf(coding: string, error: unknown): SymkeepError {
  if (error instanceof SymkeepError) return error;
  return invalid(`the body is not ${coding}: ${(error as Error).message}`);
}

// The decoder stops at the end of the first frame and says nothing of what follows.
function trailing(coding: string): SymkeepError {
  return invalid(`the body has bytes after its ${coding} data`);
}

function tooLarge(what: string, max: number): SymkeepError {
  return new SymkeepError('too_large', `${what} is over ${max} bytes`);
}
