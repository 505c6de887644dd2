// The few file operations that discovery needs, synchronous: what they touch is memory of the kernel, and a thread per
// call would cost more than the call. An interface, so that a tree in a temporary folder or one that fails can stand in.
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statSync,
} from 'node:fs';

export interface FileStat {
  readonly device: bigint;
  readonly inode: bigint;
  readonly size: bigint;
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
  /** False for devices, pipes and directories: opening one may block or do something. */
  readonly regular: boolean;
}

/** A file under a path or, while it is open, under its descriptor. */
export interface OpenFile {
  stat(): FileStat;
  /** Bytes read into `buffer` from `position`; 0 at the end. */
  readAt(buffer: Uint8Array, position: number | bigint): number;
  close(): void;
}

export type Path = string | Buffer;

/** Every operation throws what Node throws: an Error with `code`. */
export interface HostFiles {
  list(path: string): string[];
  readLink(path: string): string;
  /** Follows links, those of /proc included. */
  stat(path: Path): FileStat;
  open(path: Path): OpenFile;
}

// Not to wait for the writer of a FIFO, should a path have become one since it was looked at.
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export const nodeFiles: HostFiles = {
  list: (path) => readdirSync(path),
  readLink: (path) => readlinkSync(path),
  stat: (path) => statOf(statSync(path, { bigint: true })),
  open(path) {
    const fd = openSync(path, openFlags);
    return {
      stat: () => statOf(fstatSync(fd, { bigint: true })),
      readAt: (buffer, position) => readSync(fd, buffer, 0, buffer.length, position),
      close: () => closeSync(fd),
    };
  },
};

function statOf(stats: BigIntStats): FileStat {
  return {
    device: stats.dev,
    inode: stats.ino,
    size: stats.size,
    modifiedNs: stats.mtimeNs,
    changedNs: stats.ctimeNs,
    regular: stats.isFile(),
  };
}

/**
 * Whose bytes these are, as text: another file or another content has another identity. Times alone do not tell: in Nix
 * and Bazel images every file was modified at second 0 or 1.
 */
export function identityOf({ device, inode, size, modifiedNs, changedNs }: FileStat): string {
  return `${device}:${inode}:${size}:${modifiedNs}:${changedNs}`;
}

/** The kernel's text for a device number, `major:minor` in hex as in maps (glibc's dev_t, makedev(3)). */
export function deviceTextOf(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}`;
}

/** The first `bytesMax` bytes of a file that has no size of its own, as those of /proc and /sys. */
export function readSmallFile(files: HostFiles, path: string, bytesMax = 65_536): Buffer {
  const file = files.open(path);
  try {
    const buffer = Buffer.alloc(bytesMax);
    let length = 0;
    while (length < bytesMax) {
      const count = file.readAt(buffer.subarray(length), length);
      if (count === 0) break;
      length += count;
    }
    return Buffer.from(buffer.subarray(0, length));
  } finally {
    file.close();
  }
}
