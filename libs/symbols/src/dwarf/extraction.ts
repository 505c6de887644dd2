// Units in, ranges out: each unit's entries and line rows are joined and released before the next one is
// read.
import { type FunctionColumns, type LocationColumns, none, type RangeTable } from '../ranges.ts';
import { SymbolsError, type SymbolsErrorCode } from '../symbols-error.ts';
import { type Budget, BudgetError } from './budget.ts';
import { CodeSpans } from './code-spans.ts';
import { tag } from './constants.ts';
import { DebugFile } from './debug-file.ts';
import type { DebugSections } from './debug-sections.ts';
import { FunctionTable } from './functions.ts';
import { InlineSweep } from './inline-sweep.ts';
import { LineFiles, PathTable } from './line-files.ts';
import { readLineHeader } from './line-header.ts';
import { LineProgram } from './line-program.ts';
import { LineRows } from './line-rows.ts';
import { LocationTable } from './locations.ts';
import { type SegmentColumns, Segments } from './segments.ts';
import { SplitUnits } from './split-units.ts';
import { Subroutines } from './subroutines.ts';
import type { Unit, UnitRoot } from './unit.ts';
import { UnitSpans } from './unit-spans.ts';

/** Enough to see what is wrong with a file; all of them are counted. */
const damageMax = 64;

export interface DwarfStats {
  /** Units that may have code: all but type and partial units. */
  units: number;
  /** Entries (DIEs) that were walked. */
  entries: number;
  /** Line rows that were kept. */
  rows: number;
  /** Units that could not be read to their end; what was read before is in the table. */
  damagedUnits: number;
  /** Why, of the first ones. */
  readonly damage: { readonly unit: number; readonly code: SymbolsErrorCode; readonly message: string }[];
  /** Subroutines whose ranges or names cannot be read. */
  damagedEntries: number;
  /** References into a dwz file that is not at hand: their functions have empty names. */
  alternateMissing: number;
  /** Skeletons whose `.dwo` or `.dwp` is not at hand. */
  splitMissing: number;
}

export class Extraction {
  readonly file: DebugFile;
  readonly functions: FunctionTable;
  readonly paths: PathTable;
  readonly locations: LocationTable;
  readonly segments: Segments;
  readonly #subroutines: Subroutines;
  readonly #rows: LineRows;
  readonly #program: LineProgram;
  readonly #sweep: InlineSweep;
  readonly #spans: UnitSpans;
  readonly #split: SplitUnits;
  readonly #stats: DwarfStats;
  readonly #absorbed: DwarfStats[] = [];
  #lineFiles: LineFiles | undefined;
  /** Offset of the line program whose rows are at hand. */
  #lineOffset = none;

