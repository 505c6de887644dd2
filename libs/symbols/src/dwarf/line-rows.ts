// The rows of one unit's line program, in columns that are reused from unit to unit: from each address on,
// which file, line and column. A gap row ends each sequence.
import { type Budget, grown } from './budget.ts';
import { type CodeSpans, noCode } from './code-spans.ts';
import { orderOf } from './order.ts';

/** In place of a file: from here on nothing is known. */
export const gap = -1;

const closed = -1;
const dead = -2;

export class LineRows {
  count = 0;
  address = new Float64Array(4096);
  file = new Int32Array(4096);
  line = new Uint32Array(4096);
  column = new Uint32Array(4096);

  readonly #budget: Budget;
  readonly #spans: CodeSpans;
  /** First row of each sequence; the gap row before the next one is its last. */
  #sequences = new Float64Array(256);
  #sequenceCount = 0;
  /**
   * Where the open sequence starts; `closed` between sequences, `dead` where it is of code that was removed.
   */
  #first = closed;
  #spanEnd = 0;
  #isSorted = true;
  #inOrder = true;

  constructor(budget: Budget, spans: CodeSpans) {
    this.#budget = budget;
    this.#spans = spans;
  }

  clear(): void {
    this.count = 0;
    this.#sequenceCount = 0;
    this.#first = closed;
    this.#inOrder = true;
  }

  /** A row of the open sequence, which it opens if there is none. */
  add(address: number, file: number, line: number, column: number): void {
    if (this.#first < 0 && !this.#open(address)) return;
    let at = this.count;
    if (at > this.#first) {
      const last = at - 1;
      const lastAddress = this.address[last]!;
      // Of several rows for one address the last one holds.
      if (address === lastAddress) at = last;
      else if (address < lastAddress) this.#isSorted = false;
      else if (this.file[last] === file && this.line[last] === line && this.column[last] === column) return;
    }
    this.#put(at, address, file, line, column);
  }

  /** Ends the open sequence; `address` is the first one behind it. */
  endSequence(address: number): void {
    const first = this.#first;
    this.#first = closed;
    if (first < 0) return;
    if (!this.#isSorted) this.#sortRows(first);
    const end = Math.min(address, this.#spanEnd);
    while (this.count > first && this.address[this.count - 1]! >= end) this.count--;
    if (this.count === first) return;
    this.#put(this.count, end, gap, 0, 0);
    const at = this.#sequenceCount++;
    if (at === this.#sequences.length) {
      this.#sequences = grown(this.#sequences, 2 * at, this.#budget, '.debug_line');
    }
    this.#sequences[at] = first;
    if (first > 0 && this.address[first]! < this.address[first - 1]!) this.#inOrder = false;
  }

  /** Ends the program: a sequence without an end has none behind its last row. Brings all rows in order. */
  finish(): void {
    if (this.#first >= 0) this.endSequence(this.address[this.count - 1]!);
    this.#first = closed;
    if (!this.#inOrder) this.#sortSequences();
  }

  #open(address: number): boolean {
    if (this.#first === dead) return false;
    this.#spanEnd = this.#spans.endAt(address);
    this.#first = this.#spanEnd === noCode ? dead : this.count;
    this.#isSorted = true;
    return this.#first >= 0;
  }

  #put(at: number, address: number, file: number, line: number, column: number): void {
    if (at === this.address.length) this.#grow();
    this.address[at] = address;
    this.file[at] = file;
    this.line[at] = line;
    this.column[at] = column;
    this.count = at + 1;
  }

  #grow(): void {
    const grow = <A extends Column>(column: A): A =>
      grown(column, 2 * column.length, this.#budget, '.debug_line');
    this.address = grow(this.address);
    this.file = grow(this.file);
    this.line = grow(this.line);
    this.column = grow(this.column);
  }

  /** Rows from `first` on, of a program that goes backwards within a sequence. */
  #sortRows(first: number): void {
    const order = orderOf(this.address.subarray(first, this.count), this.count - first);
    this.#permute(
      first,
      order.map((index) => first + index),
    );
  }

  /** Where sequences overlap, the one that starts first holds; of equal ones the first of the program. */
  #sortSequences(): void {
    const count = this.#sequenceCount;
    const starts = new Float64Array(count);
    for (let sequence = 0; sequence < count; sequence++) {
      starts[sequence] = this.address[this.#sequences[sequence]!]!;
    }
    const rows = new Uint32Array(this.count);
    let filled = 0;
    let covered = Number.NEGATIVE_INFINITY;
    for (const sequence of orderOf(starts, count)) {
      const first = this.#sequences[sequence]!;
      const behind = sequence + 1 < count ? this.#sequences[sequence + 1]! : this.count;
      const end = this.address[behind - 1]!;
      if (end <= covered) continue;
      let from = first;
      while (from + 1 < behind && this.address[from + 1]! <= covered) from++;
      if (this.address[from]! < covered) this.address[from] = covered;
      for (let row = from; row < behind; row++) rows[filled++] = row;
      covered = end;
    }
    this.#permute(0, rows.subarray(0, filled));
  }

  #permute(first: number, rows: Uint32Array): void {
    move(this.address, this.address.slice(0, this.count), first, rows);
    move(this.file, this.file.slice(0, this.count), first, rows);
    move(this.line, this.line.slice(0, this.count), first, rows);
    move(this.column, this.column.slice(0, this.count), first, rows);
    this.count = first + rows.length;
  }
}

type Column = Float64Array | Int32Array | Uint32Array;

/** Puts the values of `rows` at `first` and on. */
function move(to: Column, from: Column, first: number, rows: Uint32Array): void {
  for (let index = 0; index < rows.length; index++) to[first + index] = from[rows[index]!]!;
}
