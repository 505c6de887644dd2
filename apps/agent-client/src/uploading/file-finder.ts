// Finds the file that the server asks for: the mapped file itself, or better, the debug file that belongs to it, in the root of
// a process that maps it. Where debuggers look (gdb, "Debugging Information in Separate Files"):
//
//     /usr/lib/debug/.build-id/xx/yyyy.debug         by build ID
//     <dir>/<link>, <dir>/.debug/<link>, /usr/lib/debug/<dir>/<link>      by .gnu_debuglink, whose CRC must be right
//
// Whatever is found counts only if its own IDs are the ones that were asked for.
import { dirname } from 'node:path';
import { altLinkOf, debugLinkOf, ElfError, type ElfImage, symbolTableIn } from '@symkeep/elf';
import { type ExecutableId, kindOf, qualityRank, rawIdOf } from '@symkeep/protocol';
import type { HostFiles } from '../discovery/host-files.ts';
import { type MappedPlace, mappedPlaces } from './mapped-places.ts';
import { pathInRoot } from './path-in-root.ts';
import { SendableFile } from './sendable-file.ts';

/** Processes in whose roots a file is looked for: a debug package is in few of them or in all. */
const placesMax = 8;
const debugDirectory = '/usr/lib/debug';

export interface FileSearch {
  readonly id: ExecutableId;
  /** The executable that refers to the file, if that is one shared by several (dwz). */
  readonly of?: ExecutableId | undefined;
  /** Of the live files of the executable. */
  readonly identities: ReadonlySet<string>;
  readonly bytesMax: number;
}

export interface FileFinder {
  /** Open files, the best first, to be closed by the caller; none if this host has nothing that says a name. */
  find(search: FileSearch, signal: AbortSignal): Promise<SendableFile[]>;
}

export class HostFileFinder implements FileFinder {
  readonly #files: HostFiles;
  readonly #proc: string;

  constructor(files: HostFiles, proc: string) {
    this.#files = files;
    this.#proc = proc;
  }

  async find(search: FileSearch, signal: AbortSignal): Promise<SendableFile[]> {
    let best: SendableFile[] = [];
    let looked = 0;
    for await (const place of mappedPlaces(this.#files, this.#proc, search.identities, signal)) {
      const { of } = search;
      const found =
        of === undefined ? await this.#own(place, search, signal) : this.#shared(place, of, search);
      const [better, worse] = rankOf(found) > rankOf(best) ? [found, best] : [best, found];
      for (const file of worse) file.close();
      best = better;
      if (rankOf(best) === qualityRank('dwarf') || ++looked === placesMax) break;
    }
    return best;
  }

  // A debug file has all that its executable can say, unless its own symbol table was left out of it.
  async #own(place: MappedPlace, search: FileSearch, signal: AbortSignal): Promise<SendableFile[]> {
    const mapped = this.#open(place.path, search);
    if (mapped?.quality === 'dwarf') return [mapped];
    const debug = await this.#debugOf(place, mapped?.image, search, signal);
    const isEnough = debug?.quality === 'dwarf' && symbolTableIn(debug.image, 'symtab') !== undefined;
    if (isEnough) mapped?.close();
    const found = (isEnough ? [debug] : [debug, mapped]).filter((file) => file !== undefined);
    for (const file of found) if (!saysNames(file)) file.close();
    return found.filter(saysNames);
  }

  async #debugOf(
    place: MappedPlace,
    image: ElfImage | undefined,
    search: FileSearch,
    signal: AbortSignal,
  ): Promise<SendableFile | undefined> {
    // Only a build ID ties a debug file to its executable; a hash is of one file alone.
    if (kindOf(search.id) !== 'gnu') return undefined;
    const byId = this.#openIn(place.root, pathOfBuildId(search.id), search);
    if (byId !== undefined) return byId;
    const link = image && attempt(() => debugLinkOf(image));
    if (link === undefined || link.fileName.includes('/')) return undefined;
    const directory = dirname(place.name);
    for (const from of [directory, `${directory}/.debug`, `${debugDirectory}${directory}`]) {
      const file = this.#openIn(place.root, `${from}/${link.fileName}`, search);
      if (file === undefined) continue;
      if ((await file.hashes(signal)).crc32 === link.crc32) return file;
      file.close();
    }
    return undefined;
  }

  /** The file that a live executable, or its debug file, refers to. */
  #shared({ path, root, name }: MappedPlace, of: ExecutableId, search: FileSearch): SendableFile[] {
    const byId = this.#openIn(root, pathOfBuildId(search.id), search);
    if (byId !== undefined) return [byId];
    const referring = { ...search, id: of };
    const debugPath = pathOfBuildId(of);
    for (const [file, directory] of [
      [this.#open(path, referring), dirname(name)],
      [this.#openIn(root, debugPath, referring), dirname(debugPath)],
    ] as const) {
      const link = file && attempt(() => altLinkOf(file.image));
      file?.close();
      if (link === undefined) continue;
      const at = link.path.startsWith('/') ? link.path : `${directory}/${link.path}`;
      const found = this.#openIn(root, at, search);
      if (found !== undefined) return [found];
    }
    return [];
  }

  #open(path: MappedPlace['path'], { id, bytesMax }: FileSearch): SendableFile | undefined {
    return SendableFile.open(this.#files, path, id, bytesMax);
  }

  #openIn(root: string, path: string, search: FileSearch): SendableFile | undefined {
    const resolved = pathInRoot(this.#files, root, path);
    return resolved === undefined ? undefined : this.#open(resolved, search);
  }
}

function pathOfBuildId(id: ExecutableId): string {
  const hex = rawIdOf(id);
  return `${debugDirectory}/.build-id/${hex.slice(0, 2)}/${hex.slice(2)}.debug`;
}

function saysNames({ quality }: SendableFile): boolean {
  return quality !== 'none';
}

function rankOf([best]: readonly SendableFile[]): number {
  return best === undefined ? -1 : qualityRank(best.quality);
}

/** What is broken in a file is as good as not there. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ElfError) return undefined;
    throw error;
  }
}
