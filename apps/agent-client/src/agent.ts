// The agent of one host: passes over its processes, a cycle of requests to the server, a cache that answers readers. It
// is given all that touches the world, so a simulation runs it over days in seconds.
//
//     scanner ──► inventory ──► reporter ──► client ──► transport
//                     └────────► catalog ───────┘
//     events ─► reporter, catalog
import type { Clock } from '@symkeep/cache';
import { type EventsReply, SymkeepError } from '@symkeep/protocol';
import { Catalog } from './catalog.ts';
import { noProblems, type Pass, type Problem, problems } from './discovery/live-file.ts';
import { Inventory } from './inventory.ts';
import { declareLifetimes } from './lifetimes.ts';
import type { Log } from './log.ts';
import { Reporter } from './reporting/reporter.ts';
import { ServerClient } from './server-client.ts';
import type { SnapshotPlace } from './snapshot-file.ts';
import type { Transport } from './transport.ts';
import { uploadMaxDefault, uploadRateDefault } from './uploading/defaults.ts';
import type { FileFinder } from './uploading/file-finder.ts';
import { Uploader } from './uploading/uploader.ts';
import { keepSnapshot, noSnapshotCounts, restoreSnapshot } from './warm-restart.ts';

/** Share of one core that passes over the processes may take; on a host with more to read they become rarer … */
const scanShareMax = 0.002;
/** … but not rarer than this: what runs for ten minutes is found. */
const scanIntervalMaxMs = 600_000;
/** Timers vary by this share both ways, so that the agents of a fleet do not act at one moment. */
const jitter = 0.2;
/** What a crash may cost: five minutes of acknowledgements are checked again. */
const snapshotMs = 300_000;
/** Left of the five seconds that a stop may take: the rest is for leases and the snapshot. */
const flushMs = 2_000;
/** Requests for events in one cycle; what is more waits for the next. */
const eventPagesMax = 20;
/** A followed request for events waits so long: under the usual 30 s of proxies. */
const eventsWaitSeconds = 25;
/** Between a failed request and the next one when events are followed. */
const followAgainMs = 1_000;

export interface AgentOptions {
  readonly host: string;
  readonly version: string;
  readonly cycleMs: number;
  readonly scanIntervalMs: number;
  /** Records in the cache. */
  readonly cacheExecutables: number;
  /** Whether to hear of changes as they happen, by a request that always waits, rather than once per cycle. */
  readonly follow?: boolean;
  /** Addresses with their frames in the cache. */
  readonly cacheFrames: number;
  /** What is unused for so long leaves the cache, to give memory back; by default it stays until the cache is full. */
  readonly cacheIdleMs?: number | undefined;
  readonly token?: string | undefined;
  /** Whether large bodies are worth compressing on their way. */
  readonly compress?: boolean;
  readonly queueMax?: number;
  readonly executablesMax?: number;
  /** Bytes per second of files that the server asks for. */
  readonly uploadRate?: number;
  /** Largest file to be sent. */
  readonly uploadMax?: number;
}

export interface Scanner {
  /** One pass over the host. */
  scan(): Promise<Pass>;
  /** Takes over what an earlier run has read. */
  remember(file: Pick<Pass['appeared'][number], 'identity' | 'executable'>): void;
}

export interface AgentDeps {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly scanner: Scanner;
  readonly options: AgentOptions;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly snapshots?: SnapshotPlace;
  /** Finds the files that the server asks for; without it none is ever sent. */
  readonly finder?: FileFinder;
}

export interface Agent {
  readonly catalog: Catalog;
  /** The epoch heard last. */
  readonly epoch: string | undefined;
  /** Resolves after the first pass over the host; what was found is on its way by then. */
  start(): Promise<void>;
  /** Sends what waits, keeps the snapshot, and ends within five seconds. */
  stop(): Promise<void>;
  metrics(): AgentMetrics;
}

export type AgentMetrics = ReturnType<HostAgent['metrics']>;

export function createAgent(deps: AgentDeps): Agent {
  declareLifetimes(deps.options.cacheIdleMs);
  return new HostAgent(deps);
}

