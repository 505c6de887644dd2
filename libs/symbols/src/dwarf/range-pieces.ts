// Which of a unit's subroutine ranges holds at each address. Almost always ranges nest as their entries do, and the
// innermost holds. Where identical code was folded they do not: several functions, each with what was inlined into its own
// copy, claim the same bytes. Any of them is right; what is made of them here is what llvm-symbolizer makes of them
// (DWARFUnit::updateAddressDieMap): each range splits the piece that its start falls into, and covers no other.
import { type Budget, grown } from './budget.ts';

/** Columns; ranges in the order of their entries. */
export interface Ranges {
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly owner: Int32Array;
  readonly count: number;
}

/** The ranges themselves if they nest, else pieces that do not overlap. */
export function piecesOf(ranges: Ranges, order: Uint32Array, budget: Budget): Ranges {
  return nests(ranges, order) ? ranges : new PieceMap(ranges, budget).pieces(ranges);
}

/** Whether every range is inside all that come before it and overlap it. `order` is by start. */
function nests({ start, end }: Ranges, order: Uint32Array): boolean {
  const open: number[] = [];
  for (const range of order) {
    while (open.length > 0 && end[open.at(-1)!]! <= start[range]!) open.pop();
    const outer = open.at(-1);
    if (outer !== undefined && (outer > range || end[outer]! < end[range]!)) return false;
    open.push(range);
  }
  return true;
}

/** Pieces by where they start. Addresses are ranks in `#addresses`. */
class PieceMap {
  readonly #addresses: Float64Array;
  readonly #present: RankSet;
  readonly #end: Int32Array;
  readonly #range: Int32Array;

  constructor({ start, end, count }: Ranges, budget: Budget) {
    budget.step(count, 'ranges');
    const both = grown(start.subarray(0, count), 2 * count, budget, 'ranges');
    both.set(end.subarray(0, count), count);
    this.#addresses = sortedAndUnique(both);
    this.#present = new RankSet(this.#addresses.length);
    this.#end = new Int32Array(this.#addresses.length);
    this.#range = new Int32Array(this.#addresses.length);
    for (let range = 0; range < count; range++)
      this.#add(this.#rankOf(start[range]!), this.#rankOf(end[range]!), range);
    budget.hold(-both.byteLength / 2, 'ranges');
  }

  #add(start: number, end: number, range: number): void {
    const under = this.#present.lastUpTo(start);
    if (under >= 0 && start < this.#end[under]!) {
      if (end < this.#end[under]!) this.#put(end, this.#end[under]!, this.#range[under]!);
      if (start > under) this.#end[under] = start;
    }
    this.#put(start, end, range);
  }

  #put(start: number, end: number, range: number): void {
    this.#present.add(start);
    this.#end[start] = end;
    this.#range[start] = range;
  }

  #rankOf(address: number): number {
    let low = 0;
    let high = this.#addresses.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#addresses[middle]! < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  pieces({ owner }: Ranges): Ranges {
    const length = this.#addresses.length;
    const found = {
      start: new Float64Array(length),
      end: new Float64Array(length),
      owner: new Int32Array(length),
    };
    let count = 0;
    let next = length;
    for (
      let at = this.#present.lastUpTo(length - 1);
      at >= 0;
      at = at === 0 ? -1 : this.#present.lastUpTo(at - 1)
    ) {
      found.start[count] = this.#addresses[at]!;
      found.end[count] = this.#addresses[Math.min(this.#end[at]!, next, length - 1)]!;
      found.owner[count++] = owner[this.#range[at]!]!;
      next = at;
    }
    return { ...found, count };
  }
}

function sortedAndUnique(addresses: Float64Array): Float64Array {
  addresses.sort();
  let count = 0;
  for (const address of addresses) {
    if (count === 0 || addresses[count - 1] !== address) addresses[count++] = address;
  }
  return addresses.subarray(0, count);
}

/** Numbers below `size`; finds the greatest that is at most another, 32 at a step. */
class RankSet {
  readonly #levels: Uint32Array[] = [];

  constructor(size: number) {
    for (let words = size; this.#levels.length === 0 || words > 1; ) {
      words = Math.ceil(words / 32);
      this.#levels.push(new Uint32Array(words));
    }
  }

  add(rank: number): void {
    let at = rank;
    for (const level of this.#levels) {
      level[at >>> 5]! |= 1 << (at & 31);
      at >>>= 5;
    }
  }

  /** -1 if there is none. */
  lastUpTo(rank: number): number {
    let at = rank;
    for (let depth = 0; depth < this.#levels.length; depth++) {
      const below = this.#levels[depth]![at >>> 5]! & (0xffff_ffff >>> (31 - (at & 31)));
      if (below !== 0) return this.#down(depth, (at & ~31) + 31 - Math.clz32(below));
      at = (at >>> 5) - 1;
      if (at < 0) return -1;
    }
    return -1;
  }

  #down(depth: number, from: number): number {
    let at = from;
    for (let level = depth - 1; level >= 0; level--)
      at = at * 32 + 31 - Math.clz32(this.#levels[level]![at]!);
    return at;
  }
}
