// Opens an ELF file together with the files that belong to it, as they lie on this host: its separate debug file, the
// file that dwz moved shared entries to, split DWARF. Found by build ID first, since a name proves nothing.
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import {
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
import type { CompanionImages, SplitUnitName } from '@symkeep/symbols';

/** Where distributions install debug files. */
const debugDirectory = '/usr/lib/debug';

export interface OpenedElf {
  /** The executable, with the sections of its debug file if that is a separate one. */
  readonly image: ElfImage;
  readonly companions: CompanionImages;
  /** The separate debug file, if there is one. */
  readonly debugFile: string | undefined;
  /** Files that were opened, the one asked for first. */
  readonly files: readonly string[];
  close(): void;
}

/** Throws `ElfError` when `path` is no ELF file, and what the file system throws. Companions that do not fit are left out. */
export function openElfFile(path: string): OpenedElf {
  const files = new Files();
  const own = files.open(path);
  const debug = debugFileOf(files, path, own);
  const image = debug === undefined ? own.image : combineImages(own.image, debug.image);
  const alternate = alternateOf(files, image);
  const split = (unit: SplitUnitName) => splitUnit(files, files.paths.slice(0, 2), unit);
  const packed = files.paths.map((file) => `${file}.dwp`).find((file) => existsSync(file));
  return {
    image,
    companions: { alternate, split, package: packed === undefined ? undefined : files.open(packed).image },
    debugFile: debug?.path,
    files: files.paths,
    close: () => files.close(),
  };
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
    const descriptor = openSync(path, 'r');
    this.#descriptors.push(descriptor);
    this.paths.push(path);
    const source = fileSource(fstatSync(descriptor).size, (buffer, offset) => {
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

function alternateOf(files: Files, image: ElfImage): ElfImage | undefined {
  const link = altLinkOf(image);
  if (link === undefined) return undefined;
  const nearby = files.paths.map((path) => resolve(dirname(path), link.path));
  const paths = [...nearby, buildIdPath(link.buildId), join(debugDirectory, '.dwz', basename(link.path))];
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
