// Leaves a failing upstream alone for a while: after some failures in a row nothing is asked of it, then one request at a
// time is tried; each failed trial doubles the pause.
import type { Clock } from '@symkeep/cache';

const failuresMax = 3;
const pauseMsMin = 30_000;
const pauseMsMax = 15 * 60_000;

export class CircuitBreaker {
  readonly #clock: Clock;
  #failures = 0;
  #pauseMs = pauseMsMin;
  #openUntil = 0;
  #trying = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get state(): 'closed' | 'open' | 'trying' {
    if (this.#failures < failuresMax) return 'closed';
    return this.#trying ? 'trying' : 'open';
  }

  /** Whether a request may be made now; one that may must be followed by `succeeded` or `failed`. */
  admits(): boolean {
    if (this.#failures < failuresMax) return true;
    if (this.#trying || this.#clock.now() < this.#openUntil) return false;
    this.#trying = true;
    return true;
  }

  /** It answered, if only that it has nothing. */
  succeeded(): void {
    this.#failures = 0;
    this.#pauseMs = pauseMsMin;
    this.#trying = false;
  }

  failed(): void {
    this.#failures++;
    if (this.#failures < failuresMax) return;
    if (this.#trying) this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax);
    this.#trying = false;
    this.#openUntil = this.#clock.now() + this.#pauseMs;
  }
}
