// The content of one page of a symbol table, writer and reader: a run of ranges with a dictionary of its own (locations,
// functions, files, strings), column by column, since equal things side by side compress best. Layout: docs/formats.md.
//
// Each column says how a value differs from the one that its neighbours suggest: a location has mostly the parent of the
// one before it, the function last called from that parent, the file last seen in that function, and a line near by.
import { ByteReader, ByteWriter } from './byte-cursor.ts';
import { none, type SymbolRanges } from './ranges.ts';
import { Expectations } from './symbol-table-expectations.ts';

/**
 * Ranges of a page at most. Twice as many make a table 11 % smaller and a cold lookup 1.6 times as slow; half as many
 * make it 20 % larger (libjvm; docs/formats.md has the measurements).
 */
export const pageRangesMax = 512;
/** A page of 512 ranges has 6 KB on average; only a hostile or generated file comes near. Bounds what inflating makes. */
export const pageContentBytesMax = 1_048_576;
/** Longer names are cut. Two of them and a location always fit a page. */
export const stringBytesMax = 65_535;

/** A decoded page's objects and typed-array headers; measured. */
const pageObjectBytes = 2_048;
/**
 * How a range's location is written: not at all, the next location of the page, or, odd, twice the distance back from the
 * newest one so far. Even: the last of several next ones, which are it and the frames it is inlined into.
 */
const rangeCode = { unknown: 0, newOne: 1, back: 3 } as const;
/** How a location's parent is written. From `parentBack` on: the distance back to it. */
const parentCode = { asBefore: 0, before: 1, none: 2, back: 2 } as const;
/** How its function and its file are written. From `back` on: the distance back from the newest one. */
const entryCode = { asExpected: 0, none: 1, new: 2, back: 3 } as const;

/**
 * Strings that many pages share have an index in the table's header, 1 more than which a page names them by; the others
 * stand in the page, and are 0.
 */
export interface SharedStrings {
  readonly strings: readonly string[];
  /** By function, and by file: the index of its string, `none` if that is not shared. */
  readonly nameIndex: Int32Array;
  readonly pathIndex: Int32Array;
}

/** Words of a location in `DecodedPage.locations`, and the place of each in it. Line and column are unsigned. */
export const locationWords = 5;
export const parentWord = 0;
export const functionWord = 1;
export const fileWord = 2;
export const lineWord = 3;
export const columnWord = 4;

/** One page, ready for lookups. Indexes point into the page's own columns. */
export interface DecodedPage {
  /** Relative to the image base, ascending. */
  readonly starts: Float64Array;
  /** Index of a location, `none`: nothing is known from this start on. */
  readonly location: Int32Array;
  /** `locationWords` for each location: in columns, each frame of a lookup would touch five places of memory. */
  readonly locations: Int32Array;
  /** By location: index into the table's sources. */
  readonly source: Uint8Array;
  readonly names: readonly string[];
  readonly startLines: Uint32Array;
  readonly files: readonly string[];
  /** Upper bound of the memory it holds, bytes. */
  readonly weight: number;
}

