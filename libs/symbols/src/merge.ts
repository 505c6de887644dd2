// Several sources of one executable become one set of ranges: at each address the best source that knows something of
// it, and of DWARF's frames the outermost one by the name that the linker gave it.
//
// That name is llvm-symbolizer's rule. DWARF names a function as its source does, the ELF symbol table as the linker
// does: with what the compiler made of it (`.cold`, `.isra.0`), under the alias that comes last, and also where DWARF has
// no linkage name or none at all. So wherever a symbol covers an address that DWARF covers, the outermost frame takes the
// symbol's name; and, if DWARF knows no file for it, the one the symbol table has. All else stays DWARF's.
import { qualityRank } from '@symkeep/protocol';
import { none, type RangeTable, type SymbolRanges } from './ranges.ts';

/**
 * Merges what sources know of one executable; better sources come first whatever the order given. Of two of the same
 * source the one given first comes first. Throws RangeError when they do not count from the same image base.
 */
export function mergeRanges(tables: readonly RangeTable[]): SymbolRanges {
  const imageBase = tables[0]?.imageBase ?? 0n;
  if (tables.some((table) => table.imageBase !== imageBase))
    throw new RangeError('tables of different images');
  const sorted = tables
    .filter(({ starts }) => starts.length > 0)
    .sort((a, b) => qualityRank(b.source) - qualityRank(a.source));
  const pool = poolOf(sorted);
  const spansOf = (sources: readonly string[]) =>
    pool.spans.filter((_, index) => sources.includes(sorted[index]?.source as string));
  const covered = pool.spans.reduce(cover, emptySpans);
  const names = new Renamer(pool);
  const symbols = spansOf(['symtab', 'dynsym']).reduce(cover, emptySpans);
  const named =
    spansOf(['dwarf']).length === 0 ? covered : zip(covered, symbols, (a, b) => names.rename(a, b));
  return { imageBase, ...named, ...names.pooled() };
}

/** Starts and locations; a range ends where the next begins, the last has no location. */
export interface Spans {
  readonly starts: Float64Array;
  readonly location: Int32Array;
}

export const emptySpans: Spans = { starts: new Float64Array(0), location: new Int32Array(0) };

export function cover(better: Spans, worse: Spans): Spans {
  return zip(better, worse, (a, b) => (a === none ? b : a));
}

/** Combines two sets of ranges piece by piece; neighbours with the same location become one range. */
function zip(a: Spans, b: Spans, combine: (a: number, b: number) => number): Spans {
  const starts = new Float64Array(a.starts.length + b.starts.length);
  const location = new Int32Array(starts.length);
  const [countA, countB] = [a.starts.length, b.starts.length];
  let [locationA, locationB, before] = [none, none, none];
  let count = 0;
  for (let inA = 0, inB = 0; inA < countA || inB < countB; ) {
    const startA = inA < countA ? (a.starts[inA] as number) : Infinity;
    const startB = inB < countB ? (b.starts[inB] as number) : Infinity;
    if (startA <= startB) locationA = a.location[inA++] as number;
    if (startB <= startA) locationB = b.location[inB++] as number;
    const combined = combine(locationA, locationB);
    if (combined === before) continue;
    starts[count] = startA <= startB ? startA : startB;
    location[count++] = combined;
    before = combined;
  }
  return { starts: starts.slice(0, count), location: location.slice(0, count) };
}

/** All locations, functions and files of all tables in one numbering, and each table's ranges in terms of it. */
interface Pool extends Omit<SymbolRanges, 'imageBase' | 'starts' | 'location'> {
  readonly spans: readonly Spans[];
}

