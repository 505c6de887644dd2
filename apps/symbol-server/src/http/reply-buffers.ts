// Buffers for replies that are put together and sent once: a new one for each would cost more than filling it.
import type { ServerResponse } from 'node:http';

/** Buffers kept, and their size: the reply to some 200 records. Larger replies are rare and get one of their own. */
const keptMax = 64;
const bufferBytes = 128 * 1024;

export class ReplyBuffers {
  readonly #free: Buffer[] = [];

  /** A buffer of at least `size` bytes, which is reused once the response has left this process. */
  take(size: number, response: ServerResponse): Buffer {
    if (size > bufferBytes) return Buffer.allocUnsafe(size);
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
    // Not on 'close': a socket that broke may still be writing from it.
    response.on('finish', () => {
      if (this.#free.length < keptMax) this.#free.push(buffer);
    });
    return buffer;
  }
}
