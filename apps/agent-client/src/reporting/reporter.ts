// Sees to it that the store has every executable of this host, and goes on to. What the store has is only what it has
// acknowledged in its present epoch; whoever lacks such a mark is reported, or checked first if an earlier epoch had it.
//
//     appeared ─┐                        ┌─ created, merged, unchanged ─► mark in the reply's epoch
//     missing ──┼─► queue ─► batch ─► POST ─ not now ─► stays in the queue, backoff
//     changed ──┘                        └─ refused ─► mark as refused, counted
//     new epoch, reset, due ─► checks ─► chunk ─► POST …/check ─► ok: mark; missing, changed: queue
//
// The queue goes before the next chunk of checks, so a store that lost everything fills up from the first request on.
import type { Clock } from '@symkeep/cache';
import {
  type CheckResult,
  canonicalIdOf,
  type ExecutableId,
  type FilesAsked,
  type ReportResult,
  SymkeepError,
  type SymkeepEvent,
  type UploadRequest,
} from '@symkeep/protocol';
import type { Inventory, InventoryChange, LiveExecutable } from '../inventory.ts';
import type { Log } from '../log.ts';
import type { ServerClient } from '../server-client.ts';
import type { Snapshot, SnapshotMark } from '../snapshot.ts';
import { Backoff } from './backoff.ts';
import { type Mark, ReportedMarks } from './reported-marks.ts';
import { Work } from './work.ts';

/** Executables in one report or check: 40 kB, and a failed request costs little. */
export const chunkMax = 100;
/** Each executable is checked this often even if nothing seems to have changed; it is what keeps `lastSeen` true, too. */
export const checkMs = 24 * 3_600_000;
/** What appears together is sent together. */
const gatherMs = 500;
/** Over which checks are spread that an event brings about. */
const wantedSpreadMs = 4_000;

/** How long after an earlier epoch came back its store is taken for one that still answers. */
const tornMs = 300_000;

/** Errors of an item that no repetition mends. */
const refusals = new Set([
  'invalid_argument',
  'too_large',
  'unprocessable',
  'unsupported',
  'erased',
  'conflict',
]);

/** Counts since the start: `enqueued = created + merged + unchanged + refused + queued`. */
export interface ReporterMetrics {
  readonly enqueued: number;
  readonly queued: number;
  readonly created: number;
  readonly merged: number;
  readonly unchanged: number;
  readonly refused: number;
  /** Lost: the queue was full, and the executable ended before it had room. */
  readonly dropped: number;
  /** Did not fit into the queue and waited in the inventory. */
  readonly deferred: number;
  /** Requests that failed, to be repeated. */
  readonly failures: number;
  readonly checking: number;
  readonly checks: Readonly<Record<CheckResult, number>>;
  readonly epochsNew: number;
  /** Times an epoch from before came back: more than one store behind one address. */
  readonly epochsBack: number;
  readonly marks: number;
}

export interface ReporterOptions {
  readonly client: ServerClient;
  readonly inventory: Inventory;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Told of an executable of which the store says something else than before. */
  readonly onChanged: (live: LiveExecutable) => void;
  /** Told of the files that a reply asks for; absent: what is sought is of no interest. */
  readonly onAsked?: ((files: readonly UploadRequest[]) => void) | undefined;
  readonly queueMax?: number | undefined;
}

type Outcome = 'done' | 'idle' | { readonly waitMs: number };

