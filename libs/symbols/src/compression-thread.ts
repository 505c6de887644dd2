// Compresses pages beside the thread that makes them, in the order in which they come. Both sides; the other one's program
// is compression-worker.ts.
import { Worker } from 'node:worker_threads';

/** So many bytes go over at once: a message costs as much as compressing a few hundred. */
const batchBytes = 262_144;

/** Several pages, one behind the other. */
export interface Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where each ends. */
  readonly ends: readonly number[];
}

export function joinBatch(parts: readonly Uint8Array[]): Batch {
  const ends: number[] = [];
  for (const part of parts) ends.push((ends.at(-1) ?? 0) + part.length);
  const bytes = new Uint8Array(ends.at(-1) ?? 0);
  for (const [index, part] of parts.entries()) bytes.set(part, index === 0 ? 0 : ends[index - 1]);
  return { bytes, ends };
}

export function splitBatch({ bytes, ends }: Batch): Buffer[] {
  return ends.map((end, index) => {
    const start = index === 0 ? 0 : (ends[index - 1] as number);
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  });
}

export class CompressionThread {
  readonly #worker = new Worker(new URL('./compression-worker.ts', import.meta.url), { stdin: false });
  readonly #batch: Uint8Array[] = [];
  #bytes = 0;
  #sent = 0;
  readonly #pages: Buffer[] = [];
  #received = 0;
  readonly #done = Promise.withResolvers<readonly Buffer[]>();
  #isComplete = false;

  constructor() {
    this.#worker.on('message', (batch: Batch) => this.#take(batch));
    this.#worker.once('error', this.#done.reject);
    this.#worker.once('exit', (code) =>
      this.#done.reject(new Error(`compression thread ended with ${code}`)),
    );
    // Whoever does not come to ask for the pages failed for another reason.
    this.#done.promise.catch(() => undefined);
  }

  add(content: Uint8Array): void {
    this.#batch.push(content);
    this.#bytes += content.length;
    if (this.#bytes >= batchBytes) this.#send();
  }

  /** All pages, compressed. Nothing may be added any more. */
  finish(): Promise<readonly Buffer[]> {
    this.#send();
    this.#isComplete = true;
    this.#settle();
    return this.#done.promise;
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  #send(): void {
    const batch = joinBatch(this.#batch.splice(0));
    this.#bytes = 0;
    this.#sent++;
    this.#worker.postMessage(batch, [batch.bytes.buffer]);
  }

  #take(batch: Batch): void {
    this.#pages.push(...splitBatch(batch));
    this.#received++;
    this.#settle();
  }

  #settle(): void {
    if (this.#isComplete && this.#received === this.#sent) this.#done.resolve(this.#pages);
  }
}
