// One walk over a unit's entries: which subprograms and inlined subroutines have code where, and what they
// are inside. Columns, reused from unit to unit.
import { SymbolsError } from '../symbols-error.ts';
import { type AbbreviationTable, kind, record, slot } from './abbreviations.ts';
import { type Budget, BudgetError, grown } from './budget.ts';
import { type CodeSpans, noCode } from './code-spans.ts';
import { form } from './constants.ts';
import { DieReader } from './die-reader.ts';
import { skipValues } from './forms.ts';
import { ownEntry } from './functions.ts';
import { type RangeSink, readRanges } from './range-lists.ts';
import type { Unit, UnitRoot } from './unit.ts';

const none = -1;
/** In place of a subroutine: the cursor is behind all that is inside the entry. */
const passedSubtree = -2;

export class Subroutines implements RangeSink {
  /** Subroutines in the order of their entries: a parent stands before what is inside it. */
  count = 0;
  /** The one that an inlined subroutine is inlined into; none for a subprogram. */
  parent = new Int32Array(1024);
  /** Reference to the entry that names it, for `FunctionTable.of`. */
  nameForm = new Int32Array(1024);
  nameValue = new Float64Array(1024);
  callFile = new Int32Array(1024);
  callLine = new Uint32Array(1024);
  callColumn = new Uint32Array(1024);

  /** Ranges of code, in the same order. */
  rangeCount = 0;
  rangeStart = new Float64Array(1024);
  rangeEnd = new Float64Array(1024);
  rangeOwner = new Int32Array(1024);

  /** Since the start of the extraction. */
  entries = 0;
  /** Subroutines whose ranges cannot be read. */
  damaged = 0;

  readonly #budget: Budget;
  readonly #spans: CodeSpans;
  readonly #reader = new DieReader();
  /** By depth: the subroutine that entries there are in. */
  #enclosing = new Int32Array(256);

  constructor(budget: Budget, spans: CodeSpans) {
    this.#budget = budget;
    this.#spans = spans;
  }

  /**
   * Fills the columns. On an error they hold what was read before it. Throws `truncated`, `malformed` or
   * `limit`.
   */
  walk(unit: Unit, root: UnitRoot): void {
    this.count = 0;
    this.rangeCount = 0;
    const table = unit.file.abbreviationsOf(unit);
    const cursor = unit.file.info.seek(unit.firstEntry, unit.end);
    const { bytes } = cursor;
    const { records, dense } = table;
    const { end } = unit;
    let depth = 0;
    let pos = unit.firstEntry;
    this.#enclosing[0] = none;
    while (pos < end) {
      const start = pos;
      let code = bytes[pos++]!;
      if (code === 0) {
        if (--depth <= 0) return;
        continue;
      }
      if (code >= 0x80) {
        code = cursor.seek(start, end).uleb128();
        pos = cursor.pos;
      }
      const at = code < dense.length ? dense[code]! : table.find(code);
      if (at < 0) throw new SymbolsError('malformed', cursor.name, `no abbreviation ${code} at ${pos}`);
      this.entries++;
      const what = records[at]!;
      const size = records[at + record.bytes]!;
      let inside = this.#enclosing[depth]!;
      if ((what & kind.siblingFirst) !== 0) {
        const sibling = this.#siblingOf(unit, pos + records[at + record.sibling]!);
        if (sibling > pos) {
          pos = sibling;
          continue;
        }
      }
      if ((what & (kind.subprogram | kind.inlined)) !== 0) {
        cursor.seek(pos, end);
        inside = this.#enter(unit, root, table, at, start, inside);
        pos = cursor.pos;
        if (inside === passedSubtree) continue;
      } else if (size >= 0) pos += size;
      else pos = this.#skip(unit, table, at, pos);
      if ((what & kind.hasChildren) !== 0) this.#descend(++depth, inside);
      else if (depth === 0) return;
    }
    if (pos > end) throw new SymbolsError('truncated', cursor.name, `an entry of the unit at ${unit.offset}`);
  }

