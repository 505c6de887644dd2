// Sections in memory that threads share; `.debug_info` is used from the start on while its end is still being
// inflated.
import { SymbolsError } from '../symbols-error.ts';
import type { AddressSpan, DebugSections, SectionStream } from './debug-sections.ts';

/** Sections that are read, of whichever file. */
const names = [
  '.debug_abbrev',
  '.debug_line',
  '.debug_str',
  '.debug_line_str',
  '.debug_str_offsets',
  '.debug_addr',
  '.debug_ranges',
  '.debug_rnglists',
] as const;
const infoName = '.debug_info';

/** Progress is counted in these, so that it fits the integers that threads can wait for. */
const blockBytes = 4_096;
const complete = 0x7fff_ffff;
const failed = -1;

/** `DebugSections` as plain data. */
export interface SharedSections {
  readonly littleEndian: boolean;
  readonly imageBase: bigint;
  readonly executable: readonly AddressSpan[];
  readonly contents: ReadonlyMap<string, Uint8Array>;
  /** One integer: blocks of `.debug_info` that are there, or one of the two above. */
  readonly progress: Int32Array;
  readonly alternate: SharedSections | undefined;
}

/** `.debug_info` in shared memory, and what fills it while threads read it. */
export interface SharedInfo {
  readonly bytes: Uint8Array;
  readonly fill: ((progress: Int32Array) => Promise<void>) | undefined;
}

/** Undefined if the file has no `.debug_info`. */
export function shareInfo(sections: DebugSections): SharedInfo | undefined {
  const stream = sections.stream?.(infoName);
  if (stream === undefined) {
    const bytes = sections.section(infoName);
    return bytes && { bytes: share(bytes), fill: undefined };
  }
  const bytes = new Uint8Array(new SharedArrayBuffer(stream.size));
  return { bytes, fill: (progress) => fill(bytes, stream, progress) };
}

/** All other sections too. Split units stay behind. */
export function shareSections(sections: DebugSections, info: SharedInfo | undefined): SharedSections {
  const contents = new Map<string, Uint8Array>();
  for (const name of names) {
    const bytes = sections.section(name);
    if (bytes !== undefined) contents.set(name, share(bytes));
  }
  if (info !== undefined) contents.set(infoName, info.bytes);
  const { littleEndian, imageBase, executable, alternate } = sections;
  const progress = new Int32Array(new SharedArrayBuffer(4));
  progress[0] = info?.fill === undefined ? complete : 0;
  const alternateInfo = alternate?.section(infoName);
  return {
    littleEndian,
    imageBase,
    executable,
    contents,
    progress,
    alternate:
      alternate &&
      shareSections(alternate, alternateInfo && { bytes: share(alternateInfo), fill: undefined }),
  };
}

function share(bytes: Uint8Array): Uint8Array {
  if (bytes.buffer instanceof SharedArrayBuffer) return bytes;
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
}

async function fill(bytes: Uint8Array, stream: SectionStream, progress: Int32Array): Promise<void> {
  let filled = 0;
  try {
    for await (const piece of stream.pieces) {
      bytes.set(piece, filled);
      filled += piece.length;
      setProgress(progress, Math.floor(filled / blockBytes));
    }
    setProgress(progress, complete);
  } catch (error) {
    setProgress(progress, failed);
    throw error;
  }
}

function setProgress(progress: Int32Array, value: number): void {
  Atomics.store(progress, 0, value);
  Atomics.notify(progress, 0);
}

/** Blocks the thread where bytes are asked for that are not there yet. */
export function sectionsOf(shared: SharedSections): DebugSections {
  const { littleEndian, imageBase, executable, contents, progress, alternate } = shared;
  return {
    littleEndian,
    imageBase,
    executable,
    section: (name) => contents.get(name),
    awaitInfo: (end) => awaitBlocks(progress, Math.ceil(end / blockBytes)),
    ...(alternate && { alternate: sectionsOf(alternate) }),
  };
}

function awaitBlocks(progress: Int32Array, wanted: number): void {
  for (;;) {
    const there = Atomics.load(progress, 0);
    if (there === failed) throw new SymbolsError('truncated', infoName, 'could not be read to its end');
    if (there >= wanted) return;
    Atomics.wait(progress, 0, there);
  }
}
