// The live executables of this host: what its processes run code from now, by content. Many files may be one executable
// (every container has its own copy of a library); it lives as long as one of them does.
import {
  compareNames,
  type ExecutableId,
  type ExecutableRecord,
  mergeRecords,
  type ReportedExecutable,
  recordOf,
} from '@symkeep/protocol';
import type { LiveFile, Pass } from './discovery/live-file.ts';

/** As many as discovery keeps; some 700 bytes each. */
export const executablesMax = 32_768;

export interface LiveExecutable {
  /** Its htlhash and GNU build ID: what tells contents apart. */
  readonly key: string;
  /** As it is to be reported; its name is the best of those under which it was seen while it lived. */
  executable: ReportedExecutable;
  files: number;
}

export interface InventoryChange {
  /** New, or under a better name. */
  readonly appeared: readonly LiveExecutable[];
  readonly vanished: readonly LiveExecutable[];
}

export class Inventory {
  readonly #executables = new Map<string, LiveExecutable>();
  readonly #byFile = new Map<string, LiveExecutable>();
  readonly #byId = new Map<ExecutableId, LiveExecutable[]>();
  readonly #executablesMax: number;
  /** Files beyond the bound: not reported, not answered. */
  dropped = 0;

  constructor(max = executablesMax) {
    this.#executablesMax = max;
  }

  get size(): number {
    return this.#executables.size;
  }

  values(): Iterable<LiveExecutable> {
    return this.#executables.values();
  }

  /** Identity and executable of every live file, for the snapshot. */
  *files(): Generator<readonly [identity: string, live: LiveExecutable]> {
    yield* this.#byFile;
  }

  apply({ appeared, vanished }: Pick<Pass, 'appeared' | 'vanished'>): InventoryChange {
    const added = new Set<LiveExecutable>();
    for (const file of appeared) {
      const live = this.#add(file);
      if (live !== undefined) added.add(live);
    }
    // After what came, so that an executable whose only file was replaced by a copy has not vanished.
    const removed = vanished.flatMap((file) => this.#remove(file));
    return { appeared: [...added], vanished: removed };
  }

  /** Every live executable with the identities of its files. */
  snapshot(): { executable: ReportedExecutable; files: string[] }[] {
    const files = new Map<LiveExecutable, string[]>();
    for (const [identity, live] of this.#byFile) {
      const known = files.get(live);
      if (known === undefined) files.set(live, [identity]);
      else known.push(identity);
    }
    return [...files].map(([{ executable }, identities]) => ({ executable, files: identities }));
  }

  /** The live executables that carry this ID: more than one if it does not tell their files apart. */
  find(id: ExecutableId): readonly LiveExecutable[] {
    return this.#byId.get(id) ?? [];
  }

  /** What this host alone can say of an ID. `wallMs` stands in for the times that only the store knows. */
  recordOf(id: ExecutableId, wallMs: number): ExecutableRecord | undefined {
    const [first, ...others] = this.find(id).map(({ executable }) => recordOf(executable, wallMs));
    if (first === undefined) return undefined;
    const merged = others
      .filter((other) => other.id === first.id)
      .reduce((record, other) => mergeRecords(record, other), first);
    // Generation 0 is none of the store's: whatever the store says later is news.
    return { ...merged, version: 0, generation: 0 };
  }

  #add({ identity, executable }: LiveFile): LiveExecutable | undefined {
    const key = keyOf(executable);
    const known = this.#executables.get(key);
    const live = known ?? this.#create(key, executable);
    if (live === undefined) {
      this.dropped++;
      return undefined;
    }
    if (this.#byFile.get(identity) !== live) live.files++;
    this.#byFile.set(identity, live);
    if (known === undefined) return live;
    if (compareNames(executable.name, live.executable.name) >= 0) return undefined;
    live.executable = { ...live.executable, name: executable.name };
    return live;
  }

  #create(key: string, executable: ReportedExecutable): LiveExecutable | undefined {
    if (this.#executables.size >= this.#executablesMax) return undefined;
    const live = { key, executable, files: 0 };
    this.#executables.set(key, live);
    for (const id of idsOf(executable)) this.#byId.set(id, [...this.find(id), live]);
    return live;
  }

  #remove({ identity }: LiveFile): LiveExecutable[] {
    const live = this.#byFile.get(identity);
    if (live === undefined) return [];
    this.#byFile.delete(identity);
    if (--live.files > 0) return [];
    this.#executables.delete(live.key);
    for (const id of idsOf(live.executable)) this.#unlink(id, live);
    return [live];
  }

  #unlink(id: ExecutableId, live: LiveExecutable): void {
    const others = this.find(id).filter((other) => other !== live);
    if (others.length === 0) this.#byId.delete(id);
    else this.#byId.set(id, others);
  }
}

export function keyOf({ ids }: ReportedExecutable): string {
  return `${ids.htlhash} ${ids.gnu ?? ''}`;
}

function idsOf({ ids }: ReportedExecutable): ExecutableId[] {
  return [ids.htlhash, ids.gnu, ids.go].filter((id) => id !== undefined);
}
