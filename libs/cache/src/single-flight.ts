// One load at a time for each key: whoever asks meanwhile shares its outcome. A flight leaves the table only when its
// load has ended, whatever the outcome, so no failure and no impatience ever makes two loads of a key run at once.

export class SingleFlight<K, V> {
  readonly #flights = new Map<K, Flight<V>>();

  /** Loads in the air. */
  get size(): number {
    return this.#flights.size;
  }

  /**
   * The value of the load in flight for the key, or of `load`, started now. An error is shared by all who wait, and
   * the next call loads anew. `signal` ends this caller's waiting only; when nobody waits any more, the signal given to
   * `load` aborts.
   */
  async run(key: K, load: (signal: AbortSignal) => Promise<V>, signal?: AbortSignal): Promise<V> {
    signal?.throwIfAborted();
    for (;;) {
      const flight = this.#flights.get(key) ?? this.#start(key, load);
      if (!flight.isAbandoned) return flight.join(signal);
      // Its load has been told to stop but has not ended. What it brings is as good as any; if it fails, it fails
      // because of those who left, and that is no answer to this caller.
      const outcome = await waitFor(flight.settled, signal);
      if (outcome.status === 'fulfilled') return outcome.value;
    }
  }

  #start(key: K, load: (signal: AbortSignal) => Promise<V>): Flight<V> {
    const flight = new Flight(load);
    this.#flights.set(key, flight);
    // Registered before anybody waits, so whoever is woken by the outcome finds the key free.
    flight.settled.then(() => this.#flights.delete(key));
    return flight;
  }
}

class Flight<V> {
  readonly settled: Promise<PromiseSettledResult<V>>;
  readonly #abort = new AbortController();
  #waiting = 0;
  #hasLanded = false;

  constructor(load: (signal: AbortSignal) => Promise<V>) {
    this.settled = this.#fly(load);
  }

  get isAbandoned(): boolean {
    return this.#abort.signal.aborted;
  }

  async join(signal: AbortSignal | undefined): Promise<V> {
    this.#waiting++;
    try {
      const outcome = await waitFor(this.settled, signal);
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    } finally {
      this.#waiting--;
      if (this.#waiting === 0 && !this.#hasLanded) this.#abort.abort(signal?.reason);
    }
  }

  async #fly(load: (signal: AbortSignal) => Promise<V>): Promise<PromiseSettledResult<V>> {
    try {
      return { status: 'fulfilled', value: await load(this.#abort.signal) };
    } catch (reason) {
      return { status: 'rejected', reason };
    } finally {
      this.#hasLanded = true;
    }
  }
}

/** The promise's outcome, or the signal's reason if it aborts first. */
function waitFor<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
