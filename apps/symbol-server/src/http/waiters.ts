// Requests that wait for something to happen. They are counted, so that they cannot pile up, and all of them end when
// the server does.
import { SymkeepError } from '@symkeep/protocol';

/** Each waiter is a socket and a few kilobytes; one server serves some thousands of agents. */
export const waitersMax = 16_384;

export class Waiters {
  readonly #open = new Set<AbortController>();
  #ended = false;

  get size(): number {
    return this.#open.size;
  }

  /** A signal that is aborted with the client's, or when the server ends. `done` must be called. Throws `unavailable`. */
  enter(client: AbortSignal): { signal: AbortSignal; done: () => void } {
    if (this.#ended) throw new SymkeepError('unavailable', 'this server is ending', { retryAfterSeconds: 1 });
    if (this.#open.size >= waitersMax) {
      throw new SymkeepError('unavailable', `${waitersMax} requests wait already`, { retryAfterSeconds: 5 });
    }
    const controller = new AbortController();
    const abort = () => controller.abort();
    if (client.aborted) controller.abort();
    client.addEventListener('abort', abort, { once: true });
    this.#open.add(controller);
    const done = () => {
      client.removeEventListener('abort', abort);
      this.#open.delete(controller);
    };
    return { signal: controller.signal, done };
  }

  end(): void {
    this.#ended = true;
    for (const controller of this.#open) controller.abort();
  }
}
