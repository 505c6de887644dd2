// What a symbol table says of one address, still in the columns of its page: a reply is written from them, and objects are
// made for who wants objects.
import { FRAME_STATUS, type Frame, type FrameSink, type FramesAt } from '@symkeep/protocol';
import { type DecodedPage, type Demangler, none, type Source } from '@symkeep/symbols';

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
    const page = this.#page;
    const demangler = this.#demangler;
    let count = 0;
    for (let at = this.#location; at !== none; at = page.parent[at]!, count++) {
      const func = page.function[at]!;
      const file = page.file[at]!;
      const rawName = func === none ? '' : page.names[func]!;
      const startLine = func === none ? 0 : page.startLines[func]!;
      const path = file === none ? '' : page.files[file]!;
      sink.frame(rawName, demangler, path, page.line[at]!, page.column[at]!, startLine);
    }
    return count;
  }
}
