// Builds and alters ELF images byte by byte, for what no linker makes.
import type { ByteSource } from '../src/index.ts';

/** Offsets of the fields of the ELF header and the first entries of its tables, in 64-bit files. */
export const header64 = {
  phoff: 32,
  shoff: 40,
  phentsize: 54,
  phnum: 56,
  shentsize: 58,
  shnum: 60,
  shstrndx: 62,
};
export const segment64 = {
  type: 0,
  flags: 4,
  offset: 8,
  address: 16,
  fileSize: 32,
  memorySize: 40,
  align: 48,
  bytes: 56,
};
export const section64 = {
  name: 0,
  type: 4,
  flags: 8,
  address: 16,
  offset: 24,
  size: 32,
  link: 40,
  info: 44,
  bytes: 64,
};

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A little-endian ELF64 header (x86-64, ET_DYN) with the given fields. */
export function elf64(
  fields: Partial<Record<keyof typeof header64, number>>,
  bytes = new Uint8Array(64),
): Uint8Array {
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  const view = viewOf(bytes);
  view.setUint16(16, 3, true);
  view.setUint16(18, 62, true);
  view.setUint32(20, 1, true);
  view.setUint16(header64.phentsize, segment64.bytes, true);
  view.setUint16(header64.shentsize, section64.bytes, true);
  for (const [name, value] of Object.entries(fields)) {
    const at = header64[name as keyof typeof header64];
    if (name === 'phoff' || name === 'shoff') view.setBigUint64(at, BigInt(value), true);
    else view.setUint16(at, value, true);
  }
  return bytes;
}

/** A note as linkers write it, padded to four bytes. */
export function note(name: string, type: number, desc: Uint8Array, littleEndian = true): Uint8Array {
  const nameBytes = Buffer.from(`${name}\0`, 'latin1');
  const descAt = 12 + 4 * Math.ceil(nameBytes.length / 4);
  const bytes = new Uint8Array(descAt + 4 * Math.ceil(desc.length / 4));
  const view = viewOf(bytes);
  view.setUint32(0, nameBytes.length, littleEndian);
  view.setUint32(4, desc.length, littleEndian);
  view.setUint32(8, type, littleEndian);
  bytes.set(nameBytes, 12);
  bytes.set(desc, descAt);
  return bytes;
}

/** A shared object of one PT_NOTE segment that holds `notes`. */
export function imageOfNotes(...notes: Uint8Array[]): Uint8Array {
  const content = Buffer.concat(notes);
  const bytes = elf64({ phoff: 64, phnum: 1 }, new Uint8Array(64 + segment64.bytes + content.length));
  const view = viewOf(bytes);
  view.setUint32(64 + segment64.type, 4, true);
  view.setBigUint64(64 + segment64.offset, 120n, true);
  view.setBigUint64(64 + segment64.fileSize, BigInt(content.length), true);
  bytes.set(content, 120);
  return bytes;
}

/** A source of any size, zero but for the given pieces, as a sparse file is. Counts what is read of it. */
export class SparseSource implements ByteSource {
  readonly size: number;
  readonly #pieces: ReadonlyMap<number, Uint8Array>;
  reads = 0;
  bytesRead = 0;
  largestRead = 0;

  constructor(size: number, pieces: ReadonlyMap<number, Uint8Array>) {
    this.size = size;
    this.#pieces = pieces;
  }

  read(offset: number, length: number): Uint8Array {
    this.reads++;
    this.bytesRead += length;
    this.largestRead = Math.max(this.largestRead, length);
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.size - offset)));
    for (const [start, piece] of this.#pieces) {
      const from = Math.max(start, offset);
      const to = Math.min(start + piece.length, offset + bytes.length);
      if (from < to) bytes.set(piece.subarray(from - start, to - start), from - offset);
    }
    return bytes;
  }
}

export function countingSource(bytes: Uint8Array): SparseSource {
  return new SparseSource(bytes.length, new Map([[0, bytes]]));
}
