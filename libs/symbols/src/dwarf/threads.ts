// Big files: units spread over threads, each of which takes the next part as soon as it is done with one, while
// `.debug_info` is still being inflated. This thread is one of them: what it reads need not be copied from another, and
// its compiled code is at hand for what comes after.
import { Worker } from 'node:worker_threads';
import { SymbolsError } from '../symbols-error.ts';
import { Budget, defaultBytesMax } from './budget.ts';
import type { DebugSections } from './debug-sections.ts';
import { type DwarfExtraction, type DwarfOptions, extractDwarf } from './extract.ts';
import { Extraction, type PartialExtraction } from './extraction.ts';
import {
  type SharedInfo,
  type SharedSections,
  sectionsOf,
  shareInfo,
  shareSections,
} from './shared-sections.ts';

/** A thread costs 60 ms and its own tables; below this, one is as fast. */
const defaultThreadedBytesMin = 16 * 1024 * 1024;
/**
 * Small enough that threads end together and wait little for the inflation, large enough that taking one
 * costs nothing.
 */
const partBytes = 2 * 1024 * 1024;

export interface ThreadOptions extends DwarfOptions {
  /** Threads that read units, this one among them. It begins when all is inflated: pieces come by its event loop. */
  readonly threads: number;
  /** Files with less `.debug_info` are read by this thread. */
  readonly threadedBytesMin?: number;
}

/** What a worker starts with. */
export interface ThreadTask {
  readonly sections: SharedSections;
  readonly infoBytes: number;
  readonly bytesMax: number;
  /** One counter: the next part of `.debug_info` to take. */
  readonly next: Int32Array;
}

/** What it ends with. */
export type ThreadResult =
  | { readonly part: PartialExtraction }
  | { readonly error: { readonly code: SymbolsError['code']; readonly what: string; readonly why: string } };

/**
 * As `extractDwarf`, over `threads` threads. Files that gain nothing, or that have split units, are read by
 * this one. The table is the same but for the order of its locations, functions and files.
 */
export async function extractDwarfThreaded(
  sections: DebugSections,
  options: ThreadOptions,
): Promise<DwarfExtraction> {
  const { threads, threadedBytesMin = defaultThreadedBytesMin, bytesMax = defaultBytesMax } = options;
  const info = shareInfo(sections);
  if (info === undefined || info.bytes.length < threadedBytesMin) return extractDwarf(sections, options);
  const workers = Array.from(
    { length: threads - 1 },
    () => new Worker(new URL('./thread.ts', import.meta.url), { stdin: false }),
  );
  try {
    const extraction = await extractWith(workers, sections, info, bytesMax);
    // The other halves of split units cannot be looked up from a thread. Files that have them are small.
    const isSplit = sections.split !== undefined || sections.package !== undefined;
    return isSplit && extraction.stats.splitMissing > 0 ? extractDwarf(sections, options) : extraction;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

async function extractWith(
  workers: readonly Worker[],
  sections: DebugSections,
  info: SharedInfo,
  bytesMax: number,
): Promise<DwarfExtraction> {
  // While workers start.
  const shared = shareSections(sections, info);
  // This thread comes to hold what all of them found.
  const share = Math.floor(bytesMax / (workers.length + 2));
  const task: ThreadTask = {
    sections: shared,
    infoBytes: info.bytes.length,
    bytesMax: share,
    next: new Int32Array(new SharedArrayBuffer(4)),
  };
  const results = Promise.allSettled(workers.map((worker) => runThread(worker, task)));
  // First what went wrong with the section; threads fail after it, and for it.
  await info.fill?.(shared.progress);
  const extraction = new Extraction(sectionsOf(shared), new Budget(2 * share));
  takeParts(extraction, task);
  for (const read of await results) {
    if (read.status === 'rejected') throw read.reason;
    extraction.absorb(read.value);
  }
  return { table: extraction.finish(), stats: extraction.stats };
}

/**
 * Adds parts until none is left. The one that takes the last part notes what the units' headers suffer from.
 */
export function takeParts(extraction: Extraction, { infoBytes, next }: ThreadTask): void {
  const parts = Math.ceil(infoBytes / partBytes);
  for (let part = Atomics.add(next, 0, 1); part < parts; part = Atomics.add(next, 0, 1)) {
    extraction.addUnits(part * partBytes, (part + 1) * partBytes);
    if (part + 1 === parts) extraction.noteScanDamage();
  }
}

function runThread(worker: Worker, task: ThreadTask): Promise<PartialExtraction> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`extraction thread ended with ${code}`)));
    worker.once('message', (result: ThreadResult) => {
      if ('part' in result) resolve(result.part);
      else reject(new SymbolsError(result.error.code, result.error.what, result.error.why));
    });
    worker.postMessage(task);
  });
}
