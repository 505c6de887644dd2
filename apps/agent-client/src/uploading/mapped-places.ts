// Where the live files with given identities can be reached now: through a process that maps them, whose root is where to
// look for what belongs to them. Looked for only when a file is asked for, so a pass keeps no paths.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type HostFiles, identityOf, type Path } from '../discovery/host-files.ts';
import { problemOf } from '../discovery/live-file.ts';
import {
  forEachCodeMapping,
  isVdso,
  type MappedFile,
  parseMappedFile,
  pathBytes,
  rangeOf,
} from '../discovery/memory-map.ts';

/** Of the maps of one process: some ten thousand mappings, as in-memory databases have. */
const mapsBytesMax = 4 * 1024 * 1024;
/** Processes between two pauses in which the agent does other things. */
const processesPerTurn = 8;

export interface MappedPlace {
  /** Leads to the mapped file itself, even if it was deleted. */
  readonly path: Path;
  /** Root of the file system that the process sees. */
  readonly root: string;
  /** Where the file is, or was, in that. */
  readonly name: string;
}

/**
 * Places of files with these identities, one per process that maps one. On some file systems maps show other inodes than
 * `stat` does (overlayfs, btrfs); only if no inode fits is every mapping looked at.
 */
export async function* mappedPlaces(
  files: HostFiles,
  proc: string,
  identities: ReadonlySet<string>,
  signal: AbortSignal,
): AsyncGenerator<MappedPlace> {
  const buffer = Buffer.allocUnsafeSlow(mapsBytesMax);
  const inodes = new Set([...identities].map((identity) => identity.split(':')[1]!));
  for (const mayBe of [({ inode }: MappedFile) => inodes.has(inode), () => true]) {
    let found = false;
    let looked = 0;
    for (const pid of files.list(proc)) {
      if (!/^\d+$/.test(pid)) continue;
      if (++looked % processesPerTurn === 0) await nextTurn();
      signal.throwIfAborted();
      const place = placeIn(files, `${proc}/${pid}`, buffer, mayBe, identities);
      if (place === undefined) continue;
      found = true;
      yield place;
    }
    if (found) return;
  }
}

function placeIn(
  files: HostFiles,
  directory: string,
  buffer: Buffer,
  mayBe: (mapped: MappedFile) => boolean,
  identities: ReadonlySet<string>,
): MappedPlace | undefined {
  let place: MappedPlace | undefined;
  attempt(() => {
    const length = readInto(files, `${directory}/maps`, buffer);
    forEachCodeMapping(buffer, length, (text, lineAt) => {
      if (isVdso(text) || place !== undefined) return;
      const mapped = parseMappedFile(text);
      if (!mayBe(mapped)) return;
      const path = pathOf(files, directory, mapped, rangeOf(buffer, lineAt), identities);
      const name = Buffer.from(mapped.path, 'latin1').toString();
      if (path !== undefined) place = { path, root: `${directory}/root`, name };
    });
  });
  return place;
}

/** Bytes read of a file without a size of its own. */
function readInto(files: HostFiles, path: string, buffer: Buffer): number {
  const file = files.open(path);
  try {
    for (let length = 0; ; ) {
      const count = length === buffer.length ? 0 : file.readAt(buffer.subarray(length), length);
      if (count === 0) return length;
      length += count;
    }
  } finally {
    file.close();
  }
}

function pathOf(
  files: HostFiles,
  directory: string,
  mapped: MappedFile,
  range: string,
  identities: ReadonlySet<string>,
): Path | undefined {
  const ways: Path[] = [
    `${directory}/map_files/${range}`,
    Buffer.concat([Buffer.from(`${directory}/root`), pathBytes(mapped)]),
  ];
  return ways.find((path) => attempt(() => identities.has(identityOf(files.stat(path)))));
}

/** What the system refuses is no place. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    problemOf(error);
    return undefined;
  }
}
