// Sorting by address, and the heap of the sweeps: what is in order already costs one pass.

const digitBits = 11;
const digits = 1 << digitBits;
const insertionMax = 32;

/** The indexes of `keys[0 … count)` by ascending key, equal keys in their order. Keys are integers. */
export function orderOf(keys: Float64Array, count: number): Uint32Array {
  const order = new Uint32Array(count);
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  let isSorted = true;
  for (let index = 0; index < count; index++) {
    const key = keys[index]!;
    order[index] = index;
    if (key < highest) isSorted = false;
    else highest = key;
    if (key < lowest) lowest = key;
  }
  if (isSorted) return order;
  return count <= insertionMax ? sortByInsertion(keys, order) : sortByDigits(keys, order, lowest, highest);
}

function sortByInsertion(keys: Float64Array, order: Uint32Array): Uint32Array {
  for (let index = 1; index < order.length; index++) {
    const moved = order[index]!;
    let to = index;
    for (; to > 0 && keys[order[to - 1]!]! > keys[moved]!; to--) order[to] = order[to - 1]!;
    order[to] = moved;
  }
  return order;
}

function sortByDigits(keys: Float64Array, order: Uint32Array, lowest: number, highest: number): Uint32Array {
  const count = order.length;
  const part = new Uint32Array(count);
  const starts = new Uint32Array(digits);
  let from = order;
  let to: Uint32Array = new Uint32Array(count);
  for (let scale = 1; scale <= highest - lowest; scale *= digits) {
    // `part` is the digit of each key.
    starts.fill(0);
    for (let index = 0; index < count; index++) {
      const key = keys[index]! - lowest;
      const digit = scale === 1 ? key >>> 0 : Math.floor(key / scale) >>> 0;
      part[index] = digit & (digits - 1);
      starts[digit & (digits - 1)]!++;
    }
    sumUp(starts);
    for (let at = 0; at < count; at++) {
      const index = from[at]!;
      to[starts[part[index]!]!++] = index;
    }
    [from, to] = [to, from];
  }
  return from;
}

/** Counts become where each digit's keys start. */
function sumUp(counts: Uint32Array): void {
  let sum = 0;
  for (let digit = 0; digit < counts.length; digit++) {
    const count = counts[digit]!;
    counts[digit] = sum;
    sum += count;
  }
}

/** A binary heap of indexes, the lowest rank on top. */
export class RankHeap {
  size = 0;
  #ranks = new Float64Array(64);
  #indexes = new Int32Array(64);

  get top(): number {
    return this.#indexes[0]!;
  }

  push(rank: number, index: number): void {
    if (this.size === this.#ranks.length) this.#grow();
    const ranks = this.#ranks;
    const indexes = this.#indexes;
    let at = this.size++;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (ranks[above]! <= rank) break;
      ranks[at] = ranks[above]!;
      indexes[at] = indexes[above]!;
      at = above;
    }
    ranks[at] = rank;
    indexes[at] = index;
  }

  pop(): void {
    const ranks = this.#ranks;
    const indexes = this.#indexes;
    const size = --this.size;
    const rank = ranks[size]!;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= size) break;
      if (below + 1 < size && ranks[below + 1]! < ranks[below]!) below++;
      if (ranks[below]! >= rank) break;
      ranks[at] = ranks[below]!;
      indexes[at] = indexes[below]!;
      at = below;
    }
    ranks[at] = rank;
    indexes[at] = indexes[size]!;
  }

  #grow(): void {
    const ranks = new Float64Array(2 * this.size);
    const indexes = new Int32Array(2 * this.size);
    ranks.set(this.#ranks);
    indexes.set(this.#indexes);
    this.#ranks = ranks;
    this.#indexes = indexes;
  }
}
