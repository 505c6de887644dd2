// Joins a unit's subroutines with its line rows: sweeps over addresses once, always knowing the innermost
// subroutine and the row, and names the chain of frames of each stretch between two changes.
import { none } from '../ranges.ts';
import type { Budget } from './budget.ts';
import type { FunctionTable } from './functions.ts';
import { gap, type LineRows } from './line-rows.ts';
import type { LocationTable } from './locations.ts';
import { orderOf, RankHeap } from './order.ts';
import { piecesOf, type Ranges } from './range-pieces.ts';
import { lineOnlyRank, type Segments } from './segments.ts';
import type { Subroutines } from './subroutines.ts';
import type { Unit } from './unit.ts';
import type { UnitSpans } from './unit-spans.ts';

const unresolved = -2;

/** The unit's file numbers as indexes of paths. */
export interface FileIndexes {
  indexOf(file: number): number;
}

export class InlineSweep {
  readonly #subroutines: Subroutines;
  readonly #rows: LineRows;
  readonly #functions: FunctionTable;
  readonly #locations: LocationTable;
  readonly #segments: Segments;
  readonly #spans: UnitSpans;
  readonly #budget: Budget;
  readonly #open = new RankHeap();
  /** Of the unit that is swept: its ranges, or the pieces that they leave of each other. */
  #ranges: Ranges = noRanges;
  /** By subroutine: its function, and the location of its caller. */
  #function = new Int32Array(0);
  #caller = new Int32Array(0);

  constructor(parts: {
    readonly subroutines: Subroutines;
    readonly rows: LineRows;
    readonly functions: FunctionTable;
    readonly locations: LocationTable;
    readonly segments: Segments;
    readonly spans: UnitSpans;
    readonly budget: Budget;
  }) {
    this.#budget = parts.budget;
    this.#subroutines = parts.subroutines;
    this.#rows = parts.rows;
    this.#functions = parts.functions;
    this.#locations = parts.locations;
    this.#segments = parts.segments;
    this.#spans = parts.spans;
  }

  /** Of several ranges over one address the one whose entry comes last holds, the innermost. */
  run(unit: Unit, files: FileIndexes, unitRank: number): void {
    const order = this.#order();
    const { start: rangeStart, end: rangeEnd, count: rangeCount } = this.#ranges;
    const { address, count: rowCount } = this.#rows;
    const open = this.#open;
    this.#prepare();
    this.#locations.startUnit();
    let row = none;
    let nextRow = 0;
    let next = 0;
    for (let pos = Number.NEGATIVE_INFINITY; ; ) {
      while (nextRow < rowCount && address[nextRow]! <= pos) row = nextRow++;
      for (; next < rangeCount && rangeStart[order[next]!]! <= pos; next++)
        open.push(-order[next]!, order[next]!);
      while (open.size > 0 && rangeEnd[open.top]! <= pos) open.pop();
      let until = open.size > 0 ? rangeEnd[open.top]! : Number.POSITIVE_INFINITY;
      if (next < rangeCount) until = Math.min(until, rangeStart[order[next]!]!);
      if (nextRow < rowCount) until = Math.min(until, address[nextRow]!);
      if (until === Number.POSITIVE_INFINITY) return;
      this.#emit(unit, files, pos, until, row, unitRank);
      pos = until;
    }
  }

  /** Takes the unit's ranges; gives them by their start. */
  #order(): Uint32Array {
    const { rangeStart: start, rangeEnd: end, rangeOwner: owner, rangeCount: count } = this.#subroutines;
    const ranges = { start, end, owner, count };
    const order = orderOf(start, count);
    this.#ranges = piecesOf(ranges, order, this.#budget);
    return this.#ranges === ranges ? order : orderOf(this.#ranges.start, this.#ranges.count);
  }

  #prepare(): void {
    const { count } = this.#subroutines;
    if (this.#function.length < count) {
      this.#function = new Int32Array(this.#subroutines.parent.length);
      this.#caller = new Int32Array(this.#subroutines.parent.length);
    }
    this.#function.fill(unresolved, 0, count);
    this.#caller.fill(unresolved, 0, count);
  }

  #emit(unit: Unit, files: FileIndexes, start: number, end: number, row: number, unitRank: number): void {
    const rows = this.#rows;
    const hasRow = row >= 0 && rows.file[row] !== gap;
    const file = hasRow ? files.indexOf(rows.file[row]!) : none;
    const line = hasRow ? rows.line[row]! : 0;
    const column = hasRow ? rows.column[row]! : 0;
    if (this.#open.size === 0) {
      if (hasRow)
        this.#emitLine(start, end, this.#locations.intern(none, file, line, column, none), unitRank);
      return;
    }
    const owner = this.#ranges.owner[this.#open.top]!;
    const caller = this.#callerOf(unit, files, owner);
    const location = this.#locations.intern(this.#functionOf(unit, owner), file, line, column, caller);
    this.#segments.add(start, end, location, unitRank);
  }

  /** Lines outside functions count where the unit says it has code. */
  #emitLine(start: number, end: number, location: number, unitRank: number): void {
    const spans = this.#spans;
    for (let from = spans.startAt(start); from < end; from = spans.startAt(spans.end)) {
      this.#segments.add(from, Math.min(end, spans.end), location, unitRank + lineOnlyRank);
      if (spans.end >= end) return;
    }
  }

  #functionOf(unit: Unit, subroutine: number): number {
    if (this.#function[subroutine] === unresolved) {
      const { nameForm, nameValue } = this.#subroutines;
      this.#function[subroutine] = this.#functions.of(unit, nameForm[subroutine]!, nameValue[subroutine]!);
    }
    return this.#function[subroutine]!;
  }

  /** The location of the call that `subroutine` is inlined at, none for a subprogram. */
  #callerOf(unit: Unit, files: FileIndexes, subroutine: number): number {
    if (this.#caller[subroutine] !== unresolved) return this.#caller[subroutine]!;
    const { parent } = this.#subroutines;
    const outer = parent[subroutine]!;
    if (outer !== none && this.#caller[outer] === unresolved) {
      // Up to the first that is known, then down again: nesting has no bound.
      const path: number[] = [];
      for (let at = outer; at !== none && this.#caller[at] === unresolved; at = parent[at]!) path.push(at);
      for (let at = path.pop(); at !== undefined; at = path.pop()) this.#resolveCaller(unit, files, at);
    }
    return this.#resolveCaller(unit, files, subroutine);
  }

  /** Its outer subroutine's caller is resolved. */
  #resolveCaller(unit: Unit, files: FileIndexes, subroutine: number): number {
    const { parent, callFile, callLine, callColumn } = this.#subroutines;
    const outer = parent[subroutine]!;
    const caller =
      outer === none
        ? none
        : this.#locations.intern(
            this.#functionOf(unit, outer),
            files.indexOf(callFile[subroutine]!),
            callLine[subroutine]!,
            callColumn[subroutine]!,
            this.#caller[outer]!,
          );
    this.#caller[subroutine] = caller;
    return caller;
  }
}

const noRanges: Ranges = {
  start: new Float64Array(0),
  end: new Float64Array(0),
  owner: new Int32Array(0),
  count: 0,
};
