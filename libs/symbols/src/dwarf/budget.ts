// What one extraction may cost: bytes it holds and steps it takes. Counts in a file cannot make it allocate
// or loop beyond that, whatever they say.
import { SymbolsError } from '../symbols-error.ts';

/** Twice what the largest library measured (Chromium's, 4 GB of sections) needs beside its sections. */
export const defaultBytesMax = 4 * 1024 ** 3;
/**
 * Range entries, abbreviations, line programs and names are read about once each; sharing makes it a few
 * times.
 */
const stepsPerByte = 64;
/** So that the smallest files may share as much as they like. */
const stepsMin = 4_194_304;

export class Budget {
  readonly #bytesMax: number;
  #stepsMax = stepsMin;
  #bytes = 0;
  #steps = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Sections of `inputBytes` bytes will be read. */
  expect(inputBytes: number): void {
    this.#stepsMax += stepsPerByte * inputBytes;
  }

  /** Bytes held until the end of the extraction, unless given back by a negative count. Throws `limit`. */
  hold(bytes: number, what: string): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#bytesMax) {
      throw new BudgetError(what, `needs more than ${this.#bytesMax} bytes of memory`);
    }
  }

  /** Work whose amount the input decides other than by its size. Throws `limit`. */
  step(count: number, what: string): void {
    this.#steps += count;
    if (this.#steps > this.#stepsMax) throw new BudgetError(what, `takes more than ${this.#stepsMax} steps`);
  }
}

/** Ends the extraction; other errors end only the unit they are met in. */
export class BudgetError extends SymbolsError {
  constructor(what: string, why: string) {
    super('limit', what, why);
  }
}

type NumberArray = Float64Array | Int32Array | Uint32Array;

/** The same values in an array of `length`; the growth is held. */
export function grown<A extends NumberArray>(array: A, length: number, budget: Budget, what: string): A {
  budget.hold((length - array.length) * array.BYTES_PER_ELEMENT, what);
  const larger = new (array.constructor as new (length: number) => A)(length);
  larger.set(array as never);
  return larger;
}
