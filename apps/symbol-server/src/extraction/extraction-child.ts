// One extraction child: a process with bounds of its own, that does one task at a time.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@symkeep/cache';
import { ExtractionFailure } from './extraction-failure.ts';
import type { ExtractedTable, ExtractionAnswer, ExtractionTask, FillTask } from './messages.ts';

const bounded = fileURLToPath(new URL('./bounded.sh', import.meta.url));
/** What the kernel counts as data of a Node that does nothing: room for code that is hardly touched. Measured: 576 MB. */
const baseDataBytes = 640 * 1024 ** 2;
/** The same of a thread, which has room for code of its own. Measured: 550 MB. */
const threadDataBytes = 640 * 1024 ** 2;
/** V8's part of the memory; the columns of a table, and sections, are beside it. */
const heapShare = 0.5;
/** A child that kept more than this after a task is not used again. */
const residentBytesMax = 256 * 1024 ** 2;
/** Of what it wrote to stderr, the end: V8's last words have the reason, and then pages of stack. */
const keptBytes = 16_384;

const outOfMemory = /out of memory|allocation failed|bad_alloc|cannot allocate memory|ENOMEM/i;

export interface ChildBounds {
  readonly memoryBytes: number;
  readonly threads: number;
}

export class ExtractionChild {
  readonly #process: ChildProcess;
  readonly #ended: Promise<string>;
  #said = '';
  uses = 0;
  #residentBytes = 0;

  constructor(program: URL, { memoryBytes, threads }: ChildBounds) {
    const dataBytes = baseDataBytes + (threads > 1 ? threads : 0) * threadDataBytes + memoryBytes;
    const heapMiB = Math.max(16, Math.floor((memoryBytes * heapShare) / 1024 ** 2));
    const node = [process.execPath, `--max-old-space-size=${heapMiB}`, fileURLToPath(program)];
    this.#process = spawn('sh', [bounded, String(Math.floor(dataBytes / 1024)), ...node], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // It reads files of strangers: nothing secret is within its reach.
      env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR },
    });
    this.#process.stderr?.on('data', (text: Buffer) => {
      this.#said = `${this.#said}${text.toString()}`.slice(-keptBytes);
    });
    this.#ended = new Promise((resolve) => {
      this.#process.once('error', (error) => resolve(error.message));
      this.#process.once('close', (code, signal) => resolve(signal ?? `code ${code}`));
    });
  }

  /** Whether it may have another task: it lives, and has given back what the last one took. */
  get isFit(): boolean {
    const { exitCode, signalCode } = this.#process;
    return exitCode === null && signalCode === null && this.#residentBytes <= residentBytesMax;
  }

  /** The outcome of one task; a child that took too long is ended. */
  async run(
    task: ExtractionTask | FillTask,
    timeMs: number,
    clock: Clock,
  ): Promise<ExtractedTable | ExtractionFailure> {
    this.uses++;
    let late = false;
    const cancel = clock.setTimer(timeMs, () => {
      late = true;
      this.#process.kill('SIGKILL');
    });
    const outcome = await Promise.race([this.#ask(task), this.#ended]);
    cancel();
    if (typeof outcome === 'string') {
      return late
        ? new ExtractionFailure('timeout', `took longer than ${timeMs / 1_000} s`)
        : this.#death(outcome);
    }
    this.#residentBytes = outcome.residentBytes;
    if ('table' in outcome) return outcome.table;
    return new ExtractionFailure(outcome.failure.code, outcome.failure.message);
  }

  #ask(task: ExtractionTask | FillTask): Promise<ExtractionAnswer> {
    return new Promise((resolve) => {
      this.#process.once('message', (answer) => resolve(answer as ExtractionAnswer));
      // That it cannot be sent is told by the end of the process.
      this.#process.send(task, () => undefined);
    });
  }

  async end(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }

  #death(how: string): ExtractionFailure {
    const reason = this.#said.split('\n').find((line) => outOfMemory.test(line));
    if (reason !== undefined) return new ExtractionFailure('out_of_memory', reason.trim());
    const last = this.#said.trimEnd().split('\n').at(-1) ?? '';
    return new ExtractionFailure('crashed', `ended with ${how}${last === '' ? '' : `: ${last}`}`);
  }
}