function poolOf(tables: readonly RangeTable[]): Pool {
  const sources = [...new Set(tables.map(({ source }) => source))];
  const all = tables.map(({ locations }) => locations);
  const locationBases = basesOf(all.map(({ parent }) => parent.length));
  const functionBases = basesOf(tables.map(({ functions }) => functions.name.length));
  const fileBases = basesOf(tables.map(({ files }) => files.length));
  const source = new Uint8Array(all.reduce((sum, { parent }) => sum + parent.length, 0));
  for (const [index, table] of tables.entries()) {
    source.fill(sources.indexOf(table.source), locationBases[index], locationBases[index + 1]);
  }
  return {
    sources,
    spans: tables.map(({ starts, location }, index) => {
      return { starts, location: joinShifted([location], [locationBases[index] as number]) };
    }),
    locations: {
      parent: joinShifted(
        all.map(({ parent }) => parent),
        locationBases,
      ),
      function: joinShifted(
        all.map((columns) => columns.function),
        functionBases,
      ),
      file: joinShifted(
        all.map(({ file }) => file),
        fileBases,
      ),
      line: joinColumns(all.map(({ line }) => line)),
      column: joinColumns(all.map(({ column }) => column)),
      source,
    },
    functions: {
      name: joinLists(tables.map(({ functions }) => functions.name)),
      startLine: joinColumns(tables.map(({ functions }) => functions.startLine)),
    },
    files: joinLists(tables.map(({ files }) => files)),
  };
}

/** Running sums, the total last. */
export function basesOf(lengths: readonly number[]): number[] {
  const bases = [0];
  for (const length of lengths) bases.push((bases.at(-1) as number) + length);
  return bases;
}

/** Joins columns of indexes, each moved to where what it indexes begins. */
export function joinShifted(columns: readonly Int32Array[], bases: readonly number[]): Int32Array {
  const [first] = columns;
  if (first !== undefined && columns.length === 1 && bases[0] === 0) return first;
  const joined = new Int32Array(columns.reduce((sum, { length }) => sum + length, 0));
  let start = 0;
  for (const [index, column] of columns.entries()) {
    const base = bases[index] as number;
    joined.set(column, start);
    const end = start + column.length;
    if (base !== 0) {
      for (let at = start; at < end; at++) if (joined[at] !== none) joined[at]! += base;
    }
    start = end;
  }
  return joined;
}

export function joinColumns(columns: readonly Uint32Array[]): Uint32Array {
  if (columns.length === 1) return columns[0] as Uint32Array;
  const joined = new Uint32Array(columns.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const column of columns) {
    joined.set(column, at);
    at += column.length;
  }
  return joined;
}

export function joinLists(lists: readonly (readonly string[])[]): readonly string[] {
  return lists.length === 1 ? (lists[0] as readonly string[]) : lists.flat();
}

