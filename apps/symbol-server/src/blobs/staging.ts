// Files on their way into a blob store: written here first, so that what a crash leaves is never taken for a blob.
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@symkeep/cache';

export class Staging {
  readonly directory: string;
  readonly #clock: Clock;

  constructor(directory: string, clock: Clock) {
    this.directory = directory;
    this.#clock = clock;
  }

  /** A path at which nothing is yet. */
  async path(): Promise<string> {
    await mkdir(this.directory, { recursive: true });
    return join(this.directory, randomUUID());
  }

  /** Removes files older than `olderThanMs`; returns how many. */
  async sweep(olderThanMs: number): Promise<number> {
    const before = this.#clock.wall() - olderThanMs;
    let removed = 0;
    for (const name of await namesIn(this.directory)) {
      const path = join(this.directory, name);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
      if (mtimeMs > before) continue;
      await rm(path, { force: true });
      removed++;
    }
    return removed;
  }
}

/** Names in a directory; none if there is no such directory. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
