// Pushing files to the server: each is offered first and sent only if it is wanted; several at once; what may pass is
// tried again.
import type { Clock } from '@symkeep/cache';
import { type ExecutableId, SymkeepError } from '@symkeep/protocol';
import type { Client } from '../client.ts';
import { contentDigestOf } from '../sources/content-digest.ts';
import type { FoundFile } from './elf-walk.ts';
import { nameOf, type Offered, offerOf } from './offer.ts';
import { FileSender } from './send-file.ts';

/** Tries of one file: some two minutes in all, which is what a server needs to come back. */
const triesMax = 8;
const firstPauseMs = 500;
const longestPauseMs = 30_000;
const firstPollMs = 100;
const longestPollMs = 2_000;

export type PushStatus = 'pushed' | 'kept' | 'skipped' | 'failed';

export interface Pushed {
  readonly path: string;
  readonly status: PushStatus;
  readonly id?: ExecutableId;
  readonly reason?: string;
  readonly job?: string;
}

export interface PushOptions {
  readonly client: Client;
  readonly token: string | undefined;
  readonly parallel: number;
  readonly clock: Clock;
  readonly replace: boolean;
  /** A file is done, or so many more bytes of files are. */
  readonly onProgress: (step: { readonly bytes?: number; readonly done?: Pushed }) => void;
}

/** What became of each file, in order. */
export async function pushFiles(files: readonly FoundFile[], options: PushOptions): Promise<Pushed[]> {
  const sender = new FileSender(options.clock);
  const results: Pushed[] = [];
  let next = 0;
  const work = async () => {
    for (let at = next++; at < files.length; at = next++) {
      const done = await pushFile(files[at]!, options, sender);
      results[at] = done;
      options.onProgress({ done });
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(options.parallel, files.length) }, work));
  } finally {
    sender.close();
  }
  return results;
}

async function pushFile(file: FoundFile, options: PushOptions, sender: FileSender): Promise<Pushed> {
  const { path } = file;
  let sent = 0;
  let id: ExecutableId | undefined;
  try {
    const offer = await offerOf(file);
    if (typeof offer === 'string') return { path, status: 'skipped', reason: offer };
    id = offer.id;
    return await persistently(options.clock, async () => {
      options.onProgress({ bytes: -sent });
      sent = 0;
      return pushOffer(offer, options, sender, (bytes) => {
        sent += bytes;
        options.onProgress({ bytes });
      });
    });
  } catch (error) {
    const reason = (error as Error).message;
    return { path, status: 'failed', ...(id === undefined ? {} : { id }), reason };
  } finally {
    options.onProgress({ bytes: file.bytes - sent });
  }
}

async function pushOffer(
  offer: Offered,
  { client, token, replace }: PushOptions,
  sender: FileSender,
  onSent: (bytes: number) => void,
): Promise<Pushed> {
  const { path, id, digest, bytes, question } = offer;
  const place = `/v1/executables/${encodeURIComponent(id)}/debuginfo`;
  const reason = replace ? undefined : await client.refusal(`${place}${question}`);
  if (reason !== undefined) return { path, id, status: 'skipped', reason };
  const query = new URLSearchParams({ name: nameOf(offer), replace: String(replace) });
  const { status, body } = await sender.send({
    ...{ url: `${client.url}${place}?${query}`, token, path, bytes, onSent },
    headers: { 'content-digest': contentDigestOf(digest) },
  });
  const { job, reason: kept } = body as { job?: string; reason?: string };
  if (status !== 202 || job === undefined)
    return { path, id, status: 'kept', ...(kept === undefined ? {} : { reason: kept }) };
  // A stripped executable, or a file that others refer to, makes no table by itself.
  return { path, id, status: 'pushed', ...(offer.facts.covered === 0 ? {} : { job }) };
}

// Tries again what may pass, after as long as the server says, or growing pauses. Half of a pause is chance, so that
// those who were refused together do not come back together.
async function persistently<T>(clock: Clock, run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (error) {
      const { code, retryAfterSeconds = 0 } = SymkeepError.from(error);
      if ((code !== 'unavailable' && code !== 'rate_limited') || tries === triesMax) throw error;
      const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (tries - 1));
      await clock.sleep(Math.max(retryAfterSeconds * 1_000, pauseMs) * (0.5 + Math.random() / 2));
    }
  }
}

interface JobReply {
  readonly state: string;
  readonly error?: { readonly code: string; readonly message: string };
}

/**
 * Waits until the symbols of what was pushed are ready. Results with those that failed marked so. Of several files of one
 * executable only the last job counts: it makes the table from all of them.
 */
export async function waitForJobs(
  pushed: readonly Pushed[],
  { client, clock }: Pick<PushOptions, 'client' | 'clock'>,
  onReady: (count: number) => void,
): Promise<Pushed[]> {
  const last = new Map(pushed.filter(({ job }) => job !== undefined).map((one) => [one.id, one.job!]));
  const failures = new Map<string, string>();
  let ready = 0;
  for (const job of last.values()) {
    const failure = await jobFailure(client, clock, job);
    if (failure !== undefined) failures.set(job, failure);
    onReady(++ready);
  }
  return pushed.map((one) => {
    const reason = one.job === undefined ? undefined : failures.get(one.job);
    return reason === undefined ? one : { ...one, status: 'failed', reason };
  });
}

async function jobFailure(client: Client, clock: Clock, job: string): Promise<string | undefined> {
  for (let pauseMs = firstPollMs; ; pauseMs = Math.min(longestPollMs, pauseMs * 1.5)) {
    const { state, error } = await persistently(
      clock,
      async () => (await client.get(`/v1/jobs/${encodeURIComponent(job)}`)) as JobReply,
    );
    if (state === 'done') return undefined;
    if (state === 'failed') return error === undefined ? 'its job failed' : `${error.code}: ${error.message}`;
    await clock.sleep(pauseMs);
  }
}
