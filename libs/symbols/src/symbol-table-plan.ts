// What a writer of symbol tables must know before its first page: where pages begin, and which strings many of them share.
import { none, type SymbolRanges } from './ranges.ts';
import { pageContentBytesMax, type SharedStrings, stringBytesMax } from './symbol-table-page.ts';
import { SymbolsError } from './symbols-error.ts';

/** Relative addresses, and the difference of any two, stay exact in a double. */
export const relativeAddressMax = 2 ** 52;

/** A string in fewer pages costs more in the header, which every process keeps, than it saves. */
const sharedPagesMin = 4;
/** What a header may hold of strings. Those of libjvm are 0.5 MB and shrink its table from 10.4 to 7.3 MB. */
const sharedStringBytesMax = 1_048_576;
/** More than the columns of one location, function or file, or range can take in a page, text apart. */
const locationBytesMax = 28;
const entryBytesMax = 12;
const rangeBytesMax = 16;

export interface PagePlan {
  /** The ranges to write: as given, but for frames that no page could hold. */
  readonly ranges: SymbolRanges;
  /** First range of each page, and the count of all. */
  readonly bounds: readonly number[];
  /** Distinct functions that occur. */
  readonly functions: number;
  /** By source of `ranges`: ranges of which something is known. */
  readonly sourceRanges: readonly number[];
  /** The names of functions and the paths, each once. */
  readonly texts: readonly string[];
  /** By text: in how many pages it occurs. */
  readonly textPages: Uint32Array;
  /** By function, and by file: its text. */
  readonly nameTexts: Int32Array;
  readonly pathTexts: Int32Array;
}

/** Throws `malformed` for ranges that do not ascend, `limit` for addresses beyond `relativeAddressMax`. */
export function planPages(ranges: SymbolRanges, rangesMax: number): PagePlan {
  checkStarts(ranges.starts);
  const planner = new Planner(ranges, rangesMax);
  for (let range = 0; range < ranges.starts.length; range++) planner.add(range);
  return planner.plan();
}

function checkStarts(starts: Float64Array): void {
  for (let range = 0; range < starts.length; range++) {
    const start = starts[range] as number;
    if (!(Math.abs(start) <= relativeAddressMax)) {
      throw new SymbolsError('limit', `range ${range}`, `starts at ${start} from the image base`);
    }
    if (range > 0 && start <= (starts[range - 1] as number)) {
      throw new SymbolsError('malformed', `range ${range}`, 'does not start after the one before');
    }
  }
}

class Planner {
  readonly #ranges: SymbolRanges;
  readonly #rangesMax: number;
  readonly #location: Int32Array;
  readonly #locationPage: Int32Array;
  readonly #functionPage: Int32Array;
  readonly #filePage: Int32Array;
  // Several functions may have one name, which counts once a page.
  readonly #texts = new Texts();
  readonly #nameTexts: Int32Array;
  readonly #pathTexts: Int32Array;
  readonly #textPage: Int32Array;
  readonly #textPages: Uint32Array;
  readonly #bounds = [0];
  readonly #sourceRanges: number[];
  #functions = 0;
  #contentBytes = 0;

  constructor(ranges: SymbolRanges, rangesMax: number) {
    this.#ranges = ranges;
    this.#rangesMax = rangesMax;
    this.#location = ranges.location.slice();
    this.#locationPage = new Int32Array(ranges.locations.function.length).fill(none);
    this.#functionPage = new Int32Array(ranges.functions.name.length).fill(none);
    this.#filePage = new Int32Array(ranges.files.length).fill(none);
    this.#nameTexts = Int32Array.from(ranges.functions.name, (name) => this.#texts.add(name));
    this.#pathTexts = Int32Array.from(ranges.files, (path) => this.#texts.add(path));
    this.#textPage = new Int32Array(this.#texts.list.length).fill(none);
    this.#textPages = new Uint32Array(this.#texts.list.length);
    this.#sourceRanges = ranges.sources.map(() => 0);
  }

