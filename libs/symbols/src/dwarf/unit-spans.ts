// Where a unit says that its code is. Line rows reach further, into the padding behind it.
import { type AbbreviationTable, slot } from './abbreviations.ts';
import { type Budget, grown } from './budget.ts';
import { DieReader } from './die-reader.ts';
import { orderOf } from './order.ts';
import { type RangeSink, readRanges } from './range-lists.ts';
import type { Unit, UnitRoot } from './unit.ts';

export class UnitSpans implements RangeSink {
  #count = 0;
  #starts = new Float64Array(64);
  #ends = new Float64Array(64);
  #order: Uint32Array = new Uint32Array(0);
  /** Asked for in ascending order: spans before this one are passed. */
  #next = 0;
  /** A unit that does not say it has its rows everywhere. */
  #isOpen = true;
  readonly #budget: Budget;
  readonly #reader = new DieReader();

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /**
   * Takes the spans of the unit's first entry. Throws `truncated`, `malformed` or `limit`; then the unit is
   * open.
   */
  read(unit: Unit, root: UnitRoot, table: AbbreviationTable): void {
    this.#count = 0;
    this.#next = 0;
    this.#isOpen = true;
    const cursor = unit.file.info.seek(unit.firstEntry, unit.end);
    this.#reader.read(cursor, table, table.find(cursor.uleb128()), unit);
    const hasSpans = this.#reader.has(slot.ranges) || this.#reader.has(slot.highPc);
    if (!hasSpans) return;
    readRanges(unit, root, this.#reader, this);
    this.#order = orderOf(this.#starts, this.#count);
    this.#isOpen = false;
  }

  range(start: number, end: number): void {
    if (!(end > start)) return;
    const at = this.#count++;
    if (at === this.#starts.length) {
      this.#starts = grown(this.#starts, 2 * at, this.#budget, 'ranges');
      this.#ends = grown(this.#ends, 2 * at, this.#budget, 'ranges');
    }
    this.#starts[at] = start;
    this.#ends[at] = end;
  }

  /**
   * The first address from `from` on that is in a span, infinite if there is none. `from` never goes back.
   */
  startAt(from: number): number {
    if (this.#isOpen) return from;
    while (this.#next < this.#count && this.#ends[this.#order[this.#next]!]! <= from) this.#next++;
    if (this.#next === this.#count) return Number.POSITIVE_INFINITY;
    return Math.max(from, this.#starts[this.#order[this.#next]!]!);
  }

  /** Where the span that `startAt` found last ends. */
  get end(): number {
    return this.#isOpen ? Number.POSITIVE_INFINITY : this.#ends[this.#order[this.#next]!]!;
  }
}