/** Makes the locations that come of giving outermost frames their symbol's name. */
class Renamer {
  readonly #pool: Pool;
  readonly #dwarf: number;
  readonly #added = { parent: [], function: [], file: [], line: [], column: [] } as Record<
    'parent' | 'function' | 'file' | 'line' | 'column',
    number[]
  >;
  readonly #names: string[] = [];
  readonly #startLines: number[] = [];
  /** New function by name and declaration line; new location by symbol and old location. */
  readonly #functions = new Map<string, number>();
  readonly #locations = new Map<number, Map<number, number>>();
  /** By location: the outermost frame of its chain. */
  readonly #outermost: Int32Array;
  /** Neighbours mostly are in one function and under one symbol: the last answer of `#agrees`. */
  #last = { function: none, symbol: none, agrees: false };

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#dwarf = pool.sources.indexOf('dwarf');
    this.#outermost = outermostOf(pool.locations.parent);
  }

  /** The location to use where `location` was found and `symbol` is the location of the symbol that covers it. */
  rename(location: number, symbol: number): number {
    const { locations } = this.#pool;
    if (location === none || symbol === none || locations.source[location] !== this.#dwarf) return location;
    if (this.#agrees(this.#outermost[location] as number, symbol)) return location;
    return this.#renamed(location, symbol);
  }

  #agrees(outermost: number, symbol: number): boolean {
    const { locations, functions } = this.#pool;
    const func = locations.function[outermost] as number;
    if (func === none) return false;
    if (locations.file[outermost] === none && locations.file[symbol] !== none) return false;
    const last = this.#last;
    if (last.function !== func || last.symbol !== symbol) {
      last.function = func;
      last.symbol = symbol;
      last.agrees = functions.name[func] === this.#nameOf(symbol);
    }
    return last.agrees;
  }

  #nameOf(symbol: number): string {
    return this.#pool.functions.name[this.#pool.locations.function[symbol] as number] as string;
  }

  #renamed(location: number, symbol: number): number {
    const { locations } = this.#pool;
    const known = this.#locations.get(symbol) ?? new Map<number, number>();
    this.#locations.set(symbol, known);
    const chain: number[] = [];
    let made: number | undefined;
    for (let at = location; at !== none; at = locations.parent[at] as number) {
      made = known.get(at);
      if (made !== undefined) break;
      chain.push(at);
    }
    for (let at = chain.pop(); at !== undefined; at = chain.pop()) {
      made = this.#add(at, made ?? none, symbol);
      known.set(at, made);
    }
    return made as number;
  }

  #add(location: number, parent: number, symbol: number): number {
    const { locations } = this.#pool;
    const isOutermost = parent === none;
    const file = locations.file[location] as number;
    this.#added.parent.push(parent);
    this.#added.function.push(
      isOutermost ? this.#functionFor(location, symbol) : (locations.function[location] as number),
    );
    this.#added.file.push(isOutermost && file === none ? (locations.file[symbol] as number) : file);
    this.#added.line.push(locations.line[location] as number);
    this.#added.column.push(locations.column[location] as number);
    return locations.parent.length + this.#added.parent.length - 1;
  }

  #functionFor(location: number, symbol: number): number {
    const { functions, locations } = this.#pool;
    const func = locations.function[location] as number;
    const startLine = func === none ? 0 : (functions.startLine[func] as number);
    const name = this.#nameOf(symbol);
    const key = `${startLine} ${name}`;
    const known = this.#functions.get(key);
    if (known !== undefined) return known;
    const added = functions.name.length + this.#names.push(name) - 1;
    this.#startLines.push(startLine);
    this.#functions.set(key, added);
    return added;
  }

  /** The pool with all that was made. */
  pooled(): Omit<Pool, 'spans'> {
    const { locations, functions, sources, files } = this.#pool;
    const added = this.#added;
    if (added.parent.length === 0) return { locations, functions, sources, files };
    return {
      sources,
      files,
      functions: {
        name: joinLists([functions.name, this.#names]),
        startLine: joinColumns([functions.startLine, Uint32Array.from(this.#startLines)]),
      },
      locations: {
        parent: joinInt32(locations.parent, added.parent),
        function: joinInt32(locations.function, added.function),
        file: joinInt32(locations.file, added.file),
        line: joinColumns([locations.line, Uint32Array.from(added.line)]),
        column: joinColumns([locations.column, Uint32Array.from(added.column)]),
        source: joinSources(locations.source, added.parent.length, Math.max(0, this.#dwarf)),
      },
    };
  }
}

/** A parent stands before its children. */
function outermostOf(parent: Int32Array): Int32Array {
  const outermost = new Int32Array(parent.length);
  for (let at = 0; at < parent.length; at++) {
    const outer = parent[at] as number;
    outermost[at] = outer === none ? at : (outermost[outer] as number);
  }
  return outermost;
}

function joinInt32(column: Int32Array, added: readonly number[]): Int32Array {
  return joinShifted([column, Int32Array.from(added)], [0, 0]);
}

function joinSources(column: Uint8Array, added: number, source: number): Uint8Array {
  const joined = new Uint8Array(column.length + added).fill(source, column.length);
  joined.set(column);
  return joined;
}
