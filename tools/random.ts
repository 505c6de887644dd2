// Numbers that follow from a seed, so that a run of a fuzzer can be made again.

/** Gives integers from 0 up to `below`. */
export type Random = (below: number) => number;

/** mulberry32: small, seeded, good enough to pick fields. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
