// Where bytes come from: positioned, synchronous reads. The library itself opens nothing; an app passes in a file, the
// memory of a process, or plain bytes.
import { ElfError } from './elf-error.ts';

/**
 * `read` gives the bytes from `offset` on: `length` of them, fewer only past the end. The result may be a view of shared
 * memory: nobody writes to it. `offset` and `size` are exact up to 2^53.
 */
export interface ByteSource {
  readonly size: number;
  read(offset: number, length: number): Uint8Array;
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

/**
 * A source over positioned reads, as a file descriptor has them. `readAt` fills `buffer` from `offset` on and gives the
 * count of bytes it read, 0 at the end:
 *
 *     fileSource(fstatSync(fd).size, (buffer, offset) => readSync(fd, buffer, 0, buffer.length, offset))
 */
export function fileSource(size: number, readAt: (buffer: Uint8Array, offset: number) => number): ByteSource {
  return {
    size,
    read(offset, length) {
      const buffer = new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const count = readAt(filled === 0 ? buffer : buffer.subarray(filled), offset + filled);
        if (count <= 0) return buffer.subarray(0, filled);
        filled += count;
      }
      return buffer;
    },
  };
}

/** The `length` bytes at `offset`, all of them. Throws `truncated`, also when a file shrank since its size was taken. */
export function readExact(source: ByteSource, offset: number, length: number, what: string): Uint8Array {
  if (!(offset >= 0 && length >= 0 && offset + length <= source.size)) {
    throw new ElfError('truncated', what, `needs ${length} bytes at ${offset}, the file has ${source.size}`);
  }
  const bytes = source.read(offset, length);
  if (bytes.length === length) return bytes;
  throw new ElfError('truncated', what, `needs ${length} bytes at ${offset}, got ${bytes.length}`);
}

/**
 * The same source with its first and last bytes held in memory. Headers and notes stand at the start of a file and
 * section headers at its end, so most files cost two reads.
 */
export interface EndsSource extends ByteSource {
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
}

export function holdEnds(source: ByteSource, endBytes: number): EndsSource {
  const { size } = source;
  const whole = size <= 2 * endBytes;
  const head = readExact(source, 0, whole ? size : endBytes, 'start of the file');
  const tailStart = whole ? 0 : size - endBytes;
  const tail = whole ? head : readExact(source, tailStart, endBytes, 'end of the file');
  return {
    size,
    head: head.subarray(0, endBytes),
    tail: tail.subarray(Math.max(0, tail.length - endBytes)),
    read(offset, length) {
      if (offset + length <= head.length) return head.subarray(offset, offset + length);
      if (offset >= tailStart) return tail.subarray(offset - tailStart, offset - tailStart + length);
      return source.read(offset, length);
    },
  };
}
