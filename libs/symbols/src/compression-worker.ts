// The other side of `CompressionThread`: compresses what comes, and sends it back.
import { parentPort } from 'node:worker_threads';
import { type Batch, joinBatch, splitBatch } from './compression-thread.ts';
import { compress } from './symbol-table-compression.ts';

parentPort?.on('message', (batch: Batch) => {
  const compressed = joinBatch(splitBatch(batch).map(compress));
  parentPort?.postMessage(compressed, [compressed.bytes.buffer]);
});
