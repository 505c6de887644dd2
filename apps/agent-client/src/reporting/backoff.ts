// How long to wait after failures: twice as long each time, of which a random part, so that a fleet that was cut off at
// one moment does not come back at one moment (exponential backoff with full jitter).

/** Ceiling of the first wait. */
const firstMs = 1_000;
/** A fleet of 10,000 agents that all failed makes 33 requests a second at this ceiling. */
export const backoffMaxMs = 300_000;

export class Backoff {
  readonly #random: () => number;
  readonly #maxMs: number;
  #failures = 0;

  /** `random`: uniform in [0, 1). */
  constructor(random: () => number, maxMs = backoffMaxMs) {
    this.#random = random;
    this.#maxMs = maxMs;
  }

  succeed(): void {
    this.#failures = 0;
  }

  /** Milliseconds to wait; at least what the server asked for, with jitter on top. */
  fail(retryAfterSeconds = 0): number {
    const ceiling = Math.min(this.#maxMs, firstMs * 2 ** Math.min(this.#failures++, 30));
    return Math.min(retryAfterSeconds * 1_000, this.#maxMs) + this.#random() * ceiling;
  }
}
