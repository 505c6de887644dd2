// Frames that agents reported, as stored: one value per window of addresses of an executable. Many small values cost
// more in keys than in frames, and one big value would be read and rewritten for each frame. See docs/formats.md.
import { type Address, decode, encode, type Frame, mergeFrames } from '@symkeep/protocol';
import { windowBits, windowOf } from './keys.ts';

/** Frames of one window: more are refused and counted, since a value is read whole. */
export const framesPerWindowMax = 2_048;

/** `[stamp, strings, rows]`; a row is offset, function, rawName, file (indexes into strings), line, column, startLine. */
type WireWindow = readonly [stamp: number, strings: readonly string[], rows: readonly number[]];
const rowWidth = 7;
const offsetMask = (1n << windowBits) - 1n;

export class FrameWindow {
  /** The generation that made these frames known; an executable whose generation is older is still to be flipped. */
  readonly stamp: number;
  /** Frames by their offset in the window. */
  readonly frames: ReadonlyMap<number, Frame>;
  /** The generation of the executable under which this window was read. */
  readonly generation: number;

  constructor(stamp: number, frames: ReadonlyMap<number, Frame>, generation: number) {
    this.stamp = stamp;
    this.frames = frames;
    this.generation = generation;
  }

  static read(wire: Uint8Array, generation: number): FrameWindow {
    const [stamp, strings, rows] = decode(wire, 'msgpack') as WireWindow;
    const frames = new Map<number, Frame>();
    for (let at = 0; at < rows.length; at += rowWidth) frames.set(rows[at]!, frameAt(strings, rows, at));
    return new FrameWindow(stamp, frames, generation);
  }

  at(address: Address): Frame | undefined {
    return this.frames.get(offsetIn(address));
  }

  /** With the frames of another account of the same window; null if it says nothing new. */
  joinedWith(other: FrameWindow): FrameWindow | null {
    const more = Array.from(other.frames, ([offset, frame]) => ({ address: BigInt(offset), frame }));
    return this.with(more, Math.max(this.stamp, other.stamp));
  }

  /** With more frames joined in; null if they say nothing new. Over the limit, further addresses are left out. */
  with(more: readonly { address: Address; frame: Frame }[], stamp: number): FrameWindow | null {
    const frames = new Map(this.frames);
    let changed = false;
    for (const { address, frame } of more) {
      const offset = offsetIn(address);
      const before = frames.get(offset);
      if (before === undefined && frames.size >= framesPerWindowMax) continue;
      const after = before === undefined ? frame : mergeFrames(before, frame);
      if (before !== undefined && after === before) continue;
      frames.set(offset, after);
      changed = true;
    }
    return changed ? new FrameWindow(stamp, frames, this.generation) : null;
  }

  get wire(): Uint8Array {
    const strings: string[] = [''];
    const indexes = new Map([['', 0]]);
    const index = (text: string): number => {
      const known = indexes.get(text);
      if (known !== undefined) return known;
      indexes.set(text, strings.length);
      return strings.push(text) - 1;
    };
    const rows: number[] = [];
    for (const [offset, frame] of [...this.frames].sort(([a], [b]) => a - b)) {
      rows.push(offset, index(frame.function), index(frame.rawName), index(frame.file));
      rows.push(frame.line, frame.column, frame.startLine);
    }
    return encode([this.stamp, strings, rows] satisfies WireWindow, 'msgpack');
  }

  /** An estimate of what it takes in memory, bytes: V8's map entry and object, and the texts. */
  get weight(): number {
    let bytes = 128;
    for (const { function: name, rawName, file } of this.frames.values()) {
      bytes += 160 + name.length + rawName.length + file.length;
    }
    return bytes;
  }
}

/** Where frames that go into one value begin. */
export function windowsOf<T extends { address: Address }>(frames: readonly T[]): Map<Address, T[]> {
  const windows = new Map<Address, T[]>();
  for (const frame of frames) {
    const window = windowOf(frame.address);
    const known = windows.get(window);
    if (known === undefined) windows.set(window, [frame]);
    else known.push(frame);
  }
  return windows;
}

function offsetIn(address: Address): number {
  return Number(address & offsetMask);
}

function frameAt(strings: readonly string[], rows: readonly number[], at: number): Frame {
  return {
    function: strings[rows[at + 1]!] ?? '',
    rawName: strings[rows[at + 2]!] ?? '',
    file: strings[rows[at + 3]!] ?? '',
    line: rows[at + 4]!,
    column: rows[at + 5]!,
    startLine: rows[at + 6]!,
  };
}
