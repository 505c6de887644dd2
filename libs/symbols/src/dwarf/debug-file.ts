// One file's DWARF: its sections under cursors, its units, and the look-ups that cross from one to the other.
import { AbbreviationCompiler, type AbbreviationTable } from './abbreviations.ts';
import type { Budget } from './budget.ts';
import { Cursor } from './cursor.ts';
import type { DebugSections } from './debug-sections.ts';
import { DieReader } from './die-reader.ts';
import { encodingOf, encodingsMax } from './forms.ts';
import { OffsetMap } from './offset-map.ts';
import { readRoot, scanUnits, type Unit, type UnitRoot, type UnitScan } from './unit.ts';

/** Most units have a table of their own; references into other units come back to some. */
const tablesBytesMax = 64 * 1024 * 1024;

export class DebugFile {
  readonly sections: DebugSections;
  readonly budget: Budget;
  readonly info: Cursor;
  readonly str: Cursor;
  readonly lineStr: Cursor;
  readonly strOffsets: Cursor;
  readonly addr: Cursor;
  readonly ranges: Cursor;
  readonly rnglists: Cursor;
  readonly line: Cursor;
  /** Address 0, relative to the image base. */
  readonly relativeZero: number;
  /** Functions already resolved, by the offset of their entry. */
  readonly functions: OffsetMap;
  readonly #abbrev: Cursor;
  readonly #tables = new Map<number, AbbreviationTable>();
  readonly #compiler: AbbreviationCompiler;
  #tablesBytes = 0;
  /** Asked for again and again. */
  #lastUnit: Unit | undefined;
  #lastTable: AbbreviationTable | undefined;
  readonly #rootReader = new DieReader();
  readonly #scan: UnitScan = { units: [], damage: [], next: 0 };
  #alternate: DebugFile | undefined;

  /** `splitFrom`: the file whose skeletons these units complete; its addresses are theirs. */
  constructor(sections: DebugSections, budget: Budget, splitFrom?: DebugSections) {
    const suffix = splitFrom === undefined ? '' : '.dwo';
    const { imageBase } = splitFrom ?? sections;
    const { littleEndian } = sections;
    const cursor = (name: string): Cursor => {
      const bytes = sections.section(name) ?? new Uint8Array(0);
      budget.expect(bytes.length);
      return new Cursor(name, bytes, { littleEndian, imageBase });
    };
    this.sections = sections;
    this.budget = budget;
    this.info = cursor(`.debug_info${suffix}`);
    this.str = cursor(`.debug_str${suffix}`);
    this.strOffsets = cursor(`.debug_str_offsets${suffix}`);
    this.rnglists = cursor(`.debug_rnglists${suffix}`);
    this.line = cursor(`.debug_line${suffix}`);
    this.lineStr = cursor('.debug_line_str');
    this.addr = cursor('.debug_addr');
    this.ranges = cursor('.debug_ranges');
    this.#abbrev = cursor(`.debug_abbrev${suffix}`);
    this.#compiler = new AbbreviationCompiler(budget);
    this.relativeZero = this.info.addressOf(0);
    this.functions = new OffsetMap(budget, 'functions');
  }

  /** All units. */
  get scan(): UnitScan {
    return this.scanTo(Number.POSITIVE_INFINITY);
  }

  /** At least the units that start before `offset`. */
  scanTo(offset: number): UnitScan {
    scanUnits(this, this.budget, this.#scan, offset);
    return this.#scan;
  }

  /** Returns once the first `end` bytes of `.debug_info` are there. */
  awaitInfo(end: number): void {
    this.sections.awaitInfo?.(Math.min(end, this.info.bytes.length));
  }

  get alternate(): DebugFile | undefined {
    const { alternate } = this.sections;
    if (alternate !== undefined) this.#alternate ??= new DebugFile(alternate, this.budget);
    return this.#alternate;
  }

  /** The unit that has an entry at `offset`. */
  unitAt(offset: number): Unit | undefined {
    const { units } = this.scanTo(offset + 1);
    let low = 0;
    let high = units.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (units[middle]!.offset <= offset) low = middle + 1;
      else high = middle;
    }
    const unit = units[low - 1];
    if (unit === undefined || offset < unit.firstEntry || offset >= unit.end) return undefined;
    this.awaitInfo(unit.end);
    return unit;
  }

  /** Throws `truncated`, `malformed` or `limit`. */
  abbreviationsOf(unit: Unit): AbbreviationTable {
    if (unit === this.#lastUnit) return this.#lastTable!;
    const key = unit.abbrevOffset * encodingsMax + encodingOf(unit);
    let table = this.#tables.get(key);
    if (table === undefined) {
      table = this.#compiler.compile(this.#abbrev, unit.abbrevOffset, unit);
      this.#keep(key, table);
    }
    this.#lastUnit = unit;
    this.#lastTable = table;
    return table;
  }

  /** Throws `truncated`, `malformed` or `limit`. */
  rootOf(unit: Unit): UnitRoot {
    unit.root ??= readRoot(unit, this.abbreviationsOf(unit), this.#rootReader);
    return unit.root;
  }

  /** Entry `index` of the address table that starts at `base`, relative to the image base. */
  indexedAddress(base: number, index: number, addressBytes: number): number {
    return this.addr.seek(base + index * addressBytes).address(addressBytes);
  }

  #keep(key: number, table: AbbreviationTable): void {
    this.#tables.set(key, table);
    this.#tablesBytes += table.bytes;
    for (const [oldest, old] of this.#tables) {
      if (this.#tablesBytes <= tablesBytesMax || old === table) return;
      this.#tables.delete(oldest);
      this.#tablesBytes -= old.bytes;
      this.budget.hold(-old.bytes, '.debug_abbrev');
    }
  }
}
