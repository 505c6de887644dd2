// ELF files under some paths. Links are not followed, so a walk never leaves what it was given, and a file is met once.
import { type Dirent, lstatSync, realpathSync, statSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isElf } from '@symkeep/elf';

export interface FoundFile {
  readonly path: string;
  readonly bytes: number;
}

export interface Walk {
  readonly files: readonly FoundFile[];
  /** What could not be read, a line each. */
  readonly unreadable: readonly string[];
}

/** Throws if one of the paths is not there. */
export async function findElfFiles(paths: readonly string[]): Promise<Walk> {
  const walk = new ElfWalk();
  for (const path of paths) {
    if (statSync(path).isDirectory()) await walk.directory(realpathSync(path), path);
    else await walk.file(path);
  }
  return walk;
}

class ElfWalk implements Walk {
  readonly files: FoundFile[] = [];
  readonly unreadable: string[] = [];
  readonly #met = new Set<string>();

  async directory(real: string, shown: string): Promise<void> {
    const entries = await this.#attempt(shown, () => readdir(real, { withFileTypes: true }));
    for (const entry of (entries ?? []).sort(byName)) {
      const path = join(shown, entry.name);
      if (entry.isDirectory()) await this.directory(join(real, entry.name), path);
      else if (entry.isFile()) await this.file(path);
    }
  }

  async file(path: string): Promise<void> {
    await this.#attempt(path, async () => {
      await using file = await open(path, 'r');
      const { dev, ino, size } = await file.stat();
      if (this.#met.has(`${dev}:${ino}`)) return;
      const head = Buffer.alloc(4);
      const { bytesRead } = await file.read(head, 0, 4, 0);
      if (bytesRead < 4 || !isElf(head)) return;
      this.#met.add(`${dev}:${ino}`);
      this.files.push({ path, bytes: size });
    });
  }

  async #attempt<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.unreadable.push(`${path}: ${(error as Error).message}`);
      return undefined;
    }
  }
}

function byName(a: Dirent, b: Dirent): number {
  return a.name < b.name ? -1 : 1;
}

/** What is wrong with a path given on the command line; undefined if it is there. */
export function missingPath(path: string): string | undefined {
  try {
    lstatSync(path);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? `${path}: there is no such file or directory` : `${path}: ${code}`;
  }
}
