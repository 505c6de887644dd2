// Range tables for properties: built by hand, looked up the slow way.
import fc from 'fast-check';
import { none, type RangeTable, type Source, type SymbolRanges } from '../src/index.ts';

/** A frame as tests write it down. */
export interface TestFrame {
  readonly name: string | undefined;
  readonly startLine: number;
  readonly file: string | undefined;
  readonly line: number;
  readonly column: number;
}

/** Frames at a start, innermost first; none: nothing is known from here on. */
export interface TestRange {
  readonly start: number;
  readonly frames: readonly TestFrame[];
}

/** `ranges` ascend; the last one must have no frames. */
export function tableOf(source: Source, imageBase: bigint, ranges: readonly TestRange[]): RangeTable {
  const functions = new Interner<{ name: string; startLine: number }>();
  const files = new Interner<string>();
  const locations = new Interner<
    [func: number, file: number, line: number, column: number, parent: number]
  >();
  const location = ranges.map(({ frames }) =>
    frames.toReversed().reduce((parent, { name, startLine, file, line, column }) => {
      const func = name === undefined ? none : functions.index({ name, startLine });
      return locations.index([func, file === undefined ? none : files.index(file), line, column, parent]);
    }, none),
  );
  const column = (index: number) => locations.values.map((values) => values[index] as number);
  return {
    source,
    imageBase,
    starts: Float64Array.from(ranges.map(({ start }) => start)),
    location: Int32Array.from(location),
    locations: {
      function: Int32Array.from(column(0)),
      file: Int32Array.from(column(1)),
      line: Uint32Array.from(column(2)),
      column: Uint32Array.from(column(3)),
      parent: Int32Array.from(column(4)),
    },
    functions: {
      name: functions.values.map(({ name }) => name),
      startLine: Uint32Array.from(functions.values.map(({ startLine }) => startLine)),
    },
    files: files.values,
  };
}

class Interner<T> {
  readonly values: T[] = [];
  readonly #indexes = new Map<string, number>();

  index(value: T): number {
    const key = JSON.stringify(value);
    const known = this.#indexes.get(key) ?? this.values.push(value) - 1;
    this.#indexes.set(key, known);
    return known;
  }
}

/** What a table says of a relative address, found by looking at every range. */
export function framesIn(table: RangeTable | SymbolRanges, address: number): TestFrame[] {
  let location = none;
  for (const [range, start] of table.starts.entries()) {
    if (start <= address) location = table.location[range] as number;
  }
  const frames: TestFrame[] = [];
  const { locations, functions, files } = table;
  for (let at = location; at !== none; at = locations.parent[at] as number) {
    const func = locations.function[at] as number;
    frames.push({
      name: func === none ? undefined : functions.name[func],
      startLine: func === none ? 0 : (functions.startLine[func] as number),
      file: files[locations.file[at] as number],
      line: locations.line[at] as number,
      column: locations.column[at] as number,
    });
  }
  return frames;
}

/** Every start and its neighbours. */
export function boundariesOf(tables: readonly Pick<RangeTable, 'starts'>[]): number[] {
  return tables.flatMap(({ starts }) => [...starts].flatMap((start) => [start - 1, start, start + 1]));
}

const text = fc.oneof(
  fc.constantFrom('main', 'operator new', '_ZN3foo3barEv', 'größe', '日本', '\u{1f600}', 'a\nb', ''),
  fc.string({ maxLength: 12 }).map((generated) => generated.toWellFormed()),
);
const line = fc.oneof(fc.nat(300), fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1));

const frame: fc.Arbitrary<TestFrame> = fc
  .record({
    name: fc.option(text, { nil: undefined }),
    startLine: line,
    file: fc.option(text, { nil: undefined }),
    line,
    column: line,
  })
  .map((made) => (made.name === undefined ? { ...made, startLine: 0 } : made));

/** Ascending ranges whose last one ends all; starts reach both ends of what a table may hold. */
export const testRanges: fc.Arbitrary<TestRange[]> = fc
  .tuple(
    fc.uniqueArray(
      fc.oneof(fc.integer({ min: -40, max: 400 }), fc.integer({ min: -(2 ** 52), max: 2 ** 52 - 1 })),
      { maxLength: 40 },
    ),
    fc.array(fc.array(frame, { maxLength: 4 }), { minLength: 40, maxLength: 40 }),
    fc.array(fc.nat(39), { minLength: 40, maxLength: 40 }),
  )
  .map(([starts, pool, picks]) => {
    const sorted = starts.sort((a, b) => a - b);
    return sorted.map((start, index) => {
      return {
        start,
        frames: index === sorted.length - 1 ? [] : (pool[picks[index] as number] as TestFrame[]),
      };
    });
  });
