// What a symbol table says of one address, still in the columns of its page: a reply is written from them, and objects are
// made for who wants objects.
import { FRAME_STATUS, type Frame, type FrameSink, type FramesAt } from '@symkeep/protocol';
import {
  columnWord,
  type DecodedPage,
  type Demangler,
  fileWord,
  functionWord,
  lineWord,
  locationWords,
  none,
  parentWord,
  type Source,
} from '@symkeep/symbols';

export class TableFrames implements FramesAt {
  readonly status = FRAME_STATUS.resolved;
  readonly source: Source | 'none';
  readonly #page: DecodedPage;
  /** Of the innermost frame. */
  readonly #location: number;
  readonly #demangler: Demangler;

  constructor(source: Source | 'none', page: DecodedPage, location: number, demangler: Demangler) {
    this.source = source;
    this.#page = page;
    this.#location = location;
    this.#demangler = demangler;
  }

  get frames(): readonly Frame[] {
    const frames: Frame[] = [];
    const demangler = this.#demangler;
    this.writeTo({
      frame: (rawName, _readable, file, line, column, startLine) => {
        frames.push({ function: demangler.demangle(rawName), rawName, file, line, column, startLine });
      },
    });
    return frames;
  }

  writeTo(sink: FrameSink): number {
    return writeFrames(this.#page, this.#location, this.#demangler, sink);
  }
}

/** Gives the frames of a location, innermost first; returns how many. */
export function writeFrames(
  page: DecodedPage,
  innermost: number,
  demangler: Demangler,
  sink: FrameSink,
): number {
  const { locations, names, startLines, files } = page;
  let count = 0;
  for (let location = innermost; location !== none; count++) {
    const at = location * locationWords;
    const func = locations[at + functionWord]!;
    const file = locations[at + fileWord]!;
    const rawName = func === none ? '' : names[func]!;
    const startLine = func === none ? 0 : startLines[func]!;
    const path = file === none ? '' : files[file]!;
    const line = locations[at + lineWord]! >>> 0;
    sink.frame(rawName, demangler, path, line, locations[at + columnWord]! >>> 0, startLine);
    location = locations[at + parentWord]!;
  }
  return count;
}
