// Request bodies from anyone: bounded as received, bounded once decompressed, bounded in time by a minimum rate, and
// bounded together over all requests, so that no number of clients can fill the memory.
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import type { Clock } from '@symkeep/cache';
import { bodyBytesMax, decodedBytesMax, invalid, SymkeepError } from '@symkeep/protocol';
import type { Coding } from './negotiation.ts';

/** A sender has this long before its rate counts: slow starts and round trips. */
export const bodyGraceMs = 5_000;
/** Bytes per second a body must keep up; slower ones hold memory and a socket for hours. */
export const bodyRateMin = 16 * 1024;
/** The same as the window that zstd at its usual levels needs; its format allows 128 MiB and more. */
const zstdWindowLogMax = 23;
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
  const pace = new Pace(clock, () => received);
  try {
    for (;;) {
      const next = await Promise.race([nextOf(chunks), pace.tooSlow]);
      if (next.done === true) return parts.length === 1 ? parts[0]! : Buffer.concat(parts, received);
      received += next.value.length;
      if (received > bodyBytesMax) throw tooLarge('the body', bodyBytesMax);
      share.hold(next.value.length);
      parts.push(next.value);
    }
  } finally {
    pace.end();
  }
}

// Node words a client that went away as an error of the connection; it is no fault of ours, and no one reads the reply.
async function nextOf(chunks: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
  try {
    return await chunks.next();
  } catch (error) {
    throw new SymkeepError('invalid_argument', 'the body ended early', { cause: error });
  }
}

/** Fails a body whose sender falls behind the minimum rate. */
class Pace {
  readonly tooSlow: Promise<never>;
  #cancel: () => void;

  constructor(clock: Clock, received: () => number) {
    const { promise, reject } = Promise.withResolvers<never>();
    this.tooSlow = promise;
    promise.catch(() => undefined); // raced: whoever loses is not unhandled
    const started = clock.now();
    const check = () => {
      const due = ((clock.now() - started - bodyGraceMs) / 1000) * bodyRateMin;
      if (received() <= due) reject(invalid(`the body came slower than ${bodyRateMin} bytes per second`));
      else this.#cancel = clock.setTimer(1_000, check);
    };
    this.#cancel = clock.setTimer(bodyGraceMs, check);
  }

  end(): void {
    this.#cancel();
  }
}

async function decompress(bytes: Uint8Array, coding: 'gzip' | 'zstd', share: Share): Promise<Uint8Array> {
  const decoder =
    coding === 'gzip'
      ? createGunzip()
      : createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } });
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
    if (error instanceof SymkeepError) throw error;
    throw invalid(`the body is not ${coding}: ${(error as Error).message}`);
  } finally {
    decoder.destroy();
  }
  // The decoder stops at the end of the first frame and says nothing of what follows.
  if (decoder.bytesWritten !== bytes.length) throw invalid(`the body has bytes after its ${coding} data`);
  return Buffer.concat(parts, size);
}

function tooLarge(what: string, max: number): SymkeepError {
  return new SymkeepError('too_large', `${what} is over ${max} bytes`);
}
