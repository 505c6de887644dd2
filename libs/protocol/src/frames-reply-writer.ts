// Writes the columnar reply to a lookup of frames as MessagePack, byte for byte what `encode` makes of a
// `FramesReplyBuilder`'s reply: strings go straight into bytes as they are first met, numbers into typed columns.
import { encode } from './codec.ts';
import type { FrameSink, FrameSource, FrameStatus } from './frames.ts';

const bytesAtFirst = 65_536;
/** What is kept from one reply to the next, of strings and of results. */
const bytesKeptMax = 4 * 1024 * 1024;
const rowsAtFirst = 4_096;
/** Type and length of a string or an array. */
const headBytesMax = 5;
/** UTF-8 of a UTF-16 unit. */
const bytesPerCharMax = 3;
/** Longer texts are worth a call to the outside. */
const loopCharsMax = 24;

/** The columns of frames, in the order in which they are written. */
const frameColumns = ['function', 'rawName', 'file', 'line', 'column', 'startLine'] as const;

/** Reused from reply to reply: `begin` makes it anew. */
export class FramesReplyWriter implements FrameSink {
  readonly #strings = new WireBytes();
  readonly #results = new WireBytes();
  #indexes = new Map<string, number>();
  /** Index of the readable name by index of the raw one; 0: not asked for yet, or the name is empty. */
  #readable = new Uint32Array(rowsAtFirst);
  #stringCount = 0;
  #resultCount = 0;
  #addresses = 0;
  #frames = 0;
  #status = new Uint8Array(rowsAtFirst);
  #source: FrameSource[] = [];
  #frameCounts = new Uint32Array(rowsAtFirst);
  #columns = frameColumns.map(() => new Uint32Array(rowsAtFirst));

  begin(): void {
    this.#strings.clear();
    this.#results.clear();
    this.#indexes = new Map([['', 0]]);
    this.#readable[0] = 0;
    this.#stringCount = 1;
    this.#strings.text('');
    this.#resultCount = 0;
    this.#addresses = 0;
    this.#frames = 0;
  }

  /** An address, before its frames are given to `frame`. */
  address(status: FrameStatus, source: FrameSource): void {
    const at = this.#addresses++;
    if (at === this.#status.length) {
      this.#status = doubled(this.#status, Uint8Array);
      this.#frameCounts = doubled(this.#frameCounts, Uint32Array);
    }
    this.#status[at] = status;
    this.#source[at] = source;
    this.#frameCounts[at] = 0;
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
    let readable = this.#readable[raw]!;
    if (readable === 0 && raw !== 0) {
      readable = this.#index(names.demangle(rawName));
      this.#readable[raw] = readable;
    }
    const row = this.#frames++;
    if (row === this.#columns[0]!.length) {
      this.#columns = this.#columns.map((values) => doubled(values, Uint32Array));
    }
    const [functions, rawNames, files, lines, columns, startLines] = this.#columns;
    functions![row] = readable;
    rawNames![row] = raw;
    files![row] = this.#index(file);
    lines![row] = line;
    columns![row] = column;
    startLines![row] = startLine;
    this.#frameCounts[this.#addresses - 1]!++;
  }

