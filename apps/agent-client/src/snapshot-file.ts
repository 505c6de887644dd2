// Where the snapshot is kept: one file, replaced as a whole, so that a crash leaves the old one or the new one.
import { open, readFile, rename, stat } from 'node:fs/promises';
import { snapshotBytesMax } from './snapshot.ts';

/** A place for one value of bytes. */
export interface SnapshotPlace {
  /** Undefined if there is none yet. */
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
}

export function snapshotFile(path: string): SnapshotPlace {
  return {
    async read() {
      try {
        const { size } = await stat(path);
        if (size > snapshotBytesMax) throw new Error(`${path} has ${size} bytes, more than any snapshot`);
        return await readFile(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    async write(bytes) {
      const next = `${path}.next`;
      const file = await open(next, 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(next, path);
    },
  };
}
