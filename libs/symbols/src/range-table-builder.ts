// Builds a `RangeTable`: interns functions, files and locations, joins neighbours that say the same.
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
  readonly #columns = { function: [], file: [], line: [], column: [], parent: [] } as Record<
    keyof Location,
    number[]
  >;
  readonly #names: string[] = [];
  readonly #startLines: number[] = [];
  readonly #files: string[] = [];
  readonly #functionIndex = new Map<string, number>();
  readonly #fileIndex = new Map<string, number>();
  readonly #locationIndex = new Map<string, number>();

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
    const { function: func, file, line, column, parent } = location;
    const key = `${func},${file},${line},${column},${parent}`;
    const known = this.#locationIndex.get(key);
    if (known !== undefined) return known;
    const index = this.#columns.parent.push(parent) - 1;
    this.#columns.function.push(func);
    this.#columns.file.push(file);
    this.#columns.line.push(line);
    this.#columns.column.push(column);
    this.#locationIndex.set(key, index);
    return index;
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
      locations: {
        function: Int32Array.from(this.#columns.function),
        file: Int32Array.from(this.#columns.file),
        line: Uint32Array.from(this.#columns.line),
        column: Uint32Array.from(this.#columns.column),
        parent: Int32Array.from(this.#columns.parent),
      },
      functions: { name: this.#names, startLine: Uint32Array.from(this.#startLines) },
      files: this.#files,
    };
  }
}
