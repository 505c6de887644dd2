// Finished tables as ranges again, and several of them as one: at each address what the first has that knows something of
// it. That is how files of different trust make up one table; what one file says in different ways is for `mergeRanges`.
import { basesOf, cover, emptySpans, joinColumns, joinLists, joinShifted } from './merge.ts';
import { none, type SymbolRanges } from './ranges.ts';
import type { SymbolTable } from './symbol-table.ts';
import {
  columnWord,
  type DecodedPage,
  fileWord,
  functionWord,
  lineWord,
  locationColumn,
  locationWords,
  parentWord,
} from './symbol-table-page.ts';

/** What a table and all of its pages say; writing it gives the same table. */
export function rangesOf(table: SymbolTable, pages: readonly DecodedPage[]): SymbolRanges {
  const locationBases = basesOf(pages.map(({ locations }) => locations.length / locationWords));
  const columnsOf = (word: number) => pages.map((page) => locationColumn(page, word));
  const functions = new Interned();
  const files = new Interned();
  const functionOf = pages.map(({ names, startLines }) =>
    Int32Array.from(names, (name, index) => functions.add(`${startLines[index]} ${name}`)),
  );
  const fileOf = pages.map((page) => Int32Array.from(page.files, (path) => files.add(path)));
  const keys = [...functions.texts];
  const source = new Uint8Array(locationBases.at(-1) as number);
  for (const [index, page] of pages.entries()) source.set(page.source, locationBases[index]);
  return {
    imageBase: table.imageBase,
    starts: joinStarts(pages.map(({ starts }) => starts)),
    location: joinShifted(
      pages.map(({ location }) => location),
      locationBases,
    ),
    sources: table.sources.map((one) => one.source),
    locations: {
      function: joinMapped(columnsOf(functionWord), functionOf),
      file: joinMapped(columnsOf(fileWord), fileOf),
      line: joinColumns(columnsOf(lineWord).map(unsigned)),
      column: joinColumns(columnsOf(columnWord).map(unsigned)),
      parent: joinShifted(columnsOf(parentWord), locationBases),
      source,
    },
    functions: {
      name: keys.map((key) => key.slice(key.indexOf(' ') + 1)),
      startLine: Uint32Array.from(keys, (key) => Number(key.slice(0, key.indexOf(' ')))),
    },
    files: files.texts,
  };
}

/** One set of ranges, the best first. Throws RangeError when they do not count from the same image base. */
export function fillRanges(parts: readonly SymbolRanges[]): SymbolRanges {
  const [first] = parts;
  if (first === undefined) throw new RangeError('nothing to fill from');
  if (parts.some(({ imageBase }) => imageBase !== first.imageBase))
    throw new RangeError('tables of different images');
  const columns = parts.map(({ locations }) => locations);
  const locationBases = basesOf(columns.map(({ parent }) => parent.length));
  const functionBases = basesOf(parts.map(({ functions }) => functions.name.length));
  const fileBases = basesOf(parts.map(({ files }) => files.length));
  const sources = [...new Set(parts.flatMap((part) => part.sources))];
  const source = new Uint8Array(locationBases.at(-1) as number);
  for (const [index, part] of parts.entries()) {
    const renumbered = part.sources.map((one) => sources.indexOf(one));
    source.set(
      part.locations.source.map((at) => renumbered[at] ?? 0),
      locationBases[index],
    );
  }
  const spans = parts
    .map(({ starts, location }, index) => {
      return { starts, location: joinShifted([location], [locationBases[index] as number]) };
    })
    .reduce(cover, emptySpans);
  return {
    imageBase: first.imageBase,
    ...spans,
    sources,
    locations: {
      parent: joinShifted(
        columns.map(({ parent }) => parent),
        locationBases,
      ),
      function: joinShifted(
        columns.map((column) => column.function),
        functionBases,
      ),
      file: joinShifted(
        columns.map(({ file }) => file),
        fileBases,
      ),
      line: joinColumns(columns.map(({ line }) => line)),
      column: joinColumns(columns.map(({ column }) => column)),
      source,
    },
    functions: {
      name: joinLists(parts.map(({ functions }) => functions.name)),
      startLine: joinColumns(parts.map(({ functions }) => functions.startLine)),
    },
    files: joinLists(parts.map(({ files }) => files)),
  };
}

function unsigned({ buffer }: Int32Array): Uint32Array {
  return new Uint32Array(buffer);
}

/** Texts by first use. */
class Interned {
  readonly texts: string[] = [];
  readonly #index = new Map<string, number>();

  add(text: string): number {
    const known = this.#index.get(text);
    if (known !== undefined) return known;
    const index = this.texts.push(text) - 1;
    this.#index.set(text, index);
    return index;
  }
}

function joinStarts(columns: readonly Float64Array[]): Float64Array {
  const joined = new Float64Array(columns.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const column of columns) {
    joined.set(column, at);
    at += column.length;
  }
  return joined;
}

/** Joins columns of page indexes, each through what its page's indexes stand for. */
function joinMapped(columns: readonly Int32Array[], meaning: readonly Int32Array[]): Int32Array {
  const joined = new Int32Array(columns.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const [page, column] of columns.entries()) {
    const map = meaning[page] as Int32Array;
    for (let index = 0; index < column.length; index++) {
      const value = column[index] as number;
      joined[at++] = value === none ? none : (map[value] as number);
    }
  }
  return joined;
}
