// The queue of jobs on Redis, and the one importer of BullMQ. It says who works on what and when; what is to be done,
// and what came of it, stands in records and sets, so a queue that was lost is made again from them.
import type { Clock } from '@symkeep/cache';
import { SymkeepError } from '@symkeep/protocol';
import { type Job, Queue, UnrecoverableError, Worker } from 'bullmq';
import type { RedisClient } from '../redis.ts';
import type { JobState } from './jobs.ts';

const queueName = 'symbolize';
/** What a worker's silence costs before its jobs are taken over. Renewed twice within it. */
const lockMs = 10_000;
const stalledMs = 5_000;
/** A job is given up when this many workers were ended over it: kills come in rows, and say nothing of the job. */
const stalledMax = 1_000;
/** Attempts of a job whose failure may pass, with pauses of 2, 4, 8 … s: some eight minutes in all. */
const attemptsMax = 8;
const retryMsDefault = 2_000;
/** Ended jobs that can still be asked for; what came of older ones is in the records. */
const doneKept = { age: 3_600, count: 10_000 };
const failedKept = { age: 7 * 86_400, count: 100_000 };
/** BullMQ's own log of events, which nobody here follows. */
const eventsKept = 1_000;
/** For one answer of Redis. */
const answerMs = 2_000;

/** Why a job did not do its work, and whether doing it again may help. */
export class JobFailure extends Error {
  override readonly name = 'JobFailure';
  readonly code: string;
  readonly mayPass: boolean;
  constructor(code: string, message: string, mayPass: boolean) {
    super(message);
    this.code = code;
    this.mayPass = mayPass;
  }
}

export interface JobData {
  readonly id: string;
}

export interface JobQueueOptions {
  /** `createRedis`; closed with the queue. */
  readonly client: RedisClient;
  readonly namespace: string;
  readonly clock: Clock;
  /** First pause before a failed job is tried again. */
  readonly retryMs?: number;
}

/** Where jobs are put. It fails at once when Redis is away: whoever asked is waiting. */
export class JobQueue {
  readonly #options: JobQueueOptions;
  #queue: Queue<JobData> | undefined;

  constructor(options: JobQueueOptions) {
    this.#options = options;
  }

  /**
   * Adds a job that is not there yet; runs one again that has ended; leaves one that waits or runs. `before` is done before
   * any of it, but not for one that runs. `priority` 0 comes first, then 1, 2, …. Throws `unavailable`, and what `before` throws.
   */
  async add(job: string, data: JobData, before: () => Promise<void>, priority = 0): Promise<void> {
    const known = await this.ask((queue) => queue.getJob(job));
    const state = known === undefined ? 'unknown' : await this.ask(() => known.getState());
    if (state === 'active') return;
    await before();
    await this.ask(async (queue) => {
      // BullMQ ignores an `add` under an ID that it keeps.
      if (state === 'failed') return known!.retry('failed', { resetAttemptsMade: true });
      // Whoever asks has reason to hope: it need not wait for its next attempt.
      if (state === 'delayed') return known!.promote();
      if (state === 'completed') await known!.remove();
      else if (state !== 'unknown') return;
      await queue.add(queueName, data, { jobId: job, ...(priority === 0 ? {} : { priority }) });
    });
  }

