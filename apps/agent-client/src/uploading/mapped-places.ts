// Where the live files with given identities can be reached now: through a process that maps them, whose root is where to
// look for what belongs to them. Looked for only when a file is asked for, so a pass keeps no paths.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type HostFiles, identityOf, type Path, readSmallFile } from '../discovery/host-files.ts';
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

/** Places of files with these identities, one per process that maps one. */
export async function* mappedPlaces(
  files: HostFiles,
  proc: string,
  identities: ReadonlySet<string>,
): AsyncGenerator<MappedPlace> {
  let looked = 0;
  for (const pid of files.list(proc)) {
    if (!/^\d+$/.test(pid)) continue;
    if (++looked % processesPerTurn === 0) await nextTurn();
    yield* placesIn(files, `${proc}/${pid}`, identities);
  }
}

function placesIn(files: HostFiles, directory: string, identities: ReadonlySet<string>): MappedPlace[] {
  const places: MappedPlace[] = [];
  attempt(() => {
    const maps = readSmallFile(files, `${directory}/maps`, mapsBytesMax);
    forEachCodeMapping(maps, maps.length, (text, lineAt) => {
      if (isVdso(text) || places.length > 0) return;
      const mapped = parseMappedFile(text);
      const path = pathOf(files, directory, mapped, rangeOf(maps, lineAt), identities);
      const name = Buffer.from(mapped.path, 'latin1').toString();
      if (path !== undefined) places.push({ path, root: `${directory}/root`, name });
    });
  });
  return places;
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
