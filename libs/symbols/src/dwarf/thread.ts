// The worker's side of `threads.ts`: takes parts until none is left, then hands its columns over.
import { parentPort } from 'node:worker_threads';
import { SymbolsError } from '../symbols-error.ts';
import { Budget } from './budget.ts';
import { Extraction, type PartialExtraction } from './extraction.ts';
import { sectionsOf } from './shared-sections.ts';
import { type ThreadResult, type ThreadTask, takeParts } from './threads.ts';

function run(task: ThreadTask): ThreadResult {
  try {
    const extraction = new Extraction(sectionsOf(task.sections), new Budget(task.bytesMax));
    takeParts(extraction, task);
    return { part: extraction.toPartial() };
  } catch (error) {
    if (!(error instanceof SymbolsError)) throw error;
    return { error: { code: error.code, what: error.what, why: error.message } };
  }
}

function buffersOf({ segments, locations }: PartialExtraction): ArrayBuffer[] {
  return [...Object.values(segments), ...Object.values(locations)].map(
    (column: Float64Array | Int32Array) => column.buffer as ArrayBuffer,
  );
}

parentPort?.once('message', (task: ThreadTask) => {
  const result = run(task);
  parentPort?.postMessage(result, 'part' in result ? buffersOf(result.part) : []);
});
