// /proc/<pid>/maps, parsed from bytes: only the mappings that can hold code of a file, and the vDSO. A host has tens of
// thousands of lines and a pass reads them all, so other lines cost one search for their end and nothing is allocated.
//
//     7f9c25f14000-7f9c2606a000 r-xp 00026000 fe:00 339380                     /usr/lib/x86_64-linux-gnu/libc.so.6
//     start        end          perm offset   dev   inode                      path, or nothing

/** A mapping's file as the kernel names it: the same text for the same file wherever it is mapped. */
export interface MappedFile {
  /** `major:minor` in hex as printed; on btrfs and older overlayfs not what `stat` says. */
  readonly device: string;
  readonly inode: string;
  /** Bytes of the path as latin1; what was deleted or has no name looks like a path as well. */
  readonly path: string;
  /** The kernel's mark that the path no longer leads to this file. */
  readonly deleted: boolean;
}

const newline = 0x0a;
const space = 0x20;
const dash = 0x2d;
const executeMark = 0x78;
const deletedMark = ' (deleted)';
const vdsoName = '[vdso]';
const vdsoSuffix = ` ${vdsoName}`;

/**
 * Calls `visit` for each executable mapping of a file and for the vDSO. `text` is `device inode path` with single
 * spaces, latin1; `lineAt` is where the line starts. Lines that are not of this form are passed over.
 */
export function forEachCodeMapping(
  bytes: Buffer,
  length: number,
  visit: (text: string, lineAt: number) => void,
): void {
  for (let lineAt = 0; lineAt < length; ) {
    const found = bytes.indexOf(newline, lineAt);
    const end = found < 0 || found > length ? length : found;
    const permissionsAt = fieldAfter(bytes, lineAt, end);
    if (bytes[permissionsAt + 2] === executeMark && permissionsAt + 2 < end) {
      const text = fileText(bytes, permissionsAt, end);
      if (text !== undefined) visit(text, lineAt);
    }
    lineAt = end + 1;
  }
}

/** The mapping's address range as `/proc/<pid>/map_files` names it: hex without the leading zeros that maps has. */
export function rangeOf(bytes: Buffer, lineAt: number): string {
  const dashAt = bytes.indexOf(dash, lineAt);
  const end = bytes.indexOf(space, dashAt);
  return `${hexAt(bytes, lineAt, dashAt)}-${hexAt(bytes, dashAt + 1, end)}`;
}

/** Start and size of the mapping that starts at `lineAt`, in bytes. */
export function addressesOf(bytes: Buffer, lineAt: number): { start: bigint; size: number } {
  const [start = '0', end = '0'] = rangeOf(bytes, lineAt).split('-');
  const from = BigInt(`0x${start}`);
  return { start: from, size: Number(BigInt(`0x${end}`) - from) };
}

/** The parts of a `text` that `forEachCodeMapping` gave. */
export function parseMappedFile(text: string): MappedFile {
  const inodeAt = text.indexOf(' ') + 1;
  const pathAt = text.indexOf(' ', inodeAt) + 1;
  const path = text.slice(pathAt);
  const deleted = path.endsWith(deletedMark);
  return {
    device: text.slice(0, inodeAt - 1),
    inode: text.slice(inodeAt, pathAt - 1),
    path: deleted ? path.slice(0, -deletedMark.length) : path,
    deleted,
  };
}

/**
 * The path's bytes as the file system has them: of all characters, maps escapes only the newline. What is marked as
 * deleted can be found by its path only if it is called so.
 */
export function pathBytes({ path, deleted }: MappedFile): Buffer {
  const full = deleted ? `${path}${deletedMark}` : path;
  return Buffer.from(full.replaceAll('\\012', '\n'), 'latin1');
}

/** Whether a `text` is that of the vDSO. */
export function isVdso(text: string): boolean {
  return text.endsWith(vdsoSuffix) && !text.includes('/');
}

// device, inode and path, if the mapping has a file (inode 0 is anonymous memory) or is the vDSO. The blanks before the
// path depend on the width of the addresses, so they are no part of the text.
function fileText(bytes: Buffer, permissionsAt: number, end: number): string | undefined {
  const deviceAt = fieldAfter(bytes, fieldAfter(bytes, permissionsAt, end), end);
  const inodeAt = fieldAfter(bytes, deviceAt, end);
  let pathAt = fieldAfter(bytes, inodeAt, end);
  if (pathAt >= end) return undefined;
  const file = bytes.toString('latin1', deviceAt, pathAt - 1);
  while (bytes[pathAt] === space && pathAt < end) pathAt++;
  const path = bytes.toString('latin1', pathAt, end);
  return (path.startsWith('/') && !file.endsWith(' 0')) || path === vdsoName ? `${file} ${path}` : undefined;
}

/** Where the field after the one at `from` starts; `end` if there is none. */
function fieldAfter(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && bytes[at] !== space) at++;
  return Math.min(at + 1, end);
}

function hexAt(bytes: Buffer, from: number, to: number): string {
  const text = bytes.toString('latin1', from, Math.max(from, to));
  return text.replace(/^0+(?=.)/, '');
}
