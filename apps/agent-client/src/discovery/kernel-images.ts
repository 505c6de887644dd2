// The kernel and its modules as /sys shows them. A module that was read is not read again while its note is the same
// file of sysfs: loading another build makes another one.

import type { ReportedExecutable } from '@symkeep/protocol';
import { type HostFiles, identityOf } from './host-files.ts';
import { readKernel, readModule } from './image-reader.ts';
import { type ProblemCounts, problemOf } from './live-file.ts';

export interface KernelImage {
  readonly identity: string;
  readonly executable: ReportedExecutable;
}

export class KernelImages {
  readonly #files: HostFiles;
  readonly #sys: string;
  #kernel: KernelImage | undefined;
  #modules = new Map<string, KernelImage | undefined>();

  constructor(files: HostFiles, sys: string) {
    this.#files = files;
    this.#sys = sys;
  }

  /** The kernel and the modules loaded now. What cannot be read is counted. */
  read(counts: ProblemCounts): KernelImage[] {
    this.#kernel ??= counting(counts, () => this.#readKernel());
    const modules = new Map<string, KernelImage | undefined>();
    for (const name of counting(counts, () => this.#files.list(`${this.#sys}/module`)) ?? []) {
      const path = `${this.#sys}/module/${name}/notes/.note.gnu.build-id`;
      const identity = this.#identityOf(path, name);
      if (identity === undefined) continue;
      const known = this.#modules.has(identity)
        ? this.#modules.get(identity)
        : counting(counts, () => this.#readModule(identity, path, name));
      modules.set(identity, known);
    }
    this.#modules = modules;
    return [this.#kernel, ...modules.values()].filter((image) => image !== undefined);
  }

  #readKernel(): KernelImage | undefined {
    const executable = readKernel(this.#files, this.#sys);
    return executable === undefined ? undefined : { identity: 'kernel', executable };
  }

  #readModule(identity: string, path: string, name: string): KernelImage | undefined {
    const executable = readModule(this.#files, path, name);
    return executable === undefined ? undefined : { identity, executable };
  }

  // Parts of the kernel that were built in are listed as modules as well, without notes.
  #identityOf(path: string, name: string): string | undefined {
    try {
      return `module:${name}:${identityOf(this.#files.stat(path))}`;
    } catch (error) {
      problemOf(error);
      return undefined;
    }
  }
}

function counting<T>(counts: ProblemCounts, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const problem = problemOf(error);
    if (problem !== 'vanished') counts[problem]++;
    return undefined;
  }
}
