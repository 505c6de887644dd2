// Extraction out of harm's way: in child processes that are bounded in memory and time, used again while they are small,
// and replaced when they are not. Whatever a file does to one, the worst outcome is a code. (Threads bound nothing: their
// typed arrays count to the process, which ends as a whole when they are too many.)
import type { Clock } from '@symkeep/cache';
import type { ElfFiles } from '../elf-files.ts';
import { ExtractionChild } from './extraction-child.ts';
import { ExtractionFailure } from './extraction-failure.ts';
import type { ExtractedTable, ExtractionTask, FillTask } from './messages.ts';

export type { ElfFiles } from '../elf-files.ts';
export { extractTable, threadsHere } from './extract-table.ts';
export { ExtractionFailure } from './extraction-failure.ts';
export type { ExtractedTable, ExtractionCode } from './messages.ts';

export interface ExtractionLimits {
  /** Of one child, beside what Node itself takes. */
  readonly memoryBytes: number;
  /** For one extraction, from when a child has it. */
  readonly timeMs: number;
}

/** The largest library measured (Chromium's, 4 GB of DWARF) takes 3 GB and two minutes with one thread. */
export const extractionLimits: ExtractionLimits = { memoryBytes: 4 * 1024 ** 3, timeMs: 300_000 };
/**
 * Uses of one child: what leaks in it, or fragments, ends with it. A start costs as much of the processor as a hundred small
 * files do, so it is spread over more.
 */
const usesMax = 2_000;

export interface ExtractorOptions {
  readonly clock: Clock;
  readonly limits?: Partial<ExtractionLimits>;
  /** Extractions at once; further ones wait. Default 1. */
  readonly children?: number;
  /** Threads of a big file's extraction. Default 1. */
  readonly threads?: number;
  /** What a child runs; it talks as `child.ts` does. */
  readonly program?: URL;
}

/** Counted since construction; every extraction ends as one of `tables` and `failures`. */
export interface ExtractorMetrics {
  readonly extractions: number;
  readonly tables: number;
  readonly failures: number;
  readonly childrenStarted: number;
  readonly inFlight: number;
  readonly waiting: number;
}

export class Extractor {
  readonly #options: Required<ExtractorOptions>;
  readonly #limits: ExtractionLimits;
  readonly #idle: ExtractionChild[] = [];
  readonly #busy = new Set<ExtractionChild>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #stopped = false;
  readonly #counts = { extractions: 0, tables: 0, failures: 0, childrenStarted: 0 };

  constructor(options: ExtractorOptions) {
    const program = new URL('./child.ts', import.meta.url);
    this.#limits = { ...extractionLimits, ...options.limits };
    this.#options = { children: 1, threads: 1, program, ...options, limits: this.#limits };
  }

  /**
   * Makes the symbol table of an executable and writes it, in its file form, to `output`; there is a file only of what
   * succeeded. Never rejects.
   */
  extract(files: ElfFiles, output: string): Promise<ExtractedTable | ExtractionFailure> {
    // A quarter is left for sections, and one for what is written.
    const bytesMax = Math.floor(this.#limits.memoryBytes / 2);
    return this.#inTurn({ files, output, threads: this.#options.threads, bytesMax });
  }

  /** Makes one table of finished ones, the best first, and writes it likewise. Never rejects. */
  fill(tables: readonly string[], output: string): Promise<ExtractedTable | ExtractionFailure> {
    return this.#inTurn({ tables, output });
  }

  async #inTurn(task: ExtractionTask | FillTask): Promise<ExtractedTable | ExtractionFailure> {
    this.#counts.extractions++;
    await this.#turn();
    try {
      const outcome = this.#stopped ? stopped() : await this.#run(task);
      if (outcome instanceof ExtractionFailure) this.#counts.failures++;
      else this.#counts.tables++;
      return outcome;
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  /** Ends all children. What is being extracted fails with `crashed`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const children = [...this.#idle.splice(0), ...this.#busy];
    await Promise.all(children.map((child) => child.end()));
  }

  metrics(): ExtractorMetrics {
    const waiting = this.#waiting.length;
    return { ...this.#counts, inFlight: this.#running, waiting };
  }

  async #turn(): Promise<void> {
    if (this.#running >= this.#options.children) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
  }

  async #run(task: ExtractionTask | FillTask): Promise<ExtractedTable | ExtractionFailure> {
    const child = this.#fitChild() ?? this.#start();
    this.#busy.add(child);
    const outcome = await child.run(task, this.#limits.timeMs, this.#options.clock);
    this.#busy.delete(child);
    const isReusable = !(outcome instanceof ExtractionFailure && outcome.isOfTheProcess);
    if (isReusable && child.isFit && child.uses < usesMax && !this.#stopped) this.#idle.push(child);
    else await child.end();
    return outcome;
  }

  /** One that was ended from outside while it waited is not used. */
  #fitChild(): ExtractionChild | undefined {
    const child = this.#idle.pop();
    return child === undefined || child.isFit ? child : this.#fitChild();
  }

  #start(): ExtractionChild {
    this.#counts.childrenStarted++;
    const { threads, program } = this.#options;
    return new ExtractionChild(program, { memoryBytes: this.#limits.memoryBytes, threads });
  }
}

function stopped(): ExtractionFailure {
  return new ExtractionFailure('crashed', 'extraction has been stopped');
}
