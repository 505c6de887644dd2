// All that units say of addresses, and the decision where several speak of one: the lower rank holds.
import { none } from '../ranges.ts';
import { type Budget, grown } from './budget.ts';
import { orderOf, RankHeap } from './order.ts';

/** Line rows outside all functions of their unit give way to any unit's functions. */
export const lineOnlyRank = 2 ** 30;

/** All that some units say of addresses. */
export interface SegmentColumns {
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly location: Int32Array;
  /** Lower holds: the index of the unit, and `lineOnlyRank` more for lines outside functions. */
  readonly rank: Int32Array;
}

export class Segments {
  count = 0;
  start = new Float64Array(4096);
  end = new Float64Array(4096);
  location = new Int32Array(4096);
  rank = new Int32Array(4096);
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  add(start: number, end: number, location: number, rank: number): void {
    const last = this.count - 1;
    if (
      last >= 0 &&
      this.end[last] === start &&
      this.location[last] === location &&
      this.rank[last] === rank
    ) {
      this.end[last] = end;
      return;
    }
    const at = this.count++;
    if (at === this.start.length) this.#grow(2 * at);
    this.start[at] = start;
    this.end[at] = end;
    this.location[at] = location;
    this.rank[at] = rank;
  }

  /** Adds the segments of another thread, whose locations are moved by `shift`. */
  append(part: SegmentColumns, shift: number): void {
    const first = this.count;
    const added = part.start.length;
    if (first + added > this.start.length) this.#grow(first + added);
    this.start.set(part.start, first);
    this.end.set(part.end, first);
    this.rank.set(part.rank, first);
    for (let at = 0; at < added; at++) this.location[first + at] = part.location[at]! + shift;
    this.count += added;
  }

  columns(): SegmentColumns {
    return {
      start: this.start.slice(0, this.count),
      end: this.end.slice(0, this.count),
      location: this.location.slice(0, this.count),
      rank: this.rank.slice(0, this.count),
    };
  }

  #grow(length: number): void {
    this.start = grown(this.start, length, this.#budget, 'ranges');
    this.end = grown(this.end, length, this.#budget, 'ranges');
    this.location = grown(this.location, length, this.#budget, 'ranges');
    this.rank = grown(this.rank, length, this.#budget, 'ranges');
  }

  /** Ascending, without overlap, gaps filled: the columns of a `RangeTable`. */
  flatten(): { readonly starts: Float64Array; readonly location: Int32Array } {
    const { start, end, location, rank, count } = this;
    const order = orderOf(start, count);
    // Each start and each end begins at most one range.
    this.#budget.hold(24 * count, 'ranges');
    const flat = new FlatRanges(2 * count + 1);
    const open = new RankHeap();
    let pos = Number.NEGATIVE_INFINITY;
    for (let next = 0; next < count || open.size > 0; ) {
      while (open.size > 0 && end[open.top]! <= pos) open.pop();
      if (open.size === 0) {
        if (next === count) break;
        pos = Math.max(pos, start[order[next]!]!);
      }
      for (; next < count && start[order[next]!]! <= pos; next++)
        open.push(rank[order[next]!]!, order[next]!);
      while (open.size > 0 && end[open.top]! <= pos) open.pop();
      if (open.size === 0) continue;
      const { top } = open;
      const until = next < count ? Math.min(end[top]!, start[order[next]!]!) : end[top]!;
      flat.add(pos, until, location[top]!);
      pos = until;
    }
    return flat.finish();
  }
}

class FlatRanges {
  readonly #starts: Float64Array;
  readonly #location: Int32Array;
  #count = 0;
  #end = 0;

  constructor(length: number) {
    this.#starts = new Float64Array(length);
    this.#location = new Int32Array(length);
  }

  add(start: number, end: number, location: number): void {
    if (this.#count > 0 && start > this.#end) this.#put(this.#end, none);
    if (this.#count === 0 || this.#location[this.#count - 1] !== location) this.#put(start, location);
    this.#end = end;
  }

  #put(start: number, location: number): void {
    this.#starts[this.#count] = start;
    this.#location[this.#count++] = location;
  }

  finish(): { readonly starts: Float64Array; readonly location: Int32Array } {
    if (this.#count > 0) this.#put(this.#end, none);
    const starts = this.#starts.slice(0, this.#count);
    return { starts, location: this.#location.slice(0, this.#count) };
  }
}
