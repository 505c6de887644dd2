// Whether the server is worth asking now: after a failure not for a while, so that readers get their answer at once
// instead of each waiting for a deadline.
import { type Clock, StoreUnavailable } from '@symkeep/cache';
import { SymkeepError } from '@symkeep/protocol';
import { Backoff } from './reporting/backoff.ts';

/** A server that is back is used again within half a minute. */
const pauseMaxMs = 30_000;

export class Outage {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  #until = Number.NEGATIVE_INFINITY;
  #last: StoreUnavailable | undefined;

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#backoff = new Backoff(random, pauseMaxMs);
  }

  /** Runs `ask`, or answers with the last failure while the pause after it lasts. Throws what is no outage. */
  async guard<T>(ask: () => Promise<T>): Promise<T | StoreUnavailable> {
    if (this.#last !== undefined && this.#clock.now() < this.#until) return this.#last;
    try {
      const answer = await ask();
      this.#backoff.succeed();
      this.#last = undefined;
      return answer;
    } catch (error) {
      const { message, retryAfterSeconds } = SymkeepError.from(error);
      this.#until = this.#clock.now() + this.#backoff.fail(retryAfterSeconds);
      this.#last = new StoreUnavailable('unreachable', message, error);
      return this.#last;
    }
  }
}
