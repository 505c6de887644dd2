// A symbol table as it is stored: a header with the page index, kept in memory, and pages, of which one lookup reads one.
// Writer and reader; the content of a page is in symbol-table-page.ts, the layout in docs/formats.md.
import { createHash } from 'node:crypto';
import { endianness } from 'node:os';
import { crc32 } from 'node:zlib';
import { type Frame, type Quality, qualities } from '@symkeep/protocol';
import { ByteReader, ByteWriter } from './byte-cursor.ts';
import { CompressionThread } from './compression-thread.ts';
import { none, type Source, type SymbolRanges } from './ranges.ts';
import { compress, decompress } from './symbol-table-compression.ts';
import {
  columnWord,
  type DecodedPage,
  fileWord,
  functionWord,
  lineWord,
  locationWords,
  PageWriter,
  pageContentBytesMax,
  pageRangesMax,
  parentWord,
  readPage,
  type SharedStrings,
} from './symbol-table-page.ts';
import { type PagePlan, planPages, relativeAddressMax, shareStrings } from './symbol-table-plan.ts';
import { SymbolsError } from './symbols-error.ts';

/** Part of every key and job ID under which tables are stored. 1: the first. */
export const symbolTableVersion = 1;
/** Suffices to read how long the header is. */
export const headerPrefixBytes = 16;
/** An index of two million pages, a billion ranges; bounds what inflating a header makes. */
export const headerContentBytesMax = 33_554_432;
const magic = 'SKST';

export interface WrittenTable {
  /** Header and page index, one value. The file form is the header and then all pages. */
  readonly header: Buffer;
  readonly pages: readonly Buffer[];
  /** SHA-256 of the file form, hex. Extracting the same file again gives the same one. */
  readonly digest: string;
}

/** A table that was opened: all but its pages. */
export interface SymbolTable {
  /** Unsigned 64 bit; all other addresses are relative to it, as signed 64-bit differences. */
  readonly imageBase: bigint;
  /** Ranges of which something is known. */
  readonly ranges: number;
  /** Distinct functions. */
  readonly functions: number;
  /** The sources that went into it, and how many ranges each has. */
  readonly sources: readonly { readonly source: Source; readonly ranges: number }[];
  /** `dwarf` if only some of it is; `none` for an empty table. */
  readonly quality: Quality;
  readonly pageCount: number;
  /** Relative address at which each page starts. */
  readonly pageStarts: Float64Array;
  /** Where each page is in the file form, and where the last one ends. */
  readonly pageOffsets: Float64Array;
  readonly pageChecksums: Uint32Array;
  readonly sharedStrings: SharedTexts;
  /** Upper bound of the memory it holds, bytes. */
  readonly weight: number;
}

/** `rangesMax`: of a page, for measuring; readers refuse more than `pageRangesMax`. Throws `limit` for ranges too far apart. */
export function writeSymbolTable(ranges: SymbolRanges, rangesMax: number = pageRangesMax): WrittenTable {
  const draft = draftOf(ranges, rangesMax);
  return tableOf(draft, Array.from(contentsOf(draft), compress));
}

/** The same, with pages compressed in another thread while this one makes the next: a third less time for big tables. */
export async function writeSymbolTableThreaded(ranges: SymbolRanges): Promise<WrittenTable> {
  const thread = new CompressionThread();
  try {
    const draft = draftOf(ranges, pageRangesMax);
    for (const content of contentsOf(draft)) thread.add(content);
    return tableOf(draft, await thread.finish());
  } finally {
    await thread.stop();
  }
}

interface Draft {
  readonly plan: PagePlan;
  readonly shared: SharedStrings;
}

function draftOf(ranges: SymbolRanges, rangesMax: number): Draft {
  const plan = planPages(ranges, rangesMax);
  return { plan, shared: shareStrings(plan) };
}

function* contentsOf({ plan, shared }: Draft): Iterable<Buffer> {
  const writer = new PageWriter(plan.ranges, shared);
  for (let page = 0; page + 1 < plan.bounds.length; page++) {
    yield writer.write(plan.bounds[page] as number, plan.bounds[page + 1] as number);
  }
}

function tableOf({ plan, shared }: Draft, pages: readonly Buffer[]): WrittenTable {
  const header = writeHeader(plan, shared, pages);
  const hash = createHash('sha256').update(header);
  for (const page of pages) hash.update(page);
  return { header, pages, digest: hash.digest('hex') };
}

function writeHeader(plan: PagePlan, shared: SharedStrings, pages: readonly Buffer[]): Buffer {
  const content = new ByteWriter();
  content.u64(BigInt.asUintN(64, plan.ranges.imageBase));
  content.varint(plan.functions);
  content.varint(plan.ranges.sources.length);
  for (const [index, source] of plan.ranges.sources.entries()) {
    content.varint(qualities.indexOf(source));
    content.varint(plan.sourceRanges[index] as number);
  }
  content.varint(pages.length);
  let before = 0;
  for (let page = 0; page < pages.length; page++) {
    const start = plan.ranges.starts[plan.bounds[page] as number] as number;
    content.zigzag(start - before);
    before = start;
  }
  for (const page of pages) content.varint(page.length);
  for (const page of pages) content.u32(crc32(page));
  content.varint(shared.strings.length);
  const texts = shared.strings.map((string) => Buffer.from(string, 'utf8'));
  for (const text of texts) content.varint(text.length);
  for (const text of texts) content.put(text);
  return frameHeader(compress(content.bytes));
}

