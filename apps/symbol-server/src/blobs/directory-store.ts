// Blobs as files of a directory. A file is written beside, synced and renamed, and then the directory is synced: after a
// crash it is there whole or not at all.
import { createWriteStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '@symkeep/cache';
import { type BlobInfo, type BlobStore, type ByteRange, blobTrouble, checkedKey } from './blob-store.ts';
import { Staging } from './staging.ts';

/** No key starts with a dot. */
const stagingName = '.staging';

export class DirectoryStore implements BlobStore {
  readonly place: string;
  readonly #staging: Staging;
  /** Directories that are known to be there, and to survive a crash. */
  readonly #made = new Set<string>();

  /** The directory is made when the first blob comes. */
  constructor(place: string, clock: Clock) {
    this.place = resolve(place);
    this.#staging = new Staging(join(this.place, stagingName), clock);
  }

  async keepFile(key: string, path: string): Promise<void> {
    const target = this.#pathOf(key);
    await this.#guarded(async () => {
      await syncPath(path);
      await this.#move(path, target);
    });
  }

  async keepBytes(key: string, bytes: Uint8Array): Promise<void> {
    const target = this.#pathOf(key);
    await this.#guarded(async () => {
      const path = await this.#staging.path();
      try {
        await using file = await open(path, 'wx', 0o640);
        await file.writeFile(bytes);
        await file.sync();
        await this.#move(path, target);
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
    });
  }

  async info(key: string): Promise<BlobInfo | null> {
    const path = this.#pathOf(key);
    return this.#guarded(() => absentAsNull(async () => infoOf(key, await stat(path))));
  }

  async read(key: string, range?: ByteRange): Promise<Uint8Array | null> {
    const path = this.#pathOf(key);
    return this.#guarded(() =>
      absentAsNull(async () => {
        await using file = await open(path, 'r');
        if (range === undefined) return file.readFile();
        const { size } = await file.stat();
        return readRange(file, range.start, Math.min(range.end, size));
      }),
    );
  }

  async stream(key: string, range?: ByteRange): Promise<Readable | null> {
    const path = this.#pathOf(key);
    const file = await this.#guarded(() => absentAsNull(() => open(path, 'r')));
    if (file === null) return null;
    // The end is inclusive there, so an empty range has none.
    if (range !== undefined && range.end <= range.start) {
      await file.close();
      return Readable.from([]);
    }
    return file.createReadStream(range === undefined ? {} : { start: range.start, end: range.end - 1 });
  }

  async withFile<T>(key: string, use: (path: string) => Promise<T>): Promise<T | null> {
    return (await this.info(key)) === null ? null : use(this.#pathOf(key));
  }

  async remove(key: string): Promise<void> {
    const path = this.#pathOf(key);
    await this.#guarded(() => rm(path, { force: true }));
  }

  async *list(prefix: string): AsyncGenerator<BlobInfo> {
    yield* this.#walk('', prefix);
  }

  stagingPath(): Promise<string> {
    return this.#guarded(() => this.#staging.path());
  }

  sweep(olderThanMs: number): Promise<number> {
    return this.#guarded(() => this.#staging.sweep(olderThanMs));
  }

  async *#walk(folder: string, prefix: string): AsyncGenerator<BlobInfo> {
    const entries = await this.#guarded(
      async () =>
        (await absentAsNull(() => readdir(join(this.place, folder), { withFileTypes: true }))) ?? [],
    );
    // As keys are ordered: `a.b` before `a/b`.
    const names = entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort();
    for (const name of names) {
      if (name.startsWith('.')) continue;
      if (name.endsWith('/')) {
        if (name.startsWith(prefix) || prefix.startsWith(name)) yield* this.#walk(name, prefix);
      } else if (name.startsWith(prefix)) {
        const info = await this.info(name);
        if (info !== null) yield info;
      }
    }
  }

  // From another disk it is copied, beside the target: a copy that a crash cuts short must not bear its name.
  async #move(path: string, target: string): Promise<void> {
    const folder = dirname(target);
    await this.#ensure(folder);
    try {
      await rename(path, target);
    } catch (error) {
      this.#made.delete(folder);
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      const near = await this.#staging.path();
      await copySynced(path, near);
      await rename(near, target);
      await rm(path, { force: true });
    }
    await syncPath(folder);
  }

  // What is in a directory survives a crash only if the directory itself does.
  async #ensure(folder: string): Promise<void> {
    if (this.#made.has(folder)) return;
    const first = await mkdir(folder, { recursive: true });
    for (let made = folder; first !== undefined && made.length >= first.length; made = dirname(made)) {
      await syncPath(dirname(made));
    }
    this.#made.add(folder);
  }

  #pathOf(key: string): string {
    return join(this.place, checkedKey(key));
  }

  async #guarded<T>(use: () => Promise<T>): Promise<T> {
    try {
      return await use();
    } catch (error) {
      throw blobTrouble(this.place, error);
    }
  }
}

function infoOf(key: string, { size, mtimeMs }: { size: number; mtimeMs: number }): BlobInfo {
  return { key, bytes: size, writtenAt: Math.floor(mtimeMs) };
}

async function absentAsNull<T>(use: () => Promise<T>): Promise<T | null> {
  try {
    return await use();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

async function readRange(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, end - start));
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
  }
  return bytes;
}

async function syncPath(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}

async function copySynced(from: string, to: string): Promise<void> {
  await using source = await open(from, 'r');
  await pipeline(source.createReadStream({ autoClose: false }), createWriteStream(to, { flags: 'wx' }));
  await syncPath(to);
}
