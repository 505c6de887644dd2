// The file numbers of line programs as indexes of paths: each is decoded when a row or a call first names it.
import { none } from '../ranges.ts';
import { SymbolsError } from '../symbols-error.ts';
import { type Budget, BudgetError } from './budget.ts';
import { type LineHeader, pathKeyOf, pathOf } from './line-header.ts';
import { OffsetMap } from './offset-map.ts';
import { StringTable, textOf } from './strings.ts';
import type { Unit } from './unit.ts';

const unresolved = -2;

/** All paths of an extraction. */
export class PathTable {
  readonly #strings: StringTable;
  readonly #budget: Budget;
  /** By compile directory: units share most of their headers, by the offsets of their names. */
  readonly #known = new Map<string, OffsetMap>();

  constructor(budget: Budget) {
    this.#budget = budget;
    this.#strings = new StringTable(budget);
  }

  get paths(): readonly string[] {
    return this.#strings.strings;
  }

  intern(path: string): number {
    return this.#strings.intern(path);
  }

  /** Indexes by the key of a path, for units of one compile directory. */
  knownIn(directory: string): OffsetMap {
    let known = this.#known.get(directory);
    if (known === undefined) {
      known = new OffsetMap(this.#budget, 'paths');
      this.#known.set(directory, known);
    }
    return known;
  }
}

/** Those of one program. */
export class LineFiles {
  readonly #unit: Unit;
  readonly #header: LineHeader;
  readonly #paths: PathTable;
  readonly #known: OffsetMap;
  readonly #indexes: Int32Array;

  /** Throws if the unit's compile directory cannot be read. */
  constructor(unit: Unit, header: LineHeader, paths: PathTable) {
    this.#unit = unit;
    this.#header = header;
    this.#paths = paths;
    this.#known = paths.knownIn(textOf(unit, unit.file.rootOf(unit).directory) ?? '');
    this.#indexes = new Int32Array(header.files.values.length).fill(unresolved);
  }

  /** None for a number that the program's header does not have, or a path that cannot be read. */
  indexOf(file: number): number {
    if (!(file >= 0 && file < this.#header.files.values.length)) return none;
    if (file >= this.#indexes.length) return this.#resolve(file); // defined by the program itself
    if (this.#indexes[file] === unresolved) this.#indexes[file] = this.#find(file);
    return this.#indexes[file]!;
  }

  #find(file: number): number {
    const key = pathKeyOf(this.#header, file);
    if (key < 0) return this.#resolve(file);
    const known = this.#known.get(key);
    if (known >= 0) return known;
    const index = this.#resolve(file);
    if (index >= 0) this.#known.set(key, index);
    return index;
  }

  #resolve(file: number): number {
    try {
      const path = pathOf(this.#unit, this.#header, file);
      return path === undefined ? none : this.#paths.intern(path);
    } catch (error) {
      if (!(error instanceof SymbolsError) || error instanceof BudgetError) throw error;
      return none;
    }
  }
}
