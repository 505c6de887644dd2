// Builds a `RangeTable`: interns functions, files and locations, joins neighbours that say the same.
import { Budget } from './dwarf/budget.ts';
import { LocationTable } from './dwarf/locations.ts';
import { none, type RangeTable, type Source } from './ranges.ts';

export interface Location {
  /** Each from the builder, or `none`. */
  readonly function: number;
  readonly file: number;
  readonly line: number;
  readonly column: number;
  readonly parent: number;
}

export class RangeTableBuilder {
  readonly #source: Source;
  readonly #imageBase: bigint;
  readonly #starts: number[] = [];
  readonly #location: number[] = [];
  // What it may hold is bounded by what its extractor reads.
  readonly #locations = new LocationTable(new Budget(Number.POSITIVE_INFINITY));
  readonly #names: string[] = [];
  readonly #startLines: number[] = [];
  readonly #files: string[] = [];
  readonly #functionIndex = new Map<string, number>();
  readonly #fileIndex = new Map<string, number>();

  constructor(source: Source, imageBase: bigint) {
    this.#source = source;
    this.#imageBase = imageBase;
  }

  function(name: string, startLine: number): number {
    const key = startLine === 0 ? name : `${name}\n${startLine}`;
    const known = this.#functionIndex.get(key);
    if (known !== undefined) return known;
    const index = this.#names.push(name) - 1;
    this.#startLines.push(startLine);
    this.#functionIndex.set(key, index);
    return index;
  }

  file(path: string): number {
    const known = this.#fileIndex.get(path);
    if (known !== undefined) return known;
    const index = this.#files.push(path) - 1;
    this.#fileIndex.set(path, index);
    return index;
  }

  location(location: Location): number {
    return this.#locations.intern(
      location.function,
      location.file,
      location.line,
      location.column,
      location.parent,
    );
  }

  /**
   * From `start` on, relative to the image base, `location` holds. Starts may repeat, then the later call counts, but not
   * descend: RangeError.
   */
  range(start: number, location: number): void {
    const last = this.#starts.length - 1;
    if (last >= 0 && start < (this.#starts[last] as number))
      throw new RangeError(`${start} after a later start`);
    if (last >= 0 && start === this.#starts[last]) {
      this.#starts.pop();
      this.#location.pop();
    }
    if ((this.#location.at(-1) ?? none) === location) return;
    this.#starts.push(start);
    this.#location.push(location);
  }

  /** What was added; the last range must have no location. */
  table(): RangeTable {
    if ((this.#location.at(-1) ?? none) !== none) throw new RangeError('the last range has no end');
    return {
      source: this.#source,
      imageBase: this.#imageBase,
      starts: Float64Array.from(this.#starts),
      location: Int32Array.from(this.#location),
      locations: this.#locations.columns(),
      functions: { name: this.#names, startLine: Uint32Array.from(this.#startLines) },
      files: this.#files,
    };
  }
}
