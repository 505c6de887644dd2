// Buffers for replies that are put together and sent once: a new one for each would cost more than filling it.
import type { ServerResponse } from 'node:http';

export class ReplyBuffers {
  readonly #bufferBytes: number;
  readonly #keptMax: number;
  readonly #free: Buffer[] = [];

  /** `keptMax` buffers of `bufferBytes` are kept. Replies that are larger should be rare: they get one of their own. */
  constructor(bufferBytes: number, keptMax: number) {
    this.#bufferBytes = bufferBytes;
    this.#keptMax = keptMax;
  }

  /** A buffer of at least `size` bytes, which is reused once the response has left this process. */
  take(size: number, response: ServerResponse): Buffer {
    if (size > this.#bufferBytes) return Buffer.allocUnsafe(size);
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bufferBytes);
    // Not on 'close': a socket that broke may still be writing from it.
    response.on('finish', () => {
      if (this.#free.length < this.#keptMax) this.#free.push(buffer);
    });
    return buffer;
  }
}