class HostAgent implements Agent {
  readonly catalog: Catalog;
  readonly #deps: AgentDeps;
  readonly #client: ServerClient;
  readonly #inventory: Inventory;
  readonly #reporter: Reporter;
  readonly #uploader: Uploader | undefined;
  readonly #counts = {
    scans: 0,
    scanFailures: 0,
    scanCpuMs: 0,
    processes: 0,
    cycles: 0,
    cycleFailures: 0,
    events: 0,
    resets: 0,
  };
  readonly #problems = noProblems();
  readonly #snapshotCounts = noSnapshotCounts();
  readonly #cancels = new Map<'scan' | 'cycle' | 'snapshot' | 'follow', () => void>();
  /** Position in the events of each store, by epoch. */
  readonly #cursors = new Map<string, string>();
  #scanning: Promise<void> | undefined;
  #stopped = false;
  #isFollowing = false;

  constructor(deps: AgentDeps) {
    this.#deps = deps;
    const { clock, transport, options, random, log } = deps;
    const { host, version, token, compress } = options;
    this.#client = new ServerClient({
      transport,
      clock,
      agent: () => ({
        ...{ host, version },
        uploads: this.#uploader !== undefined,
        uploading: this.#uploader?.isBusy ?? false,
      }),
      token,
      ...(compress === undefined ? {} : { compress }),
    });
    this.#inventory = new Inventory(options.executablesMax);
    this.catalog = new Catalog({
      ...{ client: this.#client, inventory: this.#inventory, clock, random },
      executablesMax: options.cacheExecutables,
      framesMax: options.cacheFrames,
      idleMs: options.cacheIdleMs,
      rescan: () => this.#scan(),
      onMissing: (live) => this.#reporter.noteMissing(live),
    });
    this.#uploader = this.#createUploader();
    this.#reporter = new Reporter({
      ...{ client: this.#client, inventory: this.#inventory, clock, random, log },
      onChanged: (live) => this.catalog.forget(live),
      onAsked: this.#uploader && ((files) => this.#uploader?.take(files)),
      queueMax: options.queueMax,
    });
    this.#client.onEpoch((epoch) => this.#hear(epoch));
  }

  get epoch(): string | undefined {
    return this.#reporter.marks.epoch;
  }

  async start(): Promise<void> {
    await this.#restore();
    this.#repeat('cycle', () => this.#cycle());
    this.#repeat('snapshot', () => this.#keepSnapshot());
    void this.#cycle().then(() => this.#followOn());
    await this.#scan();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const cancel of this.#cancels.values()) cancel();
    await this.#uploader?.stop();
    const patience = new AbortController();
    const late = this.#deps.clock.sleep(flushMs, patience.signal).catch(() => undefined);
    await Promise.race([this.#reporter.flush(), late]);
    patience.abort();
    this.#reporter.stop();
    await this.#keepSnapshot();
  }

  metrics() {
    return {
      executables: this.#inventory.size,
      executablesDropped: this.#inventory.dropped,
      ...this.#counts,
      problems: { ...this.#problems },
      reporter: this.#reporter.metrics(),
      server: this.#client.metrics,
      catalog: this.catalog.metrics(),
      snapshot: this.#snapshotCounts,
      uploads: this.#uploader?.metrics(),
    };
  }

  #createUploader(): Uploader | undefined {
    const { finder, clock, log, options } = this.#deps;
    if (finder === undefined) return undefined;
    const { uploadRate: rate = uploadRateDefault, uploadMax: bytesMax = uploadMaxDefault } = options;
    return new Uploader({
      ...{ client: this.#client, inventory: this.#inventory, finder, clock, log, rate, bytesMax },
      onIdle: (sent) => this.#reporter.checkSought(sent),
    });
  }

  #scan(): Promise<void> {
    this.#scanning ??= this.#pass().finally(() => {
      this.#scanning = undefined;
    });
    return this.#scanning;
  }

  async #pass(): Promise<void> {
    let cpuMs = 0;
    try {
      const pass = await this.#deps.scanner.scan();
      this.#count(pass);
      cpuMs = pass.cpuMs;
      this.#reporter.apply(this.#inventory.apply(pass));
    } catch (error) {
      this.#counts.scanFailures++;
      this.#deps.log.warn('a pass over the processes failed', { error });
    }
    this.#later('scan', this.#scanWaitMs(cpuMs), () => this.#scan());
  }

  // The first pass opens every file, and says nothing of what the next ones take.
  #scanWaitMs(cpuMs: number): number {
    const { scanIntervalMs } = this.#deps.options;
    if (this.#counts.scans <= 1) return scanIntervalMs;
    return Math.max(scanIntervalMs, Math.min(cpuMs / scanShareMax, scanIntervalMaxMs));
  }

  #count({ problems: counts, processes, cpuMs }: Pass): void {
    this.#counts.scans++;
    this.#counts.processes = processes;
    this.#counts.scanCpuMs += cpuMs;
    for (const problem of problems) this.#problems[problem as Problem] += counts[problem];
  }

  async #cycle(): Promise<void> {
    this.#counts.cycles++;
    if (!this.#isFollowing) await this.#catchUp();
    if (!this.#stopped) this.#reporter.review();
  }

  /** Takes in what happened since the last time. Whether the server answered. */
  async #catchUp(waitSeconds = 0): Promise<boolean> {
    try {
      for (let page = 0; page < eventPagesMax && !this.#stopped; page++) {
        const asked = this.epoch;
        const { value, epoch } = await this.#client.events(this.#cursors.get(asked ?? ''), waitSeconds);
        if (!this.#take(value, asked, epoch)) break;
      }
      return true;
    } catch (error) {
      // A request that waited is cut when the agent stops.
      if (!this.#stopped) this.#noteCycleFailure(error);
      return false;
    }
  }

  #noteCycleFailure(error: unknown): void {
    this.#counts.cycleFailures++;
    const { code } = SymkeepError.from(error);
    this.#deps.log.warn('the symbol server gave no events', { code, error });
    // A cursor that the server does not understand is of no more use than none.
    if (code === 'invalid_argument') this.#cursors.clear();
  }

  async #followOn(): Promise<void> {
    const { clock, random, options } = this.#deps;
    if (options.follow !== true) return;
    this.#isFollowing = true;
    while (!this.#stopped) {
      const askedAt = clock.now();
      const answered = await this.#catchUp(eventsWaitSeconds);
      // Whoever answers at once does not wait for events, such as a server that is about to end.
      if (answered && clock.now() - askedAt >= followAgainMs) continue;
      const pause = followAgainMs * (1 + jitter * random());
      await new Promise<void>((resolve) => this.#cancels.set('follow', clock.setTimer(pause, resolve)));
    }
  }

  /** Takes in a page of events, and says whether to ask for another. */
  #take(reply: EventsReply, asked: string | undefined, epoch = asked): boolean {
    if (epoch === undefined) return false;
    const known = this.#cursors.get(epoch);
    // Another store answered, and its events were heard of before: its own cursor holds.
    if ('reset' in reply && epoch !== asked && known !== undefined) return true;
    this.#cursors.set(epoch, reply.cursor);
    for (const old of this.#cursors.keys())
      if (!this.#reporter.marks.epochs().includes(old)) this.#cursors.delete(old);
    // Nothing was heard of this store's events until now, or not all: whatever is kept may be old.
    if (known === undefined || 'reset' in reply) this.catalog.dropAll();
    if ('reset' in reply) {
      this.#counts.resets++;
      if (known !== undefined) this.#reporter.checkAll();
      return false;
    }
    for (const event of reply.events) {
      this.catalog.noteEvent(event);
      this.#reporter.noteEvent(event);
    }
    this.#counts.events += reply.events.length;
    return reply.events.length > 0;
  }

  #hear(epoch: string): void {
    if (epoch === this.epoch) return;
    this.catalog.forgetAbsences();
    this.#reporter.hear(epoch);
  }

  async #restore(): Promise<void> {
    const { snapshots, options, scanner, log } = this.#deps;
    if (snapshots === undefined) return;
    const snapshot = await restoreSnapshot(snapshots, options.host, this.#snapshotCounts, log);
    if (snapshot === undefined) return;
    for (const { executable, files } of snapshot.executables) {
      for (const identity of files) scanner.remember({ identity, executable });
    }
    this.#reporter.restore(snapshot.epochs);
    this.catalog.restore(snapshot.records);
    for (const { epoch, cursor } of snapshot.epochs)
      if (cursor !== undefined) this.#cursors.set(epoch, cursor);
  }

  async #keepSnapshot(): Promise<void> {
    const { snapshots, options, log } = this.#deps;
    if (snapshots === undefined) return;
    const snapshot = {
      host: options.host,
      executables: this.#inventory.snapshot(),
      epochs: this.#reporter.snapshot().map((one) => ({ ...one, cursor: this.#cursors.get(one.epoch) })),
      records: this.catalog.snapshot(),
    };
    await keepSnapshot(snapshots, snapshot, this.#snapshotCounts, log);
  }

  #repeat(name: 'cycle' | 'snapshot', run: () => Promise<void>): void {
    const ms = name === 'cycle' ? this.#deps.options.cycleMs : snapshotMs;
    this.#later(name, ms, async () => {
      await run();
      this.#repeat(name, run);
    });
  }

  #later(name: 'scan' | 'cycle' | 'snapshot', ms: number, run: () => Promise<void>): void {
    if (this.#stopped) return;
    this.#cancels.get(name)?.();
    const { clock, random } = this.#deps;
    const wait = ms * (1 - jitter + 2 * jitter * random());
    this.#cancels.set(
      name,
      clock.setTimer(wait, () => void run()),
    );
  }
}