  /** The position that a sibling reference names, 0 if it is not ahead in this unit. */
  #siblingOf(unit: Unit, at: number): number {
    const sibling = unit.offset + unit.file.info.seek(at, unit.end).u32();
    return sibling > at && sibling <= unit.end ? sibling : 0;
  }

  #skip(unit: Unit, table: AbbreviationTable, at: number, pos: number): number {
    const cursor = unit.file.info.seek(pos, unit.end);
    skipValues(
      cursor,
      table.ops,
      table.records[at + record.opsStart]!,
      table.records[at + record.opsEnd]!,
      unit,
    );
    return cursor.pos;
  }

  #descend(depth: number, inside: number): void {
    if (depth === this.#enclosing.length) {
      this.#enclosing = grown(this.#enclosing, 2 * depth, this.#budget, 'nesting');
    }
    this.#enclosing[depth] = inside;
  }

  /** Reads the subroutine that starts at `start`, passes it; gives its index, or `passedSubtree`. */
  #enter(
    unit: Unit,
    root: UnitRoot,
    table: AbbreviationTable,
    at: number,
    start: number,
    inside: number,
  ): number {
    const { info } = unit.file;
    const reader = this.#reader;
    reader.read(info, table, at, unit);
    const isInlined = (table.records[at]! & kind.inlined) !== 0;
    if (!isInlined && reader.has(slot.declaration) && this.#passDeclaration(unit)) return passedSubtree;
    const index = this.#add(isInlined ? inside : none);
    const origin = isInlined ? reader.forms[slot.abstractOrigin]! : 0;
    this.nameForm[index] = origin === 0 ? ownEntry : origin;
    this.nameValue[index] = origin === 0 ? start : reader.values[slot.abstractOrigin]!;
    this.callFile[index] = this.#number(slot.callFile);
    this.callLine[index] = this.#number(slot.callLine);
    this.callColumn[index] = this.#number(slot.callColumn);
    this.#readRanges(unit, root, info.pos);
    return index;
  }

  /** True if the cursor could be put behind the parameters of a declaration: no code is inside. */
  #passDeclaration(unit: Unit): boolean {
    const reader = this.#reader;
    const { info } = unit.file;
    if (reader.forms[slot.sibling] !== form.ref4) return false;
    const sibling = unit.offset + reader.values[slot.sibling]!;
    if (sibling < info.pos || sibling > unit.end) return false;
    info.seek(sibling, unit.end);
    return true;
  }

  #number(from: number): number {
    return this.#reader.has(from) ? Math.min(this.#reader.values[from]!, 0xffff_ffff) : 0;
  }

  #add(parent: number): number {
    if (this.count === this.parent.length) this.#growSubroutines(2 * this.count);
    this.parent[this.count] = parent;
    return this.count++;
  }

  #growSubroutines(length: number): void {
    const grow = <A extends Int32Array | Uint32Array | Float64Array>(column: A): A =>
      grown(column, length, this.#budget, 'subroutines');
    this.parent = grow(this.parent);
    this.nameForm = grow(this.nameForm);
    this.nameValue = grow(this.nameValue);
    this.callFile = grow(this.callFile);
    this.callLine = grow(this.callLine);
    this.callColumn = grow(this.callColumn);
  }

  /** A list that cannot be read costs this subroutine its ranges, not the unit. */
  #readRanges(unit: Unit, root: UnitRoot, behind: number): void {
    try {
      readRanges(unit, root, this.#reader, this);
    } catch (error) {
      if (!(error instanceof SymbolsError) || error instanceof BudgetError) throw error;
      this.damaged++;
    }
    unit.file.info.seek(behind, unit.end);
  }

  /** A range of the subroutine that was added last, if there is code. */
  range(start: number, end: number): void {
    if (!(end > start)) return;
    const spanEnd = this.#spans.endAt(start);
    if (spanEnd === noCode) return;
    const at = this.rangeCount;
    if (at === this.rangeStart.length) {
      this.rangeStart = grown(this.rangeStart, 2 * at, this.#budget, 'ranges');
      this.rangeEnd = grown(this.rangeEnd, 2 * at, this.#budget, 'ranges');
      this.rangeOwner = grown(this.rangeOwner, 2 * at, this.#budget, 'ranges');
    }
    this.rangeStart[at] = start;
    this.rangeEnd[at] = Math.min(end, spanEnd);
    this.rangeOwner[at] = this.count - 1;
    this.rangeCount++;
  }
}
