// Opens an ELF file together with the files that belong to it: its separate debug file, the file that dwz moved shared
// entries to, split DWARF. They are given, or looked for as they lie on this host, by build ID first, since a name proves
// nothing.
import { closeSync, constants, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import {
  type AltLink,
  altLinkOf,
  type ByteSource,
  combineImages,
  crc32Of,
  debugLinkOf,
  ElfError,
  type ElfImage,
  fileSource,
  identify,
  openElf,
} from '@symkeep/elf';
import { type ExecutableId, gnuId, htlhashId } from '@symkeep/protocol';
import type { CompanionImages, SplitUnitName } from '@symkeep/symbols';

/** Where distributions install debug files. */
const debugDirectory = '/usr/lib/debug';

/** What to open. */
export interface ElfFiles {
  /** The executable; its debug file will do where that is all there is. */
  readonly executable: string;
  /** Its separate debug file; that it belongs there is for who gives it to know. */
  readonly debug?: string | undefined;
  /** The file that `.gnu_debugaltlink` names; used if it has that build ID. */
  readonly alternate?: string | undefined;
  /**
   * Look beside the file, and where distributions install debug files, for what is not given. Never for files of
   * strangers: they name what is looked for.
   */
  readonly search: boolean;
}

export interface OpenedElf {
  /** The executable, with the sections of its debug file if that is a separate one. */
  readonly image: ElfImage;
  readonly companions: CompanionImages;
  /** The separate debug file, if there is one. */
  readonly debugFile: string | undefined;
  /** Files that were opened, the one asked for first. */
  readonly files: readonly string[];
  /** GNU build ID of the file that `.gnu_debugaltlink` names, if that was not there. */
  readonly missingAlternate: string | undefined;
  close(): void;
}

/** Throws `ElfError` when the executable is none, and what the file system throws. Companions that do not fit are left out. */
export function openElfFile(asked: ElfFiles): OpenedElf {
  const files = new Files();
  try {
    return openWith(files, asked);
  } catch (error) {
    files.close();
    throw error;
  }
}

function openWith(files: Files, { executable, debug: given, alternate, search }: ElfFiles): OpenedElf {
  const own = files.open(executable);
  const found = search ? debugFileOf(files, executable, own) : undefined;
  const debug = given === undefined ? found : files.open(given);
  const image = debug === undefined ? own.image : combineImages(own.image, debug.image);
  const link = altLinkOf(image);
  const alternateImage = link && alternateOf(files, link, { alternate, search });
  const split = (unit: SplitUnitName) => splitUnit(files, files.paths.slice(0, 2), unit);
  const packed = files.paths.map((file) => `${file}.dwp`).find((file) => search && existsSync(file));
  return {
    image,
    companions: {
      alternate: alternateImage,
      ...(search ? { split } : {}),
      package: packed === undefined ? undefined : files.open(packed).image,
    },
    debugFile: debug?.path,
    files: files.paths,
    missingAlternate: alternateImage === undefined ? link?.buildId : undefined,
    close: () => files.close(),
  };
}

/** The canonical ID of a file, read from its bytes. Throws as `openElfFile`. */
export function executableIdOf(path: string): ExecutableId {
  const files = new Files();
  try {
    const { gnu, htlhash } = identify(files.open(path).source);
    return gnu === undefined ? htlhashId(htlhash) : gnuId(gnu);
  } finally {
    files.close();
  }
}

interface OpenFile {
  readonly path: string;
  readonly source: ByteSource;
  readonly image: ElfImage;
}

class Files {
  readonly paths: string[] = [];
  readonly #descriptors: number[] = [];

  open(path: string): OpenFile {
    // A pipe or a device could be waited for without end.
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.#descriptors.push(descriptor);
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw new ElfError('not_elf', path, 'is not a regular file');
    this.paths.push(path);
    const source = fileSource(stat.size, (buffer, offset) => {
      return readSync(descriptor, buffer, 0, buffer.length, offset);
    });
    return { path, source, image: openElf(source) };
  }

  /** The first of `paths` that exists, is an ELF file and fits. */
  find(paths: readonly string[], fits: (file: OpenFile) => boolean): OpenFile | undefined {
    for (const path of paths) {
      if (this.paths.includes(path) || !existsSync(path)) continue;
      const file = this.#tryOpen(path);
      if (file !== undefined && fits(file)) return file;
    }
    return undefined;
  }

  #tryOpen(path: string): OpenFile | undefined {
    try {
      return this.open(path);
    } catch (error) {
      if (error instanceof ElfError) return undefined;
      throw error;
    }
  }

  close(): void {
    for (const descriptor of this.#descriptors.splice(0)) closeSync(descriptor);
  }
}

function debugFileOf(files: Files, path: string, own: OpenFile): OpenFile | undefined {
  if (own.image.section('.debug_info') !== undefined) return undefined;
  const { gnu } = identify(own.source);
  const link = debugLinkOf(own.image);
  const byId = gnu === undefined ? [] : [buildIdPath(gnu)];
  const directory = resolve(dirname(path));
  const byName =
    link === undefined
      ? []
      : [directory, join(directory, '.debug'), join(debugDirectory, directory)].map((place) =>
          join(place, link.fileName),
        );
  return (
    files.find(byId, ({ source }) => identify(source).gnu === gnu) ??
    files.find(byName, ({ source }) => crc32Of(source) === link?.crc32)
  );
}

function buildIdPath(gnu: string): string {
  return join(debugDirectory, '.build-id', gnu.slice(0, 2), `${gnu.slice(2)}.debug`);
}

function alternateOf(
  files: Files,
  link: AltLink,
  { alternate, search }: Pick<ElfFiles, 'alternate' | 'search'>,
): ElfImage | undefined {
  const nearby = files.paths.map((path) => resolve(dirname(path), link.path));
  const installed = [buildIdPath(link.buildId), join(debugDirectory, '.dwz', basename(link.path))];
  const paths = [
    ...(alternate === undefined ? [] : [alternate]),
    ...(search ? [...nearby, ...installed] : []),
  ];
  return files.find(paths, ({ source }) => identify(source).gnu === link.buildId)?.image;
}

/** The reader checks the unit's own ID; here only the name counts. */
function splitUnit(files: Files, near: readonly string[], unit: SplitUnitName): ElfImage | undefined {
  const places = near.flatMap((path) => [
    resolve(dirname(path), unit.name),
    resolve(dirname(path), basename(unit.name)),
  ]);
  return files.find([resolve(unit.directory, unit.name), ...places], () => true)?.image;
}