function frameHeader(content: Uint8Array): Buffer {
  const header = new ByteWriter();
  header.put(Buffer.from(magic, 'latin1'));
  header.u16(symbolTableVersion);
  header.u16(0);
  header.u32(headerPrefixBytes + content.length);
  header.u32(crc32(content));
  header.put(content);
  return header.bytes;
}

/** Bytes of the header, from its first `headerPrefixBytes`. Throws `truncated`, `malformed` or `unsupported`. */
export function headerLengthOf(prefix: Uint8Array): number {
  const what = 'symbol table header';
  const reader = new ByteReader(prefix, what);
  if (reader.take(4).toString('latin1') !== magic) throw new SymbolsError('malformed', what, 'no magic');
  const version = reader.take(2).readUInt16LE(0);
  if (version !== symbolTableVersion) throw new SymbolsError('unsupported', what, `version ${version}`);
  if (reader.take(2).readUInt16LE(0) !== 0) throw new SymbolsError('unsupported', what, 'unknown flags');
  const length = reader.u32();
  return length >= headerPrefixBytes ? length : reader.fail(`a length of ${length}`);
}

/**
 * Reads a header; bytes after it (of the file form) are ignored. Throws `truncated`, `malformed`, `unsupported` or
 * `corrupt`.
 */
export function openSymbolTable(bytes: Uint8Array): SymbolTable {
  const what = 'symbol table header';
  const length = headerLengthOf(bytes);
  const prefix = new ByteReader(bytes, what);
  prefix.at = headerPrefixBytes - 4;
  const checksum = prefix.u32();
  const stored = prefix.take(length - headerPrefixBytes);
  if (crc32(stored) !== checksum) throw new SymbolsError('corrupt', what, 'another checksum');
  return readHeader(new ByteReader(decompress(stored, headerContentBytesMax, what), what), length);
}

function readHeader(reader: ByteReader, length: number): SymbolTable {
  const imageBase = reader.u64();
  const functions = reader.varint();
  const sources = Array.from({ length: reader.count(2) }, () => readSource(reader));
  const pageCount = reader.count(6);
  const pageStarts = readPageStarts(reader, pageCount);
  const pageOffsets = new Float64Array(pageCount + 1).fill(length);
  for (let page = 0; page < pageCount; page++) {
    pageOffsets[page + 1] = (pageOffsets[page] as number) + reader.varint();
  }
  const pageChecksums = littleEndianWords(reader.take(4 * pageCount));
  const sharedStrings = SharedTexts.read(reader);
  return {
    imageBase,
    functions,
    ranges: sources.reduce((sum, { ranges }) => sum + ranges, 0),
    sources,
    quality: qualityOf(sources),
    pageCount,
    pageStarts,
    pageOffsets,
    pageChecksums,
    sharedStrings,
    weight: 2_048 + 20 * pageCount + sharedStrings.weight,
  };
}

/** A loop over thousands of pages would be half of opening a table for the first time. */
function littleEndianWords(bytes: Uint8Array): Uint32Array {
  const copy = Uint8Array.from(bytes);
  if (endianness() === 'BE') Buffer.from(copy.buffer).swap32();
  return new Uint32Array(copy.buffer);
}

/** The strings that pages share, each decoded when it is first asked for: a page needs a few dozen of ten thousand. */
export class SharedTexts {
  readonly length: number;
  readonly #bytes: Buffer;
  /** Where each string ends. */
  readonly #ends: Uint32Array;
  readonly #texts: (string | undefined)[];

  private constructor(bytes: Buffer, ends: Uint32Array) {
    this.length = ends.length;
    this.#bytes = bytes;
    this.#ends = ends;
    this.#texts = new Array<string | undefined>(ends.length).fill(undefined);
  }

  /** Reads the lengths and then the texts, to the end. */
  static read(reader: ByteReader): SharedTexts {
    const ends = new Uint32Array(reader.count(1));
    let end = 0;
    for (let index = 0; index < ends.length; index++) {
      end += reader.varint();
      if (end > reader.left) throw reader.truncated();
      ends[index] = end;
    }
    // A copy: what it is read from has the index too.
    const bytes = Buffer.from(reader.take(end));
    if (reader.left !== 0) reader.fail(`${reader.left} bytes past the end`);
    return new SharedTexts(bytes, ends);
  }

