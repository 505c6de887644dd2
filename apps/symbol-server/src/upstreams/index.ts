// Debug files from elsewhere: a list of debuginfod or symkeep servers, asked in order for what is allowed to be asked for.
// Off unless configured, because asking a public server tells it which builds run here: only executables whose path the
// operator allows are asked for, as a rule those that a distribution installs.
import { isIP } from 'node:net';
import { type Clock, type Store, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, type ExecutableRecord, kindOf } from '@symkeep/protocol';
import { guardedLookup, isPublicAddress } from './address-guard.ts';
import { Upstream, UpstreamFailure, type UpstreamFile } from './upstream.ts';
import { type Absences, UpstreamAbsences } from './upstream-absences.ts';

export { allowedPathsDefault } from './allowed-paths.ts';
export type { UpstreamAbsence } from './upstream-absences.ts';
export { UpstreamFailure, type UpstreamFile };

export interface UpstreamsConfig {
  /** Base URLs, asked in this order. */
  readonly urls: readonly string[];
  /** Executables seen under a path that begins with one of these may be asked for. */
  readonly allowedPaths: readonly string[];
  /** Whether upstreams may be on private and loopback addresses. */
  readonly allowPrivate: boolean;
  readonly fileBytesMax: number;
  /** Requests at once in this process. */
  readonly requestsMax: number;
}

export type UpstreamOutcome =
  | { readonly kind: 'found'; readonly upstream: string; readonly file: HeldFile }
  /** All have answered that they have nothing, now or lately; `retryAt` is when the first is due again. */
  | { readonly kind: 'absent'; readonly retryAt: number }
  /** Some could not be asked; what could, had nothing. */
  | { readonly kind: 'failed'; readonly failures: readonly UpstreamFailure[] }
  | { readonly kind: 'not_allowed'; readonly why: string };

/** A file holds its turn until it is said to be done with: what it is read into is bounded by that too. */
export interface HeldFile extends UpstreamFile {
  /** Ends the body, wherever it is, and lets the next one have its turn. Once is enough. */
  done(): void;
}

/** What is to be known of an executable before anybody is asked for its file. */
export type Wanted = Pick<ExecutableRecord, 'id' | 'names' | 'ambiguous'>;

export class Upstreams {
  readonly upstreams: readonly Upstream[];
  readonly absences: UpstreamAbsences;
  readonly #config: UpstreamsConfig;
  readonly #store: Store;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** Throws an Error in words for the operator if an upstream cannot be one. `random` is uniform in [0, 1). */
  constructor(config: UpstreamsConfig, deps: { store: Store; clock: Clock; random: () => number }) {
    this.#config = config;
    this.#store = deps.store;
    this.absences = new UpstreamAbsences(deps.store, deps.random);
    const lookup = config.allowPrivate ? undefined : guardedLookup();
    const { fileBytesMax } = config;
    this.upstreams = config.urls.map((url) => {
      assertUpstream(url, config.allowPrivate);
      return new Upstream(url, { clock: deps.clock, fileBytesMax, lookup });
    });
  }

  /** Why an executable must not be asked for; undefined: it may. */
  refusal({
    id,
    names,
    ambiguous,
  }: Pick<ExecutableRecord, 'id' | 'names' | 'ambiguous'>): string | undefined {
    if (kindOf(id) !== 'gnu') return 'upstreams know GNU build IDs only';
    if (ambiguous) return 'two different files carry this ID';
    const isAllowed = names.some((name) => this.#config.allowedPaths.some((path) => name.startsWith(path)));
    return isAllowed ? undefined : 'none of its paths is among those that may be asked for';
  }

  /** When an upstream is due to be asked, Unix milliseconds by the store's clock: 0 if one never was. */
  dueAt(absences: Absences): number {
    return Math.min(...this.upstreams.map(({ url }) => absences[url]?.retryAt ?? 0));
  }

  /**
   * Asks the upstreams that are due, in order, until one has the file, which must be said to be done with. Throws
   * `StoreUnavailable`: without the shared absences nobody is asked.
   */
  async find(record: Wanted, signal: AbortSignal): Promise<UpstreamOutcome> {
    const why = this.refusal(record);
    if (why !== undefined) return { kind: 'not_allowed', why };
    const [[known], now] = await Promise.all([this.absences.of([record.id]), this.#store.now()]);
    if (known instanceof StoreUnavailable) throw known;
    if (now instanceof StoreUnavailable) throw now;
    const due = this.upstreams.filter(({ url }) => (known![url]?.retryAt ?? 0) <= now);
    const failures: UpstreamFailure[] = [];
    for (const upstream of due) {
      const file = await this.#ask(upstream, record.id.slice('gnu:'.length), signal);
      if (file instanceof UpstreamFailure) {
        failures.push(file);
        // It will be as large the next time.
        if (file.reason === 'too_large') await this.refused(record.id, upstream.url);
      } else if (file !== null) return { kind: 'found', upstream: upstream.url, file };
      else await this.refused(record.id, upstream.url);
    }
    if (failures.length > 0) return { kind: 'failed', failures };
    const [absences] = await this.absences.of([record.id]);
    if (absences instanceof StoreUnavailable) throw absences;
    return { kind: 'absent', retryAt: this.dueAt(absences!) };
  }

  /** What an upstream sent was of no use: it is as good as nothing there. Throws the outage. */
  async refused(id: ExecutableId, upstream: string): Promise<void> {
    const outage = await this.absences.note(id, upstream);
    if (outage !== undefined) throw outage;
  }

  async #ask(
    upstream: Upstream,
    buildId: string,
    signal: AbortSignal,
  ): Promise<HeldFile | null | UpstreamFailure> {
    await this.#turn();
    try {
      const file = await upstream.open(buildId, signal);
      if (file !== null) return this.#held(file);
      this.#leave();
      return null;
    } catch (error) {
      this.#leave();
      if (error instanceof UpstreamFailure) return error;
      throw error;
    }
  }

  #held(file: UpstreamFile): HeldFile {
    let isHeld = true;
    const done = () => {
      file.body.destroy();
      if (isHeld) this.#leave();
      isHeld = false;
    };
    return { ...file, done };
  }

  #turn(): Promise<void> {
    if (this.#running < this.#config.requestsMax) {
      this.#running++;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}

function assertUpstream(text: string, allowPrivate: boolean): void {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new Error(`upstream ${text}: not an http:// URL`);
  if (url.username !== '' || url.password !== '')
    throw new Error(`upstream ${url.host}: a URL without credentials`);
  // Names are checked when they are resolved; addresses are not resolved.
  const address = url.hostname.replace(/^\[|\]$/g, '');
  if (!allowPrivate && isIP(address) !== 0 && !isPublicAddress(address)) {
    throw new Error(`upstream ${text}: not a public address; --upstream-private allows it`);
  }
}