  /** Ends the answer to one request: what was given since the last one. Returns the statuses, until the next address. */
  endResult(id: string, canonical: string, generation: number): Uint8Array {
    const results = this.#results;
    const addresses = this.#addresses;
    const head = encode({ id, canonical, generation }, 'msgpack');
    // A map of three becomes one of twelve.
    results.byte(0x80 | (3 + 3 + frameColumns.length));
    results.put(head.subarray(1));
    results.text('status');
    results.integers(this.#status, addresses);
    results.text('source');
    results.arrayHead(addresses);
    for (let index = 0; index < addresses; index++) results.text(this.#source[index]!);
    results.text('frameCounts');
    results.integers(this.#frameCounts, addresses);
    for (let index = 0; index < frameColumns.length; index++) {
      results.text(frameColumns[index]!);
      results.integers(this.#columns[index]!, this.#frames);
    }
    this.#resultCount++;
    this.#addresses = 0;
    this.#frames = 0;
    return this.#status.subarray(0, addresses);
  }

  /** The bytes of the reply, in a buffer that `take` gives for their number. */
  end(take: (size: number) => Buffer): Buffer {
    const strings = this.#strings;
    const results = this.#results;
    const head = new WireBytes(32);
    head.byte(0x82);
    head.text('strings');
    head.arrayHead(this.#stringCount);
    const middle = new WireBytes(32);
    middle.text('results');
    middle.arrayHead(this.#resultCount);
    const size = head.length + strings.length + middle.length + results.length;
    const reply = take(size);
    let at = 0;
    for (const part of [head, strings, middle, results]) at += part.copyTo(reply, at);
    return reply.subarray(0, size);
  }

  #index(text: string): number {
    const known = this.#indexes.get(text);
    if (known !== undefined) return known;
    const index = this.#stringCount++;
    if (index === this.#readable.length) this.#readable = doubled(this.#readable, Uint32Array);
    this.#readable[index] = 0;
    this.#indexes.set(text, index);
    this.#strings.text(text);
    return index;
  }
}

/** Growing MessagePack. */
class WireBytes {
  #bytes: Buffer;
  length = 0;

  constructor(size = bytesAtFirst) {
    this.#bytes = Buffer.allocUnsafeSlow(size);
  }

  clear(): void {
    this.length = 0;
    if (this.#bytes.length > bytesKeptMax) this.#bytes = Buffer.allocUnsafeSlow(bytesAtFirst);
  }

  copyTo(into: Buffer, at: number): number {
    return this.#bytes.copy(into, at, 0, this.length);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.length++] = value;
  }

  put(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  text(text: string): void {
    const { length } = text;
    this.#reserve(headBytesMax + length * bytesPerCharMax);
    const bytes = this.#bytes;
    const start = this.length;
    if (length <= loopCharsMax) {
      let at = start + 1;
      let all = 0;
      for (let index = 0; index < length; index++) {
        const code = text.charCodeAt(index);
        all |= code;
        bytes[at++] = code;
      }
      if (all < 0x80) {
        bytes[start] = 0xa0 | length;
        this.length = at;
        return;
      }
    }
    const head = textHeadBytes(length);
    const written = bytes.write(text, start + head, 'utf8');
    const actual = textHeadBytes(written);
    if (actual !== head) bytes.copyWithin(start + actual, start + head, start + head + written);
    writeTextHead(bytes, start, written);
    this.length = start + actual + written;
  }

  arrayHead(count: number): void {
    this.#reserve(headBytesMax);
    const bytes = this.#bytes;
    if (count < 0x10) bytes[this.length++] = 0x90 | count;
    else if (count < 0x1_0000) {
      bytes[this.length] = 0xdc;
      this.length = bytes.writeUInt16BE(count, this.length + 1);
    } else {
      bytes[this.length] = 0xdd;
      this.length = bytes.writeUInt32BE(count, this.length + 1);
    }
  }

  /** An array of the first `count` values, each as short as it can be. */
  integers(values: Uint8Array | Uint32Array, count: number): void {
    this.arrayHead(count);
    this.#reserve(count * headBytesMax);
    const bytes = this.#bytes;
    let at = this.length;
    for (let index = 0; index < count; index++) {
      const value = values[index]!;
      if (value < 0x80) bytes[at++] = value;
      else if (value < 0x100) {
        bytes[at++] = 0xcc;
        bytes[at++] = value;
      } else {
        if (value < 0x1_0000) bytes[at++] = 0xcd;
        else {
          bytes[at++] = 0xce;
          bytes[at++] = value >>> 24;
          bytes[at++] = value >>> 16;
        }
        bytes[at++] = value >>> 8;
        bytes[at++] = value;
      }
    }
    this.length = at;
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.length + count));
    this.#bytes.copy(larger, 0, 0, this.length);
    this.#bytes = larger;
  }
}

function textHeadBytes(length: number): number {
  return length < 0x20 ? 1 : length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5;
}

function writeTextHead(bytes: Buffer, at: number, length: number): void {
  if (length < 0x20) bytes[at] = 0xa0 | length;
  else if (length < 0x100) {
    bytes[at] = 0xd9;
    bytes[at + 1] = length;
  } else if (length < 0x1_0000) {
    bytes[at] = 0xda;
    bytes.writeUInt16BE(length, at + 1);
  } else {
    bytes[at] = 0xdb;
    bytes.writeUInt32BE(length, at + 1);
  }
}

function doubled<T extends Uint8Array | Uint32Array>(from: T, kind: new (length: number) => T): T {
  const into = new kind(2 * from.length);
  into.set(from);
  return into;
}