export class Reporter {
  readonly marks = new ReportedMarks();
  readonly #options: ReporterOptions;
  readonly #backoff: Backoff;
  readonly #work: Work;
  readonly #counts = { created: 0, merged: 0, unchanged: 0, refused: 0, dropped: 0, failures: 0 };
  readonly #epochs = { epochsNew: 0, epochsBack: 0 };
  readonly #checks = { ok: 0, missing: 0, changed: 0, erased: 0, unavailable: 0, invalid_argument: 0 };
  /** Executables whose file is sought: to be checked again. */
  readonly #sought = new Set<ExecutableId>();
  #batchMax = chunkMax;
  #cancelTimer: (() => void) | undefined;
  #sending: Promise<void> | undefined;
  /** Not to be troubled before, in the clock's milliseconds. */
  #notBefore = 0;
  /** Until then, two stores are taken to answer in turn: each is to have everything. */
  #tornUntil = 0;
  #stopped = false;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
    this.#work = new Work(options.queueMax);
  }

  /** Takes in what a pass over the host has found. */
  apply({ appeared, vanished }: InventoryChange): void {
    this.#plan(appeared);
    for (const { key } of vanished) {
      if (this.marks.latest(key) === undefined && !this.#work.isQueued(key)) this.#counts.dropped++;
    }
  }

  /** Takes in the epoch of a reply. */
  hear(epoch: string): void {
    const heard = this.marks.hear(epoch);
    if (heard === 'same') return;
    this.#epochs[heard === 'new' ? 'epochsNew' : 'epochsBack']++;
    if (heard === 'known') {
      this.#tornUntil = this.#options.clock.now() + tornMs;
      this.#options.log.warn('an earlier epoch is back: is there more than one store behind this address?', {
        epoch,
      });
      return;
    }
    this.#options.log.info('the store has a new epoch; checking what it knows', { epoch });
    this.#plan([...this.#options.inventory.values()]);
  }

  /** Once a cycle: finds what lacks a mark, whatever the reason, and what is due to be checked. */
  review(): void {
    this.#plan([...this.#options.inventory.values()]);
    this.checkSought([]);
  }

  /** Checks executables whose file the server seeks, and these, so that their files may be asked for. */
  checkSought(ids: readonly ExecutableId[]): void {
    const live = [...this.#sought, ...ids].flatMap((id) => this.#options.inventory.find(id));
    this.#sought.clear();
    this.#checkSoon(live, gatherMs);
  }

  /** The store may have changed in ways that no event told of. */
  checkAll(): void {
    const live = [...this.#options.inventory.values()];
    this.#work.check(
      live.filter(({ key }) => this.marks.get(key)?.refused === false),
      this.#options.random,
    );
    this.#schedule(0);
  }

  /** Takes in that the store knows something else of an executable now. */
  noteEvent({ id, generation, kind, wanted }: SymkeepEvent): void {
    const { epoch } = this.marks;
    if (epoch === undefined) return;
    if (wanted && this.#options.onAsked !== undefined) this.#noteWanted(id);
    for (const live of this.#options.inventory.find(id)) {
      const mark = this.marks.get(live.key);
      if (mark === undefined || mark.id !== id || mark.generation === generation) continue;
      this.marks.set(epoch, live.key, { ...mark, generation, refused: kind === 'erased' });
      // It may have become ambiguous: the reply to a report gives the ID under which this file is kept now.
      if (kind === 'record') this.#enqueue(live);
    }
  }

  // A whole fleet may hear of it at one moment, and one agent is enough.
  #noteWanted(id: ExecutableId): void {
    const live = this.#options.inventory.find(id);
    const ms = gatherMs + this.#options.random() * wantedSpreadMs;
    this.#checkSoon(
      live.filter(({ key }) => this.marks.get(key)?.id === id),
      ms,
    );
  }

  #checkSoon(live: readonly LiveExecutable[], ms: number): void {
    this.#work.check(
      live.filter(({ key }) => this.marks.latest(key)?.refused === false),
      this.#options.random,
    );
    if (this.#work.checking > 0) this.#schedule(ms);
  }

  #noteFiles({ upload = [], waiting = [] }: FilesAsked): void {
    const { onAsked } = this.#options;
    if (onAsked === undefined) return;
    for (const id of waiting) this.#sought.add(id);
    if (upload.length > 0) onAsked(upload);
  }

  /** Takes in that the store did not know an executable which it once had acknowledged. */
  noteMissing(live: LiveExecutable): void {
    const { epoch } = this.marks;
    if (epoch === undefined || this.marks.get(live.key)?.refused !== false) return;
    this.#checks.missing++;
    this.marks.delete(epoch, live.key);
    this.#enqueue(live);
  }

  /** The marks, and how long until each is to be checked. */
  snapshot(): Snapshot['epochs'] {
    const now = this.#options.clock.now();
    const epochs = new Map<string, SnapshotMark[]>();
    for (const epoch of this.marks.epochs()) epochs.set(epoch, []);
    for (const [epoch, key, { id, generation, name, refused, checkAt }] of this.marks.entries()) {
      epochs.get(epoch)?.push([key, id, generation, name, refused, Math.max(0, checkAt - now)]);
    }
    return [...epochs].map(([epoch, marks]) => ({ epoch, marks }));
  }

  /** Takes over the marks of an earlier run. They hold for their epochs alone. */
  restore(epochs: Snapshot['epochs']): void {
    const now = this.#options.clock.now();
    for (const { epoch, marks } of epochs) {
      this.marks.hear(epoch);
      for (const [key, id, generation, name, refused, checkInMs] of marks) {
        this.marks.set(epoch, key, { id, generation, name, refused, checkAt: now + checkInMs });
      }
    }
  }

  /** Sends all that waits, until nothing does or the server cannot take more for now. */
  flush(): Promise<void> {
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  /** Sends nothing from now on; what is on its way arrives or not. */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
  }

  metrics(): ReporterMetrics {
    const { enqueued, queued, deferred, checking } = this.#work;
    const { size } = this.marks;
    return {
      ...{ enqueued, queued, deferred, checking, marks: size },
      ...this.#counts,
      ...this.#epochs,
      checks: { ...this.#checks },
    };
  }

  #plan(executables: readonly LiveExecutable[]): void {
    const now = this.#options.clock.now();
    const toCheck: LiveExecutable[] = [];
    for (const live of executables) {
      const mark = this.marks.get(live.key);
      if (mark?.refused || this.#work.isWaiting(live.key)) continue;
      if (this.#tellOtherStore(live)) continue;
      const before = mark ?? this.marks.latest(live.key);
      if (before === undefined || before.refused || before.name !== live.executable.name) this.#enqueue(live);
      else if (mark === undefined || mark.checkAt <= now) toCheck.push(live);
    }
    this.#work.check(toCheck, this.#options.random);
    if (this.#work.queued + this.#work.checking > 0) this.#schedule(gatherMs);
  }

  /** Of two stores that answer in turn, one may lack what the other has: whether that is so, and it is on its way. */
  #tellOtherStore(live: LiveExecutable): boolean {
    if (this.#options.clock.now() >= this.#tornUntil) return false;
    const missingIn = this.marks.missingIn(live.key);
    if (missingIn !== undefined) this.#enqueue(live, missingIn);
    return missingIn !== undefined;
  }

  #enqueue(live: LiveExecutable, missingIn?: string): void {
    this.#work.enqueue(live, missingIn);
    this.#schedule(gatherMs);
  }

  #schedule(ms: number): void {
    if (this.#stopped || this.#cancelTimer !== undefined) return;
    const wait = Math.max(ms, this.#notBefore - this.#options.clock.now());
    this.#cancelTimer = this.#options.clock.setTimer(wait, () => {
      this.#cancelTimer = undefined;
      void this.flush();
    });
  }

  async #send(): Promise<void> {
    for (;;) {
      const outcome = await this.#sendNext();
      if (outcome === 'idle') return;
      if (outcome === 'done') continue;
      this.#notBefore = this.#options.clock.now() + outcome.waitMs;
      this.#schedule(outcome.waitMs);
      return;
    }
  }

  #sendNext(): Promise<Outcome> | Outcome {
    if (this.#stopped) return 'idle';
    if (this.#work.queued > 0) return this.#report(this.#work.nextReports(this.#batchMax));
    if (this.#work.checking > 0) return this.#check(this.#work.nextChecks(chunkMax));
    return 'idle';
  }

  async #report(batch: readonly LiveExecutable[]): Promise<Outcome> {
    const sent = batch.map(({ executable }) => executable);
    try {
      const { value, epoch } = await this.#options.client.report(sent);
      const { results } = value;
      this.#batchMax = Math.min(chunkMax, this.#batchMax * 2);
      const done = batch.map((live, at) => this.#acknowledge(live, sent[at]!.name, results[at]!, epoch));
      this.#noteFiles(value);
      return this.#outcomeOf(done.every(Boolean));
    } catch (error) {
      return this.#failReport(batch, SymkeepError.from(error));
    }
  }

  /** Whether the item is done with. */
  #acknowledge(live: LiveExecutable, name: string, result: ReportResult, epoch: string | undefined): boolean {
    const { status, id, generation, error } = result;
    if (status === 'error' || id === undefined || generation === undefined) {
      if (refusals.has(error?.code ?? '')) return this.#refuse(live, error?.code ?? '');
      this.#work.postpone(live);
      return false;
    }
    // Without its epoch an acknowledgement says nothing: it could be of any store, at any time.
    if (epoch === undefined) return false;
    this.#counts[status]++;
    const before = this.marks.latest(live.key);
    this.#mark(epoch, live, { id, generation, name });
    this.#work.taken(live, epoch);
    if (before !== undefined && (before.generation !== generation || before.id !== id))
      this.#options.onChanged(live);
    return true;
  }

  #refuse(live: LiveExecutable, code: string): true {
    const { epoch } = this.marks;
    const { ids, name } = live.executable;
    const mark = { id: canonicalIdOf(ids), generation: 0, name, refused: true, checkAt: 0 };
    if (epoch !== undefined) this.marks.set(epoch, live.key, mark);
    this.#counts.refused++;
    this.#work.reported(live);
    this.#options.log.warn('the store refuses an executable', { code, ...ids, name });
    return true;
  }

  // Which item of a batch is too much, the answer does not say: halves find it.
  #failReport(batch: readonly LiveExecutable[], error: SymkeepError): Outcome {
    const isTheBatch = error.code === 'too_large' || error.code === 'invalid_argument';
    if (!isTheBatch) return this.#fail(error);
    if (batch.length > 1) this.#batchMax = Math.ceil(batch.length / 2);
    else for (const live of batch) this.#refuse(live, error.code);
    return 'done';
  }

  async #check(chunk: readonly LiveExecutable[]): Promise<Outcome> {
    const known = chunk.map((live) => ({ live, mark: this.marks.latest(live.key) }));
    const items = known.filter(
      (item): item is { live: LiveExecutable; mark: Mark } => item.mark !== undefined,
    );
    for (const { live, mark } of known) if (mark === undefined) this.#settle(live, () => this.#enqueue(live));
    if (items.length === 0) return 'done';
    try {
      // By the hash of the file: it leads to the record, so a store that lost either the way or the record says so.
      const asked = items.map(({ live, mark }) => ({
        id: live.executable.ids.htlhash,
        generation: mark.generation,
      }));
      const { value, epoch } = await this.#options.client.check(asked);
      if (epoch === undefined) return this.#fail(new SymkeepError('unavailable', 'a check without an epoch'));
      const { results } = value;
      const done = items.map(({ live, mark }, at) => this.#applyCheck(live, mark, results[at]!, epoch));
      this.#noteFiles(value);
      return this.#outcomeOf(done.every(Boolean));
    } catch (error) {
      return this.#fail(SymkeepError.from(error));
    }
  }

  #applyCheck(live: LiveExecutable, mark: Mark, result: CheckResult, epoch: string): boolean {
    this.#checks[result] = (this.#checks[result] ?? 0) + 1;
    switch (result) {
      case 'ok':
        this.#settle(live, () => this.#mark(epoch, live, mark));
        this.#tellOtherStore(live);
        return true;
      case 'erased':
        this.#settle(live, () => this.marks.set(epoch, live.key, { ...mark, refused: true }));
        this.#options.onChanged(live);
        return true;
      case 'missing':
      case 'changed':
        this.marks.delete(epoch, live.key);
        this.#settle(live, () => this.#enqueue(live, epoch));
        if (result === 'changed') this.#options.onChanged(live);
        return true;
      default:
        this.#work.postpone(live);
        return false;
    }
  }

  #settle(live: LiveExecutable, then: () => void): void {
    this.#work.checked(live);
    then();
  }

  #mark(
    epoch: string,
    { key }: LiveExecutable,
    { id, generation, name }: Pick<Mark, 'id' | 'generation' | 'name'>,
  ) {
    const { clock, random } = this.#options;
    const checkAt = clock.now() + checkMs * (0.5 + random());
    this.marks.set(epoch, key, { id, generation, name, refused: false, checkAt });
  }

  #outcomeOf(complete: boolean): Outcome {
    if (!complete) return this.#fail(new SymkeepError('unavailable', 'a part of the batch was not taken'));
    this.#backoff.succeed();
    return 'done';
  }

  #fail(error: SymkeepError): Outcome {
    this.#counts.failures++;
    const waitMs = this.#backoff.fail(error.retryAfterSeconds);
    const { code } = error;
    this.#options.log.warn('reporting failed and will be repeated', {
      code,
      error,
      waitMs: Math.round(waitMs),
    });
    return { waitMs };
  }
}