  constructor(sections: DebugSections, budget: Budget) {
    const spans = new CodeSpans(sections.executable, sections.imageBase);
    this.file = new DebugFile(sections, budget);
    this.functions = new FunctionTable(budget);
    this.paths = new PathTable(budget);
    this.locations = new LocationTable(budget);
    this.segments = new Segments(budget);
    this.#subroutines = new Subroutines(budget, spans);
    this.#rows = new LineRows(budget, spans);
    this.#program = new LineProgram(this.#rows);
    this.#spans = new UnitSpans(budget);
    this.#split = new SplitUnits(sections, budget);
    this.#sweep = new InlineSweep({
      subroutines: this.#subroutines,
      rows: this.#rows,
      functions: this.functions,
      locations: this.locations,
      segments: this.segments,
      spans: this.#spans,
      budget,
    });
    this.#stats = {
      units: 0,
      entries: 0,
      rows: 0,
      damagedUnits: 0,
      damage: [],
      damagedEntries: 0,
      alternateMissing: 0,
      splitMissing: 0,
    };
  }

  get stats(): DwarfStats {
    const { entries, damaged } = this.#subroutines;
    const own: DwarfStats = {
      ...this.#stats,
      entries,
      damagedEntries: damaged + this.functions.damaged,
      alternateMissing: this.functions.alternateMissing,
      splitMissing: this.#split.missing,
    };
    return this.#absorbed.reduce(addStats, own);
  }

  /** Units that cannot be read at all. */
  noteScanDamage(): void {
    for (const { offset, error } of this.file.scan.damage) this.#note(offset, error);
  }

  /** Adds units that start from `from` up to `to`. */
  addUnits(from: number, to: number): void {
    const { units } = this.file.scanTo(to);
    for (let index = 0; index < units.length; index++) {
      const { offset } = units[index]!;
      if (offset >= from && offset < to) this.addUnit(units[index]!, index);
    }
  }

  /** Adds the ranges of one unit; what is broken in it is noted. Throws `limit` where the budget ends. */
  addUnit(unit: Unit, index: number): void {
    this.file.awaitInfo(unit.end);
    this.#guard(unit.offset, () => {
      const root = this.file.rootOf(unit);
      if (root.tag !== tag.compileUnit && root.tag !== tag.skeletonUnit && !root.hasCode) return;
      if (root.tag === tag.typeUnit) return;
      this.#stats.units++;
      const [codeUnit, codeRoot] = this.#codeOf(unit, root);
      this.#guard(unit.offset, () => this.#subroutines.walk(codeUnit, codeRoot));
      if (root.hasCode || this.#subroutines.rangeCount > 0)
        this.#guard(unit.offset, () => this.#runLines(unit, root));
      else this.#clearRows();
      this.#guard(unit.offset, () => this.#spans.read(unit, root, this.file.abbreviationsOf(unit)));
      this.#sweep.run(codeUnit, this.#lineFiles ?? noFiles, index);
    });
  }

  /** The unit that has the entries: of a skeleton the split one, if it is at hand. */
  #codeOf(unit: Unit, root: UnitRoot): readonly [Unit, UnitRoot] {
    if (root.splitName.form === 0) return [unit, root];
    let split: Unit | undefined;
    this.#guard(unit.offset, () => {
      split = this.#split.find(unit, root);
      if (split !== undefined) split.file.rootOf(split);
    });
    return split?.root === undefined ? [unit, root] : [split, split.root];
  }

  #runLines(unit: Unit, root: UnitRoot): void {
    const offset = root.lineOffset;
    if (offset === this.#lineOffset) return;
    this.#clearRows();
    if (offset < 0) return;
    const header = readLineHeader(unit, this.file.line, offset);
    this.#lineFiles = new LineFiles(unit, header, this.paths);
    try {
      this.#program.run(unit, header);
    } finally {
      this.#rows.finish();
      this.#stats.rows += this.#rows.count;
    }
    this.#lineOffset = offset;
  }

  #clearRows(): void {
    this.#rows.clear();
    this.#lineFiles = undefined;
    this.#lineOffset = none;
  }

  #guard(offset: number, read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof SymbolsError) || error instanceof BudgetError) throw error;
      this.#note(offset, error);
    }
  }

  #note(unit: number, { code, message }: SymbolsError): void {
    this.#stats.damagedUnits++;
    if (this.#stats.damage.length < damageMax) this.#stats.damage.push({ unit, code, message });
  }

  /** What another thread found in its units, added to what this one found. */
  absorb(part: PartialExtraction): void {
    const { locations, functions, segments } = this;
    const names = part.functions.name.map((name) => functions.names.intern(name));
    const functionOf = Int32Array.from(names, (name, at) =>
      functions.intern(name, part.functions.startLine[at]!),
    );
    const fileOf = Int32Array.from(part.files, (path) => this.paths.intern(path));
    const shift = locations.append(part.locations, functionOf, fileOf);
    segments.append(part.segments, shift);
    this.#absorbed.push(part.stats);
  }

  /** Columns whose buffers may be handed to another thread: this extraction ends here. */
  toPartial(): PartialExtraction {
    return {
      segments: this.segments.columns(),
      locations: this.locations.columns(),
      functions: this.#functionColumns(),
      files: this.paths.paths,
      stats: this.stats,
    };
  }

  finish(): RangeTable {
    return {
      source: 'dwarf',
      imageBase: this.file.sections.imageBase,
      ...this.segments.flatten(),
      locations: this.locations.columns(),
      functions: this.#functionColumns(),
      files: this.paths.paths,
    };
  }

  #functionColumns(): FunctionColumns {
    const { names, name, startLine } = this.functions;
    return { name: name.map((index) => names.strings[index]!), startLine: Uint32Array.from(startLine) };
  }
}

function addStats(sum: DwarfStats, part: DwarfStats): DwarfStats {
  return {
    units: sum.units + part.units,
    entries: sum.entries + part.entries,
    rows: sum.rows + part.rows,
    damagedUnits: sum.damagedUnits + part.damagedUnits,
    damage: [...sum.damage, ...part.damage].sort((a, b) => a.unit - b.unit).slice(0, damageMax),
    damagedEntries: sum.damagedEntries + part.damagedEntries,
    alternateMissing: sum.alternateMissing + part.alternateMissing,
    splitMissing: sum.splitMissing + part.splitMissing,
  };
}

/** What one thread found, as it crosses to another. */
export interface PartialExtraction {
  readonly segments: SegmentColumns;
  readonly locations: LocationColumns;
  readonly functions: FunctionColumns;
  readonly files: readonly string[];
  readonly stats: DwarfStats;
}

const noFiles = { indexOf: () => none };
