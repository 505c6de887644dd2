// Where code may be. What lies elsewhere was removed by a linker, which leaves 0, 1 or the highest addresses
// behind.
import type { AddressSpan } from './debug-sections.ts';

/** In place of an end: no code there. Addresses below the base are negative, as a kernel's are whose per-CPU data are at 0. */
export const noCode = Number.NEGATIVE_INFINITY;
/** From the image base: so far addresses are exact. */
const distanceMax = 2 ** 52;

export class CodeSpans {
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  /** Code is asked for in runs of one section. */
  #last = 0;

  constructor(executable: readonly AddressSpan[], imageBase: bigint) {
    const spans = executable
      .map(({ start, end }) => {
        const first = Number(BigInt.asIntN(64, start - imageBase));
        return { start: first, end: first + Number(end - start) };
      })
      .filter(({ start, end }) => start > -distanceMax && end > start && end < distanceMax)
      .sort((a, b) => a.start - b.start);
    this.#starts = Float64Array.from(spans, (span) => span.start);
    this.#ends = Float64Array.from(spans, (span) => span.end);
  }

  /** Where the span of code that `address` is in ends; `noCode` if it is in none. */
  endAt(address: number): number {
    const last = this.#last;
    if (address >= this.#starts[last]! && address < this.#ends[last]!) return this.#ends[last]!;
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    if (low === 0 || !(address < this.#ends[low - 1]!)) return noCode;
    this.#last = low - 1;
    return this.#ends[low - 1]!;
  }
}
