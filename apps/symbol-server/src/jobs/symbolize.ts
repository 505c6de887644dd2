// Makes the table that follows from an executable's set of sources, and makes it known. Each step leaves things so that
// whoever does the job again comes to the same end: table file, archive, pages in the store, flip of the record, a line in
// the set. Only the flip is seen from outside.
import { type FileHandle, open, rm } from 'node:fs/promises';
import { type Clock, type EpochSample, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, parseExecutableId, SymkeepError } from '@symkeep/protocol';
import { headerLengthOf, headerPrefixBytes, openSymbolTable, symbolTableVersion } from '@symkeep/symbols';
import type { Logger } from 'pino';
import { type BlobStore, tableKey } from '../blobs/blob-store.ts';
import type { Catalog, TableSummary } from '../catalog/index.ts';
import type { TableBytes } from '../catalog/tables.ts';
import type { Extractor } from '../extraction/index.ts';
import {
  type Attempt,
  type SourceSet,
  type TableVersion,
  touched,
  usableSources,
  withAttempt,
} from '../sources/source-set.ts';
import type { Jobs } from './jobs.ts';
import { type DerivedTable, PartExtraction } from './part-extraction.ts';
import { planOf, readyTable } from './plan.ts';
import { JobFailure, type RunningJob } from './queue.ts';

/** A job that is over by then was never seen to run: most are, and saying so would cost more than they do. */
const runningMs = 250;
/** Tables up to this are read at once to be put into the store. */
const readWholeBytesMax = 1_048_576;
/** Of a record's reason: it goes with every reply that has the record. */
const reasonLengthMax = 500;
/** Share of the work that is done once the table is made; the rest is putting it where it belongs. */
const derivedShare = 0.8;

export interface SymbolizerDeps {
  readonly catalog: Pick<Catalog, 'demand' | 'epoch' | 'sources' | 'states' | 'tables'>;
  readonly blobs: BlobStore;
  readonly extractor: Extractor;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Logger;
}

type Facts = Omit<TableSummary, 'reason'>;

export class Symbolizer {
  readonly #deps: SymbolizerDeps;
  #ending = false;

  constructor(deps: SymbolizerDeps) {
    this.#deps = deps;
  }

  /** What is under way from now on fails as what may pass: its extraction may have been ended. */
  end(): void {
    this.#ending = true;
  }