  /** Undefined past the last one. */
  at(index: number): string | undefined {
    if (index >= this.length) return undefined;
    const known = this.#texts[index];
    if (known !== undefined) return known;
    const start = index === 0 ? 0 : (this.#ends[index - 1] as number);
    const text = this.#bytes.toString('utf8', start, this.#ends[index]);
    this.#texts[index] = text;
    return text;
  }

  /** Upper bound of the memory it comes to hold, bytes: a text takes up to two for one here, and some 40 with its slot. */
  get weight(): number {
    return 3 * this.#bytes.length + 44 * this.length;
  }
}

function qualityOf(sources: SymbolTable['sources']): Quality {
  const present: readonly Quality[] = sources.filter(({ ranges }) => ranges > 0).map(({ source }) => source);
  return qualities.findLast((quality) => present.includes(quality)) ?? 'none';
}

function readSource(reader: ByteReader): SymbolTable['sources'][number] {
  const rank = reader.varint();
  const source = qualities[rank];
  if (source === undefined || source === 'none') return reader.fail(`source ${rank}`);
  return { source, ranges: reader.varint() };
}

function readPageStarts(reader: ByteReader, count: number): Float64Array {
  const starts = new Float64Array(count);
  let start = 0;
  for (let page = 0; page < count; page++) {
    const delta = reader.zigzag();
    if (page > 0 && delta <= 0) reader.fail('pages that do not ascend');
    start += delta;
    if (Math.abs(start) > relativeAddressMax) reader.fail(`a page at ${start}`);
    starts[page] = start;
  }
  return starts;
}

/** `address`, unsigned 64 bit, as the table counts. Inexact only beyond `relativeAddressMax`, where no range is. */
export function relativeTo(imageBase: bigint, address: bigint): number {
  return Number(BigInt.asIntN(64, address - imageBase));
}

/** The words of an unsigned 64-bit number. */
export interface Words {
  readonly lo: number;
  readonly hi: number;
}

export function wordsOf(value: bigint): Words {
  return { lo: Number(value & 0xffff_ffffn), hi: Number(value >> 32n) };
}

/** `relativeTo` of an address in words. */
export function relativeToWords(imageBase: Words, lo: number, hi: number): number {
  const low = lo - imageBase.lo;
  return ((hi - imageBase.hi - (low < 0 ? 1 : 0)) | 0) * 2 ** 32 + (low >>> 0);
}

/** The page that covers a relative address; -1 before the first. Past the last range it is the last page, which says so. */
export function pageOf(table: SymbolTable, relative: number): number {
  return lastAtMost(table.pageStarts, relative);
}

/** Where a page is in the file form. */
export function pageExtent(
  table: SymbolTable,
  page: number,
): { readonly offset: number; readonly length: number } {
  const offset = table.pageOffsets[page] as number;
  return { offset, length: (table.pageOffsets[page + 1] as number) - offset };
}

/** Throws `corrupt` when these are not the bytes of this page; `truncated` or `malformed` cannot happen to our own. */
export function decodePage(table: SymbolTable, page: number, stored: Uint8Array): DecodedPage {
  const what = `symbol table page ${page}`;
  const checksum = crc32(stored);
  if (checksum !== table.pageChecksums[page]) throw new SymbolsError('corrupt', what, 'another checksum');
  return readPage(decompress(stored, pageContentBytesMax, what), {
    start: table.pageStarts[page] as number,
    sources: table.sources.length,
    shared: table.sharedStrings,
    what,
  });
}

/** What a table says of one address. */
export interface FoundFrames {
  readonly source: Source | 'none';
  /** Innermost first; empty if nothing is known. `function` is the raw name: demangle it on the way out. */
  readonly frames: readonly Frame[];
}

export const noFrames: FoundFrames = { source: 'none', frames: [] };

/** Index of the innermost location at a relative address, in the page that `pageOf` names; `none`: nothing is known. */
export function locationAt(page: DecodedPage, relative: number): number {
  const range = lastAtMost(page.starts, relative);
  return range < 0 ? none : (page.location[range] as number);
}

/** Looks a relative address up in the page that `pageOf` names. */
export function framesAt(table: SymbolTable, page: DecodedPage, relative: number): FoundFrames {
  const location = locationAt(page, relative);
  if (location === none) return noFrames;
  const frames: Frame[] = [];
  for (let at = location; at !== none; at = page.locations[at * locationWords + parentWord] as number) {
    frames.push(frameOf(page, at));
  }
  return { source: sourceOf(table, page, location), frames };
}

/** Where what is known of a location comes from. */
export function sourceOf(table: SymbolTable, page: DecodedPage, location: number): Source | 'none' {
  return table.sources[page.source[location] as number]?.source ?? 'none';
}

function frameOf(page: DecodedPage, location: number): Frame {
  const { locations } = page;
  const at = location * locationWords;
  const func = locations[at + functionWord] as number;
  const file = locations[at + fileWord] as number;
  const rawName = func === none ? '' : (page.names[func] as string);
  return {
    function: rawName,
    rawName,
    file: file === none ? '' : (page.files[file] as string),
    line: (locations[at + lineWord] as number) >>> 0,
    column: (locations[at + columnWord] as number) >>> 0,
    startLine: func === none ? 0 : (page.startLines[func] as number),
  };
}

/** Index of the last of the ascending `values` that is at most `wanted`; -1 if none is. */
function lastAtMost(values: Float64Array, wanted: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] as number) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
