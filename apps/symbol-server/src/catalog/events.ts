// Follows the store's event logs: drops what this process has cached of a changed executable, and gives clients what
// changed since their cursor. Losing the thread (trimmed logs, another epoch, numbers going back) drops everything and
// answers `reset`: an agent then checks what it has.
import {
  type Clock,
  type Epoch,
  type EventCursor,
  type Store,
  type StoreEvent,
  StoreUnavailable,
} from '@symkeep/cache';
import {
  decode,
  type EventKind,
  type EventsReply,
  type ExecutableId,
  SymkeepError,
  type SymkeepEvent,
} from '@symkeep/protocol';
import { formatCursor, parseCursor } from './event-cursor.ts';
import { unavailable } from './executables.ts';

/** Longest wait of one blocking read: what a silent half-open connection may cost. */
const waitMs = 5_000;
/** Pause before the store is asked again after an outage. */
const retryMs = 500;
/** Events of one page. */
export const eventsMax = 1_000;

export interface Invalidated {
  one(id: ExecutableId, kind: EventKind): void;
  all(): void;
}

export class EventFeed {
  readonly #store: Store;
  readonly #epoch: Epoch;
  readonly #clock: Clock;
  readonly #caches: Invalidated;
  readonly #gatherMs: number;
  readonly #waiting = new Set<() => void>();
  /** Of the present epoch's logs: in another one the same numbers mean other events. */
  #position: EventCursor | undefined;
  #stopping = new AbortController();
  /** Aborts when the thread is lost. */
  #lost = new AbortController();
  #following: Promise<void> | undefined;
  /** Counted since start. */
  readonly counts = { events: 0, resets: 0, outages: 0 };

  /** `gatherMs`: how long what has happened may stay unheard, so that much of it is heard at once. */
  constructor(store: Store, epoch: Epoch, clock: Clock, caches: Invalidated, gatherMs = 0) {
    this.#gatherMs = gatherMs;
    this.#store = store;
    this.#epoch = epoch;
    this.#clock = clock;
    this.#caches = caches;
    epoch.onChange(() => this.#lose());
  }

  /** Starts to follow; nothing may be cached before this resolves once, or an event could be missed. */
  async start(): Promise<void> {
    this.#stopping = new AbortController();
    const tail = await this.#store.eventTail();
    if (!(tail instanceof StoreUnavailable)) this.#position = tail;
    this.#following = this.#follow(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await this.#following;
  }

  /** One step of following: reads what is new, drops what changed. False after an outage. */
  async advance(): Promise<boolean> {
    const position = this.#position;
    if (position === undefined) return this.#resume();
    const page = await this.#store.readEvents(position, eventsMax);
    if (page instanceof StoreUnavailable) return this.#outage();
    if (this.#position !== position) return true;
    if (page.reset) {
      this.counts.resets++;
      this.#caches.all();
    }
    for (const { payload } of page.events) {
      const { id, kind } = eventOf(payload);
      this.#caches.one(id, kind);
    }
    this.counts.events += page.events.length;
    const moved = page.reset || page.events.length > 0;
    this.#position = page.cursor;
    if (moved) this.#wake();
    // Part of the shards may be away: the others were heard.
    return page.outage === null || this.#outage();
  }

  /**
   * What changed since a cursor; waits up to `waitMs` for something if nothing did. Without a cursor: the end of the
   * logs. Throws `unavailable`.
   */
  async read(cursor: string | undefined, waitMs: number, signal?: AbortSignal): Promise<EventsReply> {
    const epoch = this.#epoch.current;
    if (epoch === undefined)
      throw new SymkeepError('unavailable', 'the store has not answered yet', { retryAfterSeconds: 1 });
    const from = cursor === undefined ? undefined : parseCursor(cursor, epoch);
    if (from === undefined) {
      const end = formatCursor(await this.#tail(), epoch);
      return cursor === undefined ? { events: [], cursor: end } : { reset: true, cursor: end };
    }
    if (this.#isAtEnd(from) && waitMs > 0) await this.#moved(waitMs, signal);
    if (this.#isAtEnd(from) && this.#epoch.current === epoch) return { events: [], cursor: cursor! };
    const page = await this.#store.readEvents(from, eventsMax);
    if (page instanceof StoreUnavailable) throw unavailable(page);
    const end = formatCursor(page.cursor, epoch);
    if (page.reset || this.#epoch.current !== epoch) return { reset: true, cursor: end };
    return { events: latestOf(page.events), cursor: end };
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let healthy = await this.advance();
      if (healthy && this.#position !== undefined && !signal.aborted) {
        const until = AbortSignal.any([signal, this.#lost.signal]);
        const waited = await this.#store.waitForEvents(this.#position, waitMs, until);
        healthy = !(waited instanceof StoreUnavailable);
        // Each read asks all shards: what comes close together is read at once.
        if (healthy && this.#gatherMs > 0) await this.#pause(this.#gatherMs, signal);
      }
      if (!healthy && !signal.aborted) await this.#pause(retryMs, signal);
    }
  }

  // Logs that began anew may have grown to where they were before: their numbers alone would not tell.
  #lose(): void {
    this.#position = undefined;
    this.#lost.abort();
    this.#lost = new AbortController();
    this.#wake();
  }

  // The end of the logs may be past events that were never heard: everything cached until now is suspect.
  async #resume(): Promise<boolean> {
    const tail = await this.#store.eventTail();
    if (tail instanceof StoreUnavailable) return this.#outage();
    this.#caches.all();
    this.#position = tail;
    return true;
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    try {
      await this.#clock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #outage(): false {
    this.counts.outages++;
    return false;
  }

  async #tail(): Promise<EventCursor> {
    const tail = await this.#store.eventTail();
    if (tail instanceof StoreUnavailable) throw unavailable(tail);
    return tail;
  }

  #isAtEnd(from: EventCursor): boolean {
    return this.#position?.every((sequence, shard) => sequence === from[shard]) ?? false;
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #moved(waitMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = this.#clock.setTimer(waitMs, wake);
      this.#waiting.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
      if (signal?.aborted === true || this.#stopping.signal.aborted) wake();
    });
  }
}

// One executable may have changed several times: its last generation says it all.
function latestOf(events: readonly StoreEvent[]): SymkeepEvent[] {
  const byId = new Map<string, SymkeepEvent>();
  for (const { payload } of events) {
    const event = eventOf(payload);
    const key = `${event.kind} ${event.id}`;
    const wanted = event.wanted ?? byId.get(key)?.wanted;
    byId.delete(key);
    byId.set(key, wanted === undefined ? event : { ...event, wanted });
  }
  return [...byId.values()];
}

function eventOf(payload: Uint8Array): SymkeepEvent {
  return decode(payload, 'msgpack') as SymkeepEvent;
}
