// Distinct locations by open addressing: equal chains of frames of a unit are one. Across units they hardly
// ever are, since linkers keep one copy of a function; so the table starts anew with each unit, and stays in
// the processor's cache.
import { type LocationColumns, none } from '../ranges.ts';
import { type Budget, grown } from './budget.ts';

const empty = -1;

export class LocationTable {
  count = 0;
  function = new Int32Array(4096);
  file = new Int32Array(4096);
  line = new Uint32Array(4096);
  column = new Uint32Array(4096);
  parent = new Int32Array(4096);
  #slots = new Int32Array(8192).fill(empty);
  /** Slots in use for this unit, less one. */
  #mask = 1023;
  /** Locations of units before this one. */
  #first = 0;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  startUnit(): void {
    this.#slots.fill(empty, 0, this.#mask + 1);
    this.#mask = 1023;
    this.#first = this.count;
  }

  /** The index of the location with these values; a parent is interned before its children. */
  intern(functionIndex: number, file: number, line: number, column: number, parent: number): number {
    const mask = this.#mask;
    let slot = hash(functionIndex, file, line, column, parent) & mask;
    for (let at = this.#slots[slot]!; at !== empty; at = this.#slots[slot]!) {
      if (
        this.line[at] === line &&
        this.function[at] === functionIndex &&
        this.parent[at] === parent &&
        this.column[at] === column &&
        this.file[at] === file
      ) {
        return at;
      }
      slot = (slot + 1) & mask;
    }
    const at = this.count++;
    if (at === this.line.length) this.#growColumns(2 * at);
    this.function[at] = functionIndex;
    this.file[at] = file;
    this.line[at] = line;
    this.column[at] = column;
    this.parent[at] = parent;
    this.#slots[slot] = at;
    if ((this.count - this.#first) * 2 > mask) this.#growSlots();
    return at;
  }

  /** Adds the locations of another table, gives by how much their indexes are moved. */
  append(part: LocationColumns, functionOf: Int32Array, fileOf: Int32Array): number {
    const shift = this.count;
    const added = part.line.length;
    if (shift + added > this.line.length) this.#growColumns(shift + added);
    this.line.set(part.line, shift);
    this.column.set(part.column, shift);
    for (let at = 0; at < added; at++) {
      this.function[shift + at] = part.function[at]! < 0 ? none : functionOf[part.function[at]!]!;
      this.file[shift + at] = part.file[at]! < 0 ? none : fileOf[part.file[at]!]!;
      this.parent[shift + at] = part.parent[at]! < 0 ? none : part.parent[at]! + shift;
    }
    this.count += added;
    return shift;
  }

  columns(): LocationColumns {
    return {
      function: this.function.slice(0, this.count),
      file: this.file.slice(0, this.count),
      line: this.line.slice(0, this.count),
      column: this.column.slice(0, this.count),
      parent: this.parent.slice(0, this.count),
    };
  }

  #growColumns(length: number): void {
    const grow = <A extends Int32Array | Uint32Array>(column: A): A =>
      grown(column, length, this.#budget, 'locations');
    this.function = grow(this.function);
    this.file = grow(this.file);
    this.line = grow(this.line);
    this.column = grow(this.column);
    this.parent = grow(this.parent);
  }

  #growSlots(): void {
    const length = 2 * (this.#mask + 1);
    if (length > this.#slots.length) this.#slots = grown(this.#slots, length, this.#budget, 'locations');
    const slots = this.#slots.fill(empty, 0, length);
    const mask = length - 1;
    this.#mask = mask;
    for (let at = this.#first; at < this.count; at++) {
      const { function: functions, file, line, column, parent } = this;
      let slot = hash(functions[at]!, file[at]!, line[at]!, column[at]!, parent[at]!) & mask;
      while (slots[slot] !== empty) slot = (slot + 1) & mask;
      slots[slot] = at;
    }
  }
}

function hash(functionIndex: number, file: number, line: number, column: number, parent: number): number {
  let mixed = Math.imul(functionIndex ^ 0x2545f491, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 15) ^ line, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13) ^ parent, 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 16) ^ file ^ (column << 20), 0x27d4eb2f);
  return mixed ^ (mixed >>> 15);
}
