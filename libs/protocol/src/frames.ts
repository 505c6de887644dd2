// Frames: what stands at an address of an executable. Agents report single frames for what no symbol table covers
// yet; lookups answer many addresses in columns, since a thousand objects cost more than the frames in them.
import type { Address } from './address.ts';
import type { ErrorBody } from './errors.ts';
import type { ExecutableId } from './ids.ts';
import type { Quality } from './record.ts';

/** One function at an address; 0 and "" mean absent. `rawName` is the linkage name, `function` the demangled one. */
export interface Frame {
  readonly function: string;
  readonly rawName: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly startLine: number;
}

export type FrameSource = Exclude<Quality, 'none'> | 'agent' | 'none';

/** What a lookup says of one address. Negative outcomes are values with lifetimes of their own. */
export const FRAME_STATUS = {
  resolved: 0,
  /** A fact of that generation: nothing is at this address. */
  noSymbol: 1,
  symbolsNotReady: 2,
  unknownExecutable: 3,
  /** The store was out of reach; never cached. */
  unavailable: 4,
} as const;
export type FrameStatus = (typeof FRAME_STATUS)[keyof typeof FRAME_STATUS];

/** Takes frames one by one, innermost first, without an object for each. */
export interface FrameSink {
  /** `names` turns the raw name into the readable one; it is asked once for each. */
  frame(
    rawName: string,
    names: { demangle(rawName: string): string },
    file: string,
    line: number,
    column: number,
    startLine: number,
  ): void;
}

/** The frames at one address, innermost inlined function first. */
export interface FramesAt {
  readonly status: FrameStatus;
  readonly source: FrameSource;
  readonly frames: readonly Frame[];
  /** Where frames stand in columns: gives them one by one, and returns how many there were. */
  writeTo?(sink: FrameSink): number;
}

/** A frame that an agent reports. */
export interface ReportedFrame {
  readonly id: ExecutableId;
  readonly address: Address;
  readonly frame: Frame;
}

/**
 * Joins two accounts of the frame at one address: the one that says more wins, whole; between two that say as much, a
 * total order. Commutative, associative and idempotent.
 */
export function mergeFrames(a: Frame, b: Frame): Frame {
  return compareFrames(a, b) >= 0 ? a : b;
}

function compareFrames(a: Frame, b: Frame): number {
  return (
    knownFields(a) - knownFields(b) || compareText(JSON.stringify(fieldsOf(a)), JSON.stringify(fieldsOf(b)))
  );
}

function fieldsOf(frame: Frame): readonly (string | number)[] {
  return [frame.function, frame.rawName, frame.file, frame.line, frame.column, frame.startLine];
}

function knownFields(frame: Frame): number {
  return fieldsOf(frame).filter((field) => field !== '' && field !== 0).length;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The answer to one request of a frames lookup, in columns; all indexes point into the reply's `strings`. */
export interface FrameColumns {
  readonly id: string;
  readonly canonical: string;
  readonly generation: number;
  readonly status: FrameStatus[];
  readonly source: FrameSource[];
  readonly frameCounts: number[];
  readonly function: number[];
  readonly rawName: number[];
  readonly file: number[];
  readonly line: number[];
  readonly column: number[];
  readonly startLine: number[];
  readonly error?: ErrorBody['error'];
}

export interface FramesReply {
  /** `strings[0]` is `""` and means absent. */
  readonly strings: string[];
  readonly results: FrameColumns[];
}

/** Builds a columnar reply; strings are interned across all its results. */
export class FramesReplyBuilder implements FrameSink {
  readonly reply: FramesReply = { strings: [''], results: [] };
  readonly #indexes = new Map<string, number>([['', 0]]);
  /** Index of the readable name by index of the raw one. */
  readonly #readable: number[] = [0];
  #columns: FrameColumns = emptyColumns('', '', 0);

  /** Appends the answer to one request; `at` is in the order of the asked addresses. */
  add(id: string, canonical: string, generation: number, at: readonly FramesAt[]): void {
    const columns = emptyColumns(id, canonical, generation);
    this.#columns = columns;
    for (const found of at) {
      columns.status.push(found.status);
      columns.source.push(found.source);
      columns.frameCounts.push(found.writeTo?.(this) ?? this.#pushAll(found.frames));
    }
    this.reply.results.push(columns);
  }

  /** Appends the answer to a request that could not be read: no address of it is answered. */
  addError(id: string, error: ErrorBody['error']): void {
    this.reply.results.push({ ...emptyColumns(id, '', 0), error });
  }

  frame(
    rawName: string,
    names: { demangle(rawName: string): string },
    file: string,
    line: number,
    column: number,
    startLine: number,
  ): void {
    const raw = this.#index(rawName);
    let readable = this.#readable[raw];
    if (readable === undefined) {
      readable = this.#index(names.demangle(rawName));
      this.#readable[raw] = readable;
    }
    this.#push(readable, raw, this.#index(file), line, column, startLine);
  }

  #pushAll(frames: readonly Frame[]): number {
    for (const { function: name, rawName, file, line, column, startLine } of frames) {
      this.#push(this.#index(name), this.#index(rawName), this.#index(file), line, column, startLine);
    }
    return frames.length;
  }

  #push(name: number, rawName: number, file: number, line: number, column: number, startLine: number): void {
    const columns = this.#columns;
    columns.function.push(name);
    columns.rawName.push(rawName);
    columns.file.push(file);
    columns.line.push(line);
    columns.column.push(column);
    columns.startLine.push(startLine);
  }

  #index(text: string): number {
    const known = this.#indexes.get(text);
    if (known !== undefined) return known;
    const index = this.reply.strings.push(text) - 1;
    this.#indexes.set(text, index);
    return index;
  }
}

/** The rows of one result of a columnar reply. */
export function readFrameColumns(strings: readonly string[], columns: FrameColumns): FramesAt[] {
  let row = 0;
  return columns.status.map((status, index) => {
    const end = row + (columns.frameCounts[index] ?? 0);
    const frames: Frame[] = [];
    for (; row < end; row++) frames.push(frameAt(strings, columns, row));
    return { status, source: columns.source[index] ?? 'none', frames };
  });
}

function frameAt(strings: readonly string[], columns: FrameColumns, row: number): Frame {
  return {
    function: strings[columns.function[row] ?? 0] ?? '',
    rawName: strings[columns.rawName[row] ?? 0] ?? '',
    file: strings[columns.file[row] ?? 0] ?? '',
    line: columns.line[row] ?? 0,
    column: columns.column[row] ?? 0,
    startLine: columns.startLine[row] ?? 0,
  };
}

function emptyColumns(id: string, canonical: string, generation: number): FrameColumns {
  return {
    ...{ id, canonical, generation, status: [], source: [], frameCounts: [] },
    ...{ function: [], rawName: [], file: [], line: [], column: [], startLine: [] },
  };
}