  /** Does a job: the newest set counts, whichever it was queued for. Throws `JobFailure`. */
  async run({ data, isLast, progress }: RunningJob): Promise<void> {
    const id = parseExecutableId(data.id);
    const sample = this.#deps.catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw passing(sample);
    let set: SourceSet | undefined;
    try {
      set = known(await this.#deps.catalog.sources.read(id));
      if (set.version === 0) return;
      await this.#wake(id, set, sample);
      await this.#follow(id, set, sample, progress);
      const outage = sample.outage();
      if (outage !== null) throw outage;
    } catch (error) {
      throw await this.#failed(id, set, error as Error, isLast, sample);
    }
  }

  async #follow(
    id: ExecutableId,
    set: SourceSet,
    sample: EpochSample,
    progress: RunningJob['progress'],
  ): Promise<void> {
    const parts = planOf(set);
    const ready = readyTable(set, parts);
    if (ready !== undefined && (await this.#republish(id, set, ready, sample))) return;
    if (set.pinned !== undefined)
      throw new JobFailure('missing_table', `the pinned table ${set.pinned} is gone`, false);
    if (parts.length === 0) return this.#withdraw(id, set, sample);
    this.#deps.log.debug({ id, set: set.version }, 'making a table');
    const derivation = new PartExtraction({ ...this.#deps, sources: this.#deps.catalog.sources }, id, sample);
    const saying = this.#sayRunning(id, set, sample);
    let derived: DerivedTable;
    try {
      derived = await derivation.derive(parts, async (done) => {
        if (saying.isSaid()) await progress(done * derivedShare);
      });
    } finally {
      await saying.end();
    }
    if (this.#ending) throw new JobFailure('unavailable', 'the worker ends', true);
    await this.#publish(id, set, derived, sample);
  }

  /** Says in the record that the job runs, once it has for a while; `end` resolves when nothing more will be said. */
  #sayRunning(
    id: ExecutableId,
    { version }: SourceSet,
    sample: EpochSample,
  ): { isSaid: () => boolean; end: () => Promise<void> } {
    let said: Promise<StoreUnavailable | undefined> | undefined;
    const cancel = this.#deps.clock.setTimer(runningMs, () => {
      said = this.#deps.catalog.states.running(id, version, sample);
    });
    return {
      isSaid: () => said !== undefined,
      end: async () => {
        cancel();
        known(await said);
      },
    };
  }

  async #publish(
    id: ExecutableId,
    set: SourceSet,
    derived: DerivedTable,
    sample: EpochSample,
  ): Promise<void> {
    const { table, path, from, troubles } = derived;
    const { digest, quality, functions, ranges, bytes } = table;
    const facts: Facts = {
      digest,
      quality,
      functions,
      ranges,
      bytes,
      sources: table.sources.map(({ source }) => source),
    };
    const reason = troubles.length === 0 ? {} : { reason: reasonOf(troubles) };
    // Read through what is open: the archive may move the file.
    const file = await open(path, 'r');
    try {
      await this.#deps.blobs.keepFile(tableKey(id, digest), path);
      const generation = await this.#flip(
        id,
        set,
        { ...facts, ...reason },
        await bytesOf(file, bytes),
        sample,
      );
      const partial = troubles.length === 0 ? {} : { partial: true as const };
      const made = { digest, generation, format: symbolTableVersion, quality, from, ...partial };
      await this.#conclude(id, set, sample, {}, made);
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
  }

  /** Gives a table out again that the archive has. False if it has not. */
  async #republish(
    id: ExecutableId,
    set: SourceSet,
    table: TableVersion,
    sample: EpochSample,
  ): Promise<boolean> {
    const key = tableKey(id, table.digest);
    if ((await this.#deps.blobs.info(key)) === null) return false;
    const bytes: TableBytes = async (start, end) => {
      const read = await this.#deps.blobs.read(key, { start, end });
      if (read === null) throw new JobFailure('unavailable', `table ${table.digest} went away`, true);
      return read;
    };
    const header = openSymbolTable(await bytes(0, headerLengthOf(await bytes(0, headerPrefixBytes))));
    const { quality, functions, ranges, sources, pageOffsets } = header;
    const facts: Facts = {
      ...{ digest: table.digest, quality, functions, ranges, bytes: pageOffsets.at(-1)! },
      sources: sources.map(({ source }) => source),
    };
    const generation = await this.#flip(id, set, facts, bytes, sample);
    // It keeps its place in the history: only what is newly made comes first.
    await this.#conclude(id, set, sample, {});
    this.#deps.log.debug({ id, digest: table.digest, generation }, 'table given out again');
    return true;
  }

  async #flip(
    id: ExecutableId,
    set: SourceSet,
    summary: TableSummary,
    bytes: TableBytes,
    sample: EpochSample,
  ): Promise<number> {
    const { demand, tables, states } = this.#deps.catalog;
    const key = { id, digest: summary.digest };
    known(await tables.write(key, bytes, sample));
    const { status, generation } = known(await states.ready(id, summary, set.version, sample));
    if (status === 'erased') known(await tables.drop([key]));
    known(await demand.satisfied([id]));
    return generation;
  }

  async #withdraw(id: ExecutableId, set: SourceSet, sample: EpochSample): Promise<void> {
    known(await this.#deps.catalog.states.withdrawn(id, set.version, sample));
    await this.#conclude(id, set, sample, {});
  }

  /** Writes into the set what came of it, so that nobody tries again what is done or cannot be done. */
  async #conclude(
    id: ExecutableId,
    { version }: SourceSet,
    sample: EpochSample,
    outcome: Pick<Attempt, 'failure'>,
    table?: Omit<TableVersion, 'at'>,
  ): Promise<void> {
    const changed = await this.#deps.catalog.sources.change(
      id,
      (current, at) => {
        const attempt = { version, format: symbolTableVersion, at, ...outcome };
        return withAttempt(current, attempt, table === undefined ? undefined : { ...table, at });
      },
      sample,
    );
    known(changed);
  }

  // A dwz file has come: what was made without it is made again.
  async #wake(id: ExecutableId, { dependents = [], ...set }: SourceSet, sample: EpochSample): Promise<void> {
    if (dependents.length === 0 || usableSources(set).length === 0) return;
    const { sources } = this.#deps.catalog;
    for (const dependent of dependents) {
      const next = (its: SourceSet, now: number) => (its.version === 0 ? its : touched(its, now));
      const { after } = known(await sources.change(dependent, next, sample));
      if (after.version > 0) await this.#deps.jobs.enqueue(dependent, after);
    }
    const woken = (its: SourceSet): SourceSet => {
      const waiting = its.dependents?.filter((one) => !dependents.includes(one)) ?? [];
      return { ...its, dependents: waiting };
    };
    known(await sources.change(id, woken, sample));
  }

  /** The failure to throw, once the record and the set say it. An outage is none of the executable's. */
  async #failed(
    id: ExecutableId,
    set: SourceSet | undefined,
    error: Error,
    isLast: boolean,
    sample: EpochSample,
  ): Promise<JobFailure> {
    const failure = failureOf(error);
    const { code, message, mayPass } = failure;
    if (code === 'internal') this.#deps.log.error({ err: error, id }, 'a job failed as none should');
    if (set === undefined || this.#ending || (code === 'unavailable' && !isLast)) return failure;
    const { states } = this.#deps.catalog;
    const reason = reasonOf([failure]);
    const isOver = isLast || !mayPass;
    try {
      if (!isOver) known(await states.queued(id, set.version, sample, reason));
      else {
        known(await states.failed(id, set.version, reason, sample));
        await this.#conclude(id, set, sample, { failure: { code, message, mayPass } });
      }
    } catch (outage) {
      return failureOf(outage as Error);
    }
    return failure;
  }
}

async function bytesOf(file: FileHandle, length: number): Promise<TableBytes> {
  const read = async (start: number, end: number) => {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    return buffer.subarray(0, bytesRead);
  };
  if (length > readWholeBytesMax) return read;
  const whole = await read(0, length);
  return async (start, end) => whole.subarray(start, end);
}

function reasonOf(troubles: readonly { code: string; message: string }[]): string {
  const text = troubles.map(({ code, message }) => `${code}: ${message}`).join('; ');
  return text.length <= reasonLengthMax ? text : `${text.slice(0, reasonLengthMax - 1)}…`;
}

function known<T>(value: T | StoreUnavailable): T {
  if (value instanceof StoreUnavailable) throw value;
  return value;
}

function passing(outage: StoreUnavailable): JobFailure {
  return new JobFailure('unavailable', outage.message, true);
}

function failureOf(error: Error): JobFailure {
  if (error instanceof JobFailure) return error;
  if (error instanceof StoreUnavailable) return passing(error);
  if (error instanceof SymkeepError && error.code === 'unavailable')
    return new JobFailure('unavailable', error.message, true);
  return new JobFailure('internal', error.message, true);
}
