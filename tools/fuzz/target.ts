// What is fuzzed: a reader of untrusted bytes together with a maker of inputs for it. `npm test` runs a few thousand of each
// (suite.ts), `npm run fuzz` millions (run.ts).

export interface FuzzTarget {
  readonly name: string;
  /** Share of the inputs of a long run. */
  readonly weight: number;
  /** Reads what its inputs are made from. */
  open(): Fuzz;
}

/**
 * Makes the input of a seed, the same each time, and reads it. Gives what came of it: a word and, behind a colon, which error.
 * Throws what must not happen: anything but an answer that holds together or a typed error.
 */
export type Fuzz = (seed: number) => string;

/** Names and numbers of an input left out: errors thrown in one place are one outcome. */
export function outcomeOf(word: string, message: string): string {
  const alike = message.replace(/section \S*/gi, 'section').replace(/0x[0-9a-f]+|-?\d+/gi, '#');
  return `${word}: ${alike.slice(0, 100)}`;
}

/** Runs a reader; errors that are instances of `typed` are outcomes, others are thrown on. */
export function attempt(
  typed: readonly (new (...args: never[]) => Error & { readonly code: string })[],
  read: () => string,
): string {
  try {
    return read();
  } catch (error) {
    const known = typed.find((type) => error instanceof type);
    if (known === undefined || !(error instanceof Error)) throw error;
    return outcomeOf((error as Error & { readonly code: string }).code, error.message);
  }
}
