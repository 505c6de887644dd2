// Sends the files that the server asks this agent for, one at a time and no faster than told, and gives back the leases of
// those it does not send. Nothing is ever sent that was not asked for.
//
//     asked ─► queue ─► find ─► hash ─► IDs again ─► PUT, paced ─► done
//                         └ nothing here: given back      └ failed: given back by either side
import type { Clock } from '@symkeep/cache';
import { type ExecutableId, SymkeepError, type UploadRequest } from '@symkeep/protocol';
import type { Inventory, LiveExecutable } from '../inventory.ts';
import type { Log } from '../log.ts';
import type { ReturnReason, ServerClient } from '../server-client.ts';
import type { FileFinder } from './file-finder.ts';
import type { SendableFile } from './sendable-file.ts';

/** The server asks for four at once; one reply more may be on its way. */
const queueMax = 8;
/** Sent between two pauses at most; of slower rates an eighth of a second. */
const partBytesMax = 65_536;
/** What a stop waits for its leases to be given back; what is not then ends by itself. */
const giveBackMs = 1_000;

export interface UploaderOptions {
  readonly client: ServerClient;
  readonly inventory: Inventory;
  readonly finder: FileFinder;
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes per second. */
  readonly rate: number;
  /** Of one file. */
  readonly bytesMax: number;
  /** Called when nothing is left to send, with the executables of what was sent. */
  readonly onIdle: (sent: readonly ExecutableId[]) => void;
}

/** Counts since the start: `asked = sent + kept + absent + failed + returned + running`. */
export interface UploadMetrics {
  readonly asked: number;
  /** Requests in which the server took at least one file in. */
  readonly sent: number;
  /** The server had as good or better already. */
  readonly kept: number;
  readonly absent: number;
  readonly failed: number;
  /** Given back unsent: the agent stopped, or was asked for too many. */
  readonly returned: number;
  readonly running: number;
  readonly bytes: number;
}

export class Uploader {
  readonly #options: UploaderOptions;
  readonly #queue: UploadRequest[] = [];
  readonly #stopping = new AbortController();
  readonly #counts = { asked: 0, sent: 0, kept: 0, absent: 0, failed: 0, returned: 0, bytes: 0 };
  #current: UploadRequest | undefined;
  #working: Promise<void> | undefined;

  constructor(options: UploaderOptions) {
    this.#options = options;
  }

  get isBusy(): boolean {
    return this.#working !== undefined;
  }

  metrics(): UploadMetrics {
    return { ...this.#counts, running: this.#queue.length + (this.#current === undefined ? 0 : 1) };
  }

  /** Takes in what the server asks for. */
  take(requests: readonly UploadRequest[]): void {
    for (const request of requests) {
      this.#counts.asked++;
      if (this.#stopping.signal.aborted || this.#queue.length >= queueMax) void this.#return(request);
      else this.#queue.push(request);
    }
    if (this.#queue.length > 0) this.#working ??= this.#work();
  }

  /** Stops what is on its way, and gives back what was asked for, within about a second. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the agent stops'));
    await Promise.all([this.#working, ...this.#queue.splice(0).map((request) => this.#return(request))]);
  }

  async #work(): Promise<void> {
    const sent: ExecutableId[] = [];
    for (let request = this.#queue.shift(); request !== undefined; request = this.#queue.shift()) {
      this.#current = request;
      if (await this.#answer(request)) sent.push(request.of ?? request.id);
      this.#current = undefined;
    }
    this.#working = undefined;
    if (!this.#stopping.signal.aborted) this.#options.onIdle(sent);
  }

  /** Whether a file was sent. */
  async #answer(request: UploadRequest): Promise<boolean> {
    const { log } = this.#options;
    const { id } = request;
    let found: SendableFile[] = [];
    try {
      found = await this.#find(request);
      if (found.length === 0) {
        this.#counts.absent++;
        await this.#giveBack(request, 'absent');
        return false;
      }
      const outcomes: string[] = [];
      for (const file of found) outcomes.push(await this.#send(request, file));
      const outcome = outcomes.includes('accepted') ? 'sent' : 'kept';
      this.#counts[outcome]++;
      log.info('a file was asked for and sent', { id, outcome, bytes: found.map(({ bytes }) => bytes) });
      return true;
    } catch (error) {
      await this.#fail(request, error);
      return false;
    } finally {
      for (const file of found) file.close();
    }
  }

  async #find({ id, of }: UploadRequest): Promise<SendableFile[]> {
    const { finder, inventory, bytesMax } = this.#options;
    const live = new Set<LiveExecutable>(inventory.find(of ?? id));
    const identities = new Set<string>();
    for (const [identity, executable] of inventory.files())
      if (live.has(executable)) identities.add(identity);
    if (identities.size === 0) return [];
    return finder.find({ id, of, identities, bytesMax }, this.#stopping.signal);
  }

  async #send(request: UploadRequest, file: SendableFile): Promise<string> {
    const { client } = this.#options;
    const { signal } = this.#stopping;
    const { sha256 } = await file.hashes(signal);
    if (!file.isStillIt()) throw new SymkeepError('conflict', 'the file changed while it was read');
    return client.upload(request, { bytes: file.bytes, sha256, parts: this.#paced(file) }, signal);
  }

  async *#paced(file: SendableFile): AsyncGenerator<Uint8Array> {
    const { clock, rate } = this.#options;
    const startedAt = clock.now();
    let sent = 0;
    for (const part of file.parts(Math.max(1, Math.min(partBytesMax, Math.floor(rate / 8))))) {
      yield part;
      sent += part.length;
      this.#counts.bytes += part.length;
      const waitMs = startedAt + (sent / rate) * 1_000 - clock.now();
      if (waitMs > 0 && sent < file.bytes) await clock.sleep(waitMs, this.#stopping.signal);
    }
  }

  async #fail(request: UploadRequest, thrown: unknown): Promise<void> {
    if (this.#stopping.signal.aborted) return this.#return(request);
    this.#counts.failed++;
    const error = SymkeepError.from(thrown);
    const { code } = error;
    this.#options.log.warn('a file that was asked for could not be sent', { id: request.id, code, error });
    await this.#giveBack(request, code === 'unavailable' ? 'unavailable' : 'failed');
  }

  #return(request: UploadRequest): Promise<void> {
    this.#counts.returned++;
    return this.#giveBack(request, 'stopped');
  }

  // A lease that is not given back ends by itself; one that the server has ended already is a conflict.
  async #giveBack(request: UploadRequest, why: ReturnReason): Promise<void> {
    const { client, log } = this.#options;
    try {
      await client.giveBack(request, why, giveBackMs);
    } catch (error) {
      const { code } = SymkeepError.from(error);
      if (code !== 'conflict') log.warn('a lease could not be given back', { id: request.id, code, error });
    }
  }
}