  add(range: number): void {
    let location = this.#location[range] as number;
    if (range - (this.#bounds.at(-1) as number) === this.#rangesMax) this.#startPage(range);
    let bytes = this.#bytesWith(location);
    if (bytes > pageContentBytesMax && this.#contentBytes > 0) {
      this.#startPage(range);
      bytes = this.#bytesWith(location);
    }
    if (bytes > pageContentBytesMax) {
      // Not even an empty page holds these frames: what is left is the function that the code was inlined into.
      location = this.#outermost(location);
      bytes = this.#bytesWith(location);
    }
    this.#location[range] = location;
    this.#contentBytes = bytes;
    if (location !== none) this.#take(location);
  }

  #startPage(range: number): void {
    this.#bounds.push(range);
    this.#contentBytes = 0;
  }

  plan(): PagePlan {
    const ranges = this.#ranges;
    if (ranges.starts.length > 0) this.#bounds.push(ranges.starts.length);
    return {
      ranges: withUsedSources({ ...ranges, location: this.#location }, this.#sourceRanges),
      bounds: this.#bounds,
      functions: this.#functions,
      sourceRanges: this.#sourceRanges.filter((count) => count > 0),
      texts: this.#texts.list,
      textPages: this.#textPages,
      nameTexts: this.#nameTexts,
      pathTexts: this.#pathTexts,
    };
  }

  get #page(): number {
    return this.#bounds.length - 1;
  }

  /** At most how long the page's content becomes with one more range at `location`. */
  #bytesWith(location: number): number {
    const { parent, function: func, file } = this.#ranges.locations;
    let bytes = this.#contentBytes + rangeBytesMax;
    for (let at = location; at !== none && this.#locationPage[at] !== this.#page; at = parent[at] as number) {
      bytes += locationBytesMax + this.#nameBytes(func[at] as number) + this.#pathBytes(file[at] as number);
      if (bytes > pageContentBytesMax) break;
    }
    return bytes;
  }

  #nameBytes(func: number): number {
    if (func === none || this.#functionPage[func] === this.#page) return 0;
    return entryBytesOf(this.#ranges.functions.name[func] as string);
  }

  #pathBytes(file: number): number {
    if (file === none || this.#filePage[file] === this.#page) return 0;
    return entryBytesOf(this.#ranges.files[file] as string);
  }

  #outermost(location: number): number {
    const { parent } = this.#ranges.locations;
    let at = location;
    while ((parent[at] as number) !== none) at = parent[at] as number;
    return at;
  }

  #take(location: number): void {
    const { parent, function: func, file, source } = this.#ranges.locations;
    this.#sourceRanges[source[location] as number]!++;
    for (let at = location; at !== none && this.#locationPage[at] !== this.#page; at = parent[at] as number) {
      this.#locationPage[at] = this.#page;
      this.#takeFunction(func[at] as number);
      this.#takeFile(file[at] as number);
    }
  }

  #takeFunction(func: number): void {
    if (func === none || this.#functionPage[func] === this.#page) return;
    if (this.#functionPage[func] === none) this.#functions++;
    this.#functionPage[func] = this.#page;
    this.#takeText(this.#nameTexts[func] as number);
  }

  #takeFile(file: number): void {
    if (file === none || this.#filePage[file] === this.#page) return;
    this.#filePage[file] = this.#page;
    this.#takeText(this.#pathTexts[file] as number);
  }

  #takeText(text: number): void {
    if (this.#textPage[text] === this.#page) return;
    this.#textPage[text] = this.#page;
    this.#textPages[text]!++;
  }
}

class Texts {
  readonly list: string[] = [];
  readonly #known = new Map<string, number>();

  add(text: string): number {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const index = this.list.push(text) - 1;
    this.#known.set(text, index);
    return index;
  }
}

/** Without the sources that others cover everywhere. */
function withUsedSources(ranges: SymbolRanges, counts: readonly number[]): SymbolRanges {
  if (counts.every((count) => count > 0)) return ranges;
  const sources = ranges.sources.filter((_, index) => (counts[index] as number) > 0);
  const renumbered = ranges.sources.map((source) => Math.max(0, sources.indexOf(source)));
  const source = ranges.locations.source.map((index) => renumbered[index] as number);
  return { ...ranges, sources, locations: { ...ranges.locations, source } };
}

/** Of a function or file, without encoding its text: a UTF-16 unit takes at most three bytes of UTF-8. */
function entryBytesOf(text: string): number {
  return entryBytesMax + Math.min(3 * text.length, stringBytesMax);
}

/** Chooses the strings that go into the header: those that save most, up to `sharedStringBytesMax`. */
export function shareStrings({ texts, textPages, nameTexts, pathTexts }: PagePlan): SharedStrings {
  const candidates: { readonly text: number; readonly string: string; readonly saved: number }[] = [];
  for (const [text, string] of texts.entries()) {
    const pages = textPages[text] as number;
    if (pages < sharedPagesMin || string.length > stringBytesMax / 3) continue;
    candidates.push({ text, string, saved: (pages - 1) * string.length });
  }
  candidates.sort((a, b) => b.saved - a.saved || compareText(a.string, b.string));
  let count = 0;
  for (let bytes = 0; count < candidates.length; count++) {
    bytes += Buffer.byteLength((candidates[count] as { string: string }).string);
    if (bytes > sharedStringBytesMax) break;
  }
  // Neighbours that begin alike compress best.
  const chosen = candidates.slice(0, count).sort((a, b) => compareText(a.string, b.string));
  const indexes = new Int32Array(texts.length).fill(none);
  for (const [index, { text }] of chosen.entries()) indexes[text] = index;
  return {
    strings: chosen.map(({ string }) => string),
    nameIndex: nameTexts.map((text) => indexes[text] as number),
    pathIndex: pathTexts.map((text) => indexes[text] as number),
  };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