  /** Null if there is none of this ID. Throws `unavailable`. */
  state(job: string): Promise<JobState | null> {
    return this.ask(async (queue) => {
      // The state first: what is read of the job afterwards says at least as much.
      const state = stateOf(await queue.getJobState(job));
      const known = state === undefined ? undefined : await queue.getJob(job);
      if (state === undefined || known === undefined) return null;
      const position = state === 'queued' ? await positionOf(this.#options.client, queue, job) : undefined;
      return {
        ...{ state, progress: progressOf(known) },
        ...(position === undefined ? {} : { position }),
        ...errorOf(known),
      };
    });
  }

  async close(): Promise<void> {
    await this.#queue?.close();
    this.#options.client.disconnect();
  }

  /** Runs what asks the queue itself. Throws `unavailable` if it cannot be asked in time. */
  async ask<T>(ask: (queue: Queue<JobData>) => Promise<T>): Promise<T> {
    const { client, clock } = this.#options;
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = clock.setTimer(answerMs, () => reject(new Error(`no answer in ${answerMs} ms`)));
    });
    try {
      if (client.status !== 'ready') throw new Error('not connected');
      this.#queue ??= this.#open();
      return await Promise.race([ask(this.#queue), late]);
    } catch (error) {
      if (!isOutage(error as Error)) throw error;
      const message = `the queue of jobs cannot be asked: ${(error as Error).message}`;
      throw new SymkeepError('unavailable', message, { cause: error, retryAfterSeconds: 1 });
    } finally {
      cancel();
    }
  }

  #open(): Queue<JobData> {
    const { client, namespace, retryMs = retryMsDefault } = this.#options;
    const queue = new Queue<JobData>(queueName, {
      connection: client,
      prefix: prefixOf(namespace),
      skipVersionCheck: true,
      skipWaitingForReady: true,
      streams: { events: { maxLen: eventsKept } },
      defaultJobOptions: {
        attempts: attemptsMax,
        backoff: { type: 'exponential', delay: retryMs, jitter: 0.5 },
        removeOnComplete: doneKept,
        removeOnFail: failedKept,
        stackTraceLimit: 0,
      },
    });
    queue.on('error', () => undefined); // told to whoever asks
    // One that did not come up never does.
    queue.waitUntilReady().catch(() => {
      if (this.#queue === queue) this.#queue = undefined;
    });
    return queue;
  }
}

export interface JobRunnerOptions {
  /** `createWaitingRedis`; closed with the runner. */
  readonly client: RedisClient;
  readonly namespace: string;
  readonly concurrency: number;
  readonly onTrouble: (error: Error) => void;
}

export interface RunningJob {
  readonly data: JobData;
  /** This is the last attempt: nobody tries again after it. */
  readonly isLast: boolean;
  /** Part of the work that is done, 0 to 1. */
  progress(done: number): Promise<void>;
}

/** Takes jobs and runs them. One whose process dies is taken over by another. */
export class JobRunner {
  readonly #worker: Worker<JobData>;
  readonly #client: RedisClient;

  /** `run` throws `JobFailure`; whatever else it throws may pass. */
  constructor(
    { client, namespace, concurrency, onTrouble }: JobRunnerOptions,
    run: (job: RunningJob) => Promise<void>,
  ) {
    this.#client = client;
    this.#worker = new Worker<JobData>(queueName, (job) => runJob(job, run), {
      connection: client,
      prefix: prefixOf(namespace),
      concurrency,
      skipVersionCheck: true,
      lockDuration: lockMs,
      stalledInterval: stalledMs,
      maxStalledCount: stalledMax,
    });
    this.#worker.on('error', onTrouble);
  }

  /** Takes no more jobs; resolves when those that run have ended. */
  async finish(): Promise<void> {
    await this.#worker.pause(false);
  }

  /** Lets go of jobs that still run: others take them over. */
  async close(): Promise<void> {
    await this.#worker.close(true);
    this.#client.disconnect();
  }
}

async function runJob(job: Job<JobData>, run: (job: RunningJob) => Promise<void>): Promise<void> {
  const isLast = job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
  const progress = (done: number) => job.updateProgress(done);
  try {
    await run({ data: job.data, isLast, progress });
  } catch (error) {
    if (!(error instanceof JobFailure)) throw error;
    const text = `${error.code}: ${error.message}`;
    throw error.mayPass ? new Error(text) : new UnrecoverableError(text);
  }
}

// All of a queue's keys are in one slot of a Cluster.
function prefixOf(namespace: string): string {
  return `{sk-jobs}:${namespace}`;
}

function stateOf(state: string): JobState['state'] | undefined {
  switch (state) {
    case 'active':
      return 'running';
    case 'completed':
      return 'done';
    case 'failed':
      return 'failed';
    case 'unknown':
      return undefined;
    default:
      return 'queued';
  }
}

/** Jobs without a priority are taken first, from the far end of their list; the others in the order of their scores. */
async function positionOf(
  client: RedisClient,
  queue: Queue<JobData>,
  job: string,
): Promise<number | undefined> {
  const [fromNear, waiting] = await Promise.all([
    client.lpos(queue.toKey('wait'), job),
    client.llen(queue.toKey('wait')),
  ]);
  if (fromNear !== null) return waiting - fromNear;
  const rank = await client.zrank(queue.toKey('prioritized'), job);
  return rank === null ? undefined : waiting + rank + 1;
}

function progressOf({ progress }: Job<JobData>): number {
  return typeof progress === 'number' ? progress : 0;
}

/** Also of a job that waits to be tried again. */
function errorOf({ failedReason }: Job<JobData>): Pick<JobState, 'error'> {
  if (failedReason === undefined || failedReason === '') return {};
  const [, code = 'internal', message = failedReason] = /^([a-z_]+): (.*)$/s.exec(failedReason) ?? [];
  return { error: { code, message } };
}

// What ioredis and our own deadline throw, and what Redis refuses: full, or not a master. The rest are our own faults.
function isOutage(error: Error): boolean {
  return !(error instanceof TypeError || error instanceof RangeError || error instanceof SymkeepError);
}
