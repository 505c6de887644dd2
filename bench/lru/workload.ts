// Requests for keys by Zipf's law, as bytes that arrive one after another in a received buffer: the same ones in every
// process.

// As skewed as YCSB's workloads: few executables make most of a profile.
const zipfExponent = 0.99;
// So that no key is aligned, as none is behind the head of a message.
const leadingBytes = 3;

export interface Workload {
  readonly keyBytes: number;
  /** Every key of the space, one after another. */
  readonly keys: Buffer;
  /** Number of the key of each request. */
  readonly order: Int32Array;
  /** The keys of all requests in their order, the first at `offset`. */
  readonly received: Buffer;
  readonly offset: number;
}

export function makeWorkload(space: number, requests: number, keyBytes: number): Workload {
  const random = randomWords(space + requests);
  const keys = Buffer.alloc(space * keyBytes);
  for (let i = 0; i < keys.length; i++) keys[i] = random();
  const order = zipf(space, requests, random);
  const received = Buffer.alloc(leadingBytes + requests * keyBytes);
  for (let i = 0; i < requests; i++) {
    const from = order[i]! * keyBytes;
    keys.copy(received, leadingBytes + i * keyBytes, from, from + keyBytes);
  }
  return { keyBytes, keys, order, received, offset: leadingBytes };
}

/** Ranks drawn by their probability 1 / rank^s; keys are random, so rank n is as well key n. */
function zipf(space: number, count: number, random: () => number): Int32Array {
  const cumulative = new Float64Array(space);
  let total = 0;
  for (let i = 0; i < space; i++) {
    total += (i + 1) ** -zipfExponent;
    cumulative[i] = total;
  }
  return Int32Array.from({ length: count }, () => lowerBound(cumulative, (random() / 2 ** 32) * total));
}

function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Steele and others' SplitMix, 32 bits wide. */
function randomWords(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let word = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    return (word ^ (word >>> 16)) >>> 0;
  };
}