/** Writes pages of one set of ranges; the scratch columns are as long as the whole and reused by each page. */
export class PageWriter {
  readonly #ranges: SymbolRanges;
  readonly #shared: SharedStrings;
  readonly #pageLocation: Int32Array;
  readonly #functions: Dictionary;
  readonly #files: Dictionary;
  readonly #locations: number[] = [];
  readonly #columns = {
    starts: new ByteWriter(),
    location: new ByteWriter(),
    parent: new ByteWriter(),
    function: new ByteWriter(),
    file: new ByteWriter(),
    line: new ByteWriter(),
    column: new ByteWriter(),
    source: new ByteWriter(),
    name: new ByteWriter(),
    startLine: new ByteWriter(),
    path: new ByteWriter(),
    nameLength: new ByteWriter(),
    pathLength: new ByteWriter(),
    nameText: new ByteWriter(),
    pathText: new ByteWriter(),
  };
  readonly #expected = new Expectations();
  #sourceRun = { source: none, length: 0 };

  constructor(ranges: SymbolRanges, shared: SharedStrings) {
    this.#ranges = ranges;
    this.#shared = shared;
    this.#pageLocation = new Int32Array(ranges.locations.function.length).fill(none);
    this.#functions = new Dictionary(ranges.functions.name.length);
    this.#files = new Dictionary(ranges.files.length);
  }

  /** The page of ranges `first` up to `end`, to be compressed. */
  write(first: number, end: number): Buffer {
    const { starts, location } = this.#columns;
    let before = this.#ranges.starts[first] as number;
    for (let range = first; range < end; range++) {
      const start = this.#ranges.starts[range] as number;
      starts.varint(start - before);
      before = start;
      location.varint(this.#rangeCode(this.#ranges.location[range] as number));
    }
    this.#endSourceRun();
    const content = this.#content(end - first);
    this.#reset();
    return content;
  }

  #rangeCode(location: number): number {
    if (location === none) return rangeCode.unknown;
    const known = this.#pageLocation[location] as number;
    if (known !== none) return rangeCode.back + 2 * (this.#locations.length - 1 - known);
    const before = this.#locations.length;
    this.#addChain(location);
    const added = this.#locations.length - before;
    return added === 1 ? rangeCode.newOne : 2 * (added - 1);
  }

  #addChain(location: number): void {
    const { parent } = this.#ranges.locations;
    const missing: number[] = [];
    for (let at = location; at !== none && this.#pageLocation[at] === none; at = parent[at] as number) {
      missing.push(at);
    }
    for (let at = missing.pop(); at !== undefined; at = missing.pop()) this.#addLocation(at);
  }

  #addLocation(location: number): void {
    const { locations } = this.#ranges;
    const columns = this.#columns;
    const expected = this.#expected;
    const index = this.#locations.push(location) - 1;
    this.#pageLocation[location] = index;
    const outer = locations.parent[location] as number;
    const parent = outer === none ? none : (this.#pageLocation[outer] as number);
    columns.parent.varint(parentCodeOf(index, parent, expected.parent));
    const func = this.#functionCode(locations.function[location] as number, expected.functionIn(parent));
    const file = this.#fileCode(locations.file[location] as number, expected.fileOf(func));
    const line = locations.line[location] as number;
    columns.line.zigzag(line - expected.lineOf(func));
    columns.column.varint(locations.column[location] as number);
    this.#addSource(locations.source[location] as number);
    expected.note(parent, func, file, line);
  }

  #functionCode(wanted: number, expected: number): number {
    const { functions } = this.#ranges;
    const code = this.#functions.code(wanted, expected);
    this.#columns.function.varint(code);
    if (code === entryCode.new) {
      const { name, nameLength, nameText } = this.#columns;
      const shared = this.#shared.nameIndex[wanted] as number;
      name.varint(shared + 1);
      if (shared === none) addText(functions.name[wanted] as string, nameLength, nameText);
      const startLine = functions.startLine[wanted] as number;
      this.#columns.startLine.varint(startLine);
      this.#expected.addFunction(startLine);
    }
    return this.#functions.pageIndex(wanted);
  }

  #fileCode(wanted: number, expected: number): number {
    const code = this.#files.code(wanted, expected);
    this.#columns.file.varint(code);
    if (code === entryCode.new) {
      const { path, pathLength, pathText } = this.#columns;
      const shared = this.#shared.pathIndex[wanted] as number;
      path.varint(shared + 1);
      if (shared === none) addText(this.#ranges.files[wanted] as string, pathLength, pathText);
    }
    return this.#files.pageIndex(wanted);
  }

  #addSource(source: number): void {
    if (source === this.#sourceRun.source) this.#sourceRun.length++;
    else {
      this.#endSourceRun();
      this.#sourceRun = { source, length: 1 };
    }
  }

  #endSourceRun(): void {
    const { source, length } = this.#sourceRun;
    if (length > 0) this.#columns.source.varint(length);
    if (length > 0) this.#columns.source.varint(source);
    this.#sourceRun = { source: none, length: 0 };
  }

  #content(ranges: number): Buffer {
    const head = new ByteWriter();
    for (const count of [ranges, this.#locations.length, this.#functions.size, this.#files.size]) {
      head.varint(count);
    }
    return Buffer.concat([head.bytes, ...Object.values(this.#columns).map(({ bytes }) => bytes)]);
  }

  #reset(): void {
    for (const location of this.#locations) this.#pageLocation[location] = none;
    this.#locations.length = 0;
    this.#functions.clear();
    this.#files.clear();
    this.#expected.clear();
    for (const column of Object.values(this.#columns)) column.clear();
  }
}

/** The functions or files of the page that is being written, numbered by first use. */
class Dictionary {
  readonly #pageIndexes: Int32Array;
  readonly #entries: number[] = [];

  constructor(entries: number) {
    this.#pageIndexes = new Int32Array(entries).fill(none);
  }

  get size(): number {
    return this.#entries.length;
  }

  pageIndex(entry: number): number {
    return entry === none ? none : (this.#pageIndexes[entry] as number);
  }

  /** How `entry` is written, where the page index `expected` would come for free. Takes in what is new. */
  code(entry: number, expected: number): number {
    if (entry === none) return expected === none ? entryCode.asExpected : entryCode.none;
    const known = this.#pageIndexes[entry] as number;
    if (known === none) {
      this.#pageIndexes[entry] = this.#entries.push(entry) - 1;
      return entryCode.new;
    }
    return known === expected ? entryCode.asExpected : entryCode.back + (this.#entries.length - 1 - known);
  }

  clear(): void {
    for (const entry of this.#entries) this.#pageIndexes[entry] = none;
    this.#entries.length = 0;
  }
}

function addText(string: string, lengths: ByteWriter, text: ByteWriter): void {
  const bytes = stringBytes(string);
  lengths.varint(bytes.length);
  text.put(bytes);
}

function parentCodeOf(index: number, parent: number, expected: number): number {
  if (parent === expected) return parentCode.asBefore;
  if (parent === none) return parentCode.none;
  return parent === index - 1 ? parentCode.before : parentCode.back + (index - parent);
}

/** The UTF-8 bytes of a string, cut to `stringBytesMax` between characters. */
export function stringBytes(string: string): Buffer {
  const bytes = Buffer.from(string);
  if (bytes.length <= stringBytesMax) return bytes;
  let end = stringBytesMax;
  while (((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** The strings of a header, by index; undefined past the last one. */
interface SharedTable {
  readonly length: number;
  at(index: number): string | undefined;
}

/** What a page needs to know of its table. */
export interface PageContext {
  /** Relative address at which the page starts. */
  readonly start: number;
  readonly sources: number;
  readonly shared: SharedTable;
  /** Names the page in errors. */
  readonly what: string;
}

/** Throws `truncated` or `malformed`. */
export function readPage(content: Uint8Array, context: PageContext): DecodedPage {
  const reader = new ByteReader(content, context.what);
  const ranges = reader.count(2);
  const locations = reader.count(5);
  const functions = reader.count(2);
  const files = reader.count(1);
  const starts = readStarts(reader, ranges, context.start);
  const location = readRangeLocations(reader, ranges, locations);
  const parent = readParents(reader, locations);
  const functionCodes = readColumn(reader, locations);
  const fileCodes = readColumn(reader, locations);
  const lineDeltas = readLineDeltas(reader, locations);
  const column = readColumn(reader, locations);
  const source = readSources(reader, locations, context.sources);
  const nameCodes = readColumn(reader, functions);
  const startLines = readColumn(reader, functions);
  const { bytes, ...strings } = readStrings(reader, nameCodes, readColumn(reader, files), context.shared);
  const codes = { parent, function: functionCodes, file: fileCodes, lineDeltas, column, startLines, files };
  // Text in JavaScript takes up to two bytes for one here, and some 40 for each string with its slot.
  const weight = pageObjectBytes + 12 * ranges + 21 * locations + 44 * functions + 40 * files + 2 * bytes;
  return {
    ...{ starts, location, locations: resolveLocations(reader, codes), source },
    ...{ names: strings.names, startLines, files: strings.files, weight },
  };
}

/** One word of each location, as a column. */
export function locationColumn({ locations }: DecodedPage, word: number): Int32Array {
  return Int32Array.from(
    { length: locations.length / locationWords },
    (_, index) => locations[index * locationWords + word] as number,
  );
}

function readStarts(reader: ByteReader, count: number, first: number): Float64Array {
  const starts = new Float64Array(count);
  let start = first;
  for (let range = 0; range < count; range++) {
    const delta = reader.varint();
    if ((delta === 0) !== (range === 0)) reader.fail('ranges that do not ascend');
    start += delta;
    starts[range] = start;
  }
  return starts;
}

function readRangeLocations(reader: ByteReader, count: number, locations: number): Int32Array {
  const location = new Int32Array(count);
  let newest = none;
  for (let range = 0; range < count; range++) {
    const code = reader.varint();
    let at = none;
    if (code === rangeCode.newOne) at = ++newest;
    else if (code % 2 === 1) at = newest - (code - rangeCode.back) / 2;
    else if (code !== rangeCode.unknown) at = newest += code / 2 + 1;
    if (newest >= locations || at < 0 !== (code === rangeCode.unknown)) reader.fail(`range code ${code}`);
    location[range] = at;
  }
  if (newest !== locations - 1) reader.fail(`${locations} locations, ranges for ${newest + 1}`);
  return location;
}

function readParents(reader: ByteReader, count: number): Int32Array {
  const parents = new Int32Array(count);
  let parent: number = none;
  for (let index = 0; index < count; index++) {
    const code = reader.varint();
    if (code === parentCode.before) parent = index - 1;
    else if (code === parentCode.none) parent = none;
    else if (code !== parentCode.asBefore) {
      parent = index - (code - parentCode.back);
      if (parent < 0) reader.fail(`parent code ${code} at location ${index}`);
    }
    parents[index] = parent;
  }
  return parents;
}

function readColumn(reader: ByteReader, count: number): Uint32Array {
  const column = new Uint32Array(count);
  for (let index = 0; index < count; index++) {
    const value = reader.varint();
    if (value > 0xffff_ffff) reader.fail(`${value} in a column of 32 bits`);
    column[index] = value;
  }
  return column;
}

function readLineDeltas(reader: ByteReader, count: number): Float64Array {
  const deltas = new Float64Array(count);
  for (let index = 0; index < count; index++) deltas[index] = reader.zigzag();
  return deltas;
}

function readSources(reader: ByteReader, locations: number, sources: number): Uint8Array {
  const column = new Uint8Array(locations);
  for (let index = 0; index < locations; ) {
    const length = reader.varint();
    const source = reader.varint();
    if (length === 0 || length > locations - index || source >= sources) reader.fail('a bad run of sources');
    column.fill(source, index, index + length);
    index += length;
  }
  return column;
}

interface Strings {
  readonly names: string[];
  readonly files: string[];
  /** Of the page's own text, as it is stored. */
  readonly bytes: number;
}

function readStrings(
  reader: ByteReader,
  names: Uint32Array,
  files: Uint32Array,
  shared: SharedTable,
): Strings {
  const own = countZeros(names) + countZeros(files);
  const lengths = readColumn(reader, own);
  const bytes = reader.left;
  let next = 0;
  const read = (code: number): string => {
    if (code === 0) return reader.text(lengths[next++] as number);
    return shared.at(code - 1) ?? reader.fail(`shared string ${code - 1} of ${shared.length}`);
  };
  const inOrder = (codes: Uint32Array) => Array.from(codes, read);
  const strings = { names: inOrder(names), files: inOrder(files), bytes };
  if (reader.left !== 0) reader.fail(`${reader.left} bytes past the end`);
  return strings;
}

function countZeros(column: Uint32Array): number {
  let zeros = 0;
  for (const value of column) if (value === 0) zeros++;
  return zeros;
}

interface LocationCodes {
  readonly parent: Int32Array;
  readonly function: Uint32Array;
  readonly file: Uint32Array;
  readonly lineDeltas: Float64Array;
  readonly column: Uint32Array;
  readonly startLines: Uint32Array;
  readonly files: number;
}

/** Turns what each location says of its function, file and line into the values themselves. */
function resolveLocations(reader: ByteReader, codes: LocationCodes): Int32Array {
  const count = codes.parent.length;
  const locations = new Int32Array(count * locationWords);
  const functions = new DictionaryReader(reader, codes.startLines.length);
  const files = new DictionaryReader(reader, codes.files);
  const expected = new Expectations();
  for (let index = 0; index < count; index++) {
    const parent = codes.parent[index] as number;
    const functionCode = codes.function[index] as number;
    const func = functions.resolve(functionCode, expected.functionIn(parent));
    if (functionCode === entryCode.new) expected.addFunction(codes.startLines[func] as number);
    const file = files.resolve(codes.file[index] as number, expected.fileOf(func));
    const line = expected.lineOf(func) + (codes.lineDeltas[index] as number);
    if (line < 0 || line > 0xffff_ffff) reader.fail(`line ${line}`);
    expected.note(parent, func, file, line);
    const at = index * locationWords;
    locations[at + parentWord] = parent;
    locations[at + functionWord] = func;
    locations[at + fileWord] = file;
    locations[at + lineWord] = line;
    locations[at + columnWord] = codes.column[index] as number;
  }
  return locations;
}

class DictionaryReader {
  readonly #reader: ByteReader;
  readonly #size: number;
  #newest = none;

  constructor(reader: ByteReader, size: number) {
    this.#reader = reader;
    this.#size = size;
  }

  resolve(code: number, expected: number): number {
    if (code === entryCode.asExpected) return expected;
    if (code === entryCode.none) return none;
    if (code === entryCode.new && ++this.#newest < this.#size) return this.#newest;
    const index = this.#newest - (code - entryCode.back);
    if (code === entryCode.new || index < 0)
      this.#reader.fail(`code ${code} in a dictionary of ${this.#size}`);
    return index;
  }
}
