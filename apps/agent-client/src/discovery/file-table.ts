// Files by identity, with what each was found to be: an executable, or why it is none. A file that is no longer mapped
// stays for as long as there is room, since short-lived processes bring the same ones back in the next pass.
import {
  type Finding,
  isExecutable,
  type LiveFile,
  type Pass,
  type Problem,
  type ProblemCounts,
} from './live-file.ts';

/** Files remembered, live or not: a host of 20,000 executables fits, and some 500 bytes each bound the memory. */
export const filesMax = 32_768;
/** Room left for new files at the end of a pass, by forgetting what was not mapped for longest. */
const filesKept = 24_576;
/** What was no ELF file is looked at again after this many passes: it may have been written through a mapping. */
const absencePasses = 20;

/** Who maps the kernel's images: nobody in particular. */
export const noProcess = -1;

export interface KnownFile {
  readonly identity: string;
  readonly finding: Finding;
  /** The last pass that saw it mapped; 0 for none. */
  pass: number;
  /** The last process that was counted for it in that pass. */
  processId: number;
  processes: number;
  /** Pass from which an absence no longer holds. */
  readonly expires: number;
  live: boolean;
}

export class FileTable {
  readonly #files = new Map<string, KnownFile>();
  #pass = 0;

  get pass(): number {
    return this.#pass;
  }

  startPass(): void {
    this.#pass++;
  }

  /** What is known of these bytes, unless that was an absence and is due to be looked at again. */
  find(identity: string): KnownFile | undefined {
    const file = this.#files.get(identity);
    return file !== undefined && (isExecutable(file.finding) || file.expires > this.#pass) ? file : undefined;
  }

  /** Undefined when the table is full. */
  set(identity: string, finding: Finding): KnownFile | undefined {
    const before = this.#files.get(identity);
    if (before === undefined && this.#files.size >= filesMax) return undefined;
    const fresh = { pass: 0, processId: noProcess, processes: 0, live: false };
    const file = { ...(before ?? fresh), identity, finding, expires: this.#pass + absencePasses };
    this.#files.set(identity, file);
    return file;
  }

  /** Counts a process that maps the file. */
  count(file: KnownFile, processId: number): void {
    if (file.pass !== this.#pass) {
      file.pass = this.#pass;
      file.processes = 0;
      file.processId = noProcess;
    }
    if (file.processId === processId) return;
    file.processId = processId;
    file.processes++;
  }

  /** Ends the pass: tells what came and what went, and counts the files that are no executables. */
  endPass(problems: ProblemCounts): Pick<Pass, 'appeared' | 'vanished'> {
    const appeared: LiveFile[] = [];
    const vanished: LiveFile[] = [];
    for (const file of this.#files.values()) {
      const { identity, finding, processes } = file;
      const mapped = file.pass === this.#pass;
      if (!isExecutable(finding)) {
        if (mapped) problems[finding as Problem]++;
      } else if (mapped !== file.live) {
        file.live = mapped;
        (mapped ? appeared : vanished).push({ identity, executable: finding, processes });
      }
    }
    this.#forgetOldest();
    return { appeared, vanished };
  }

  /** What is mapped as of the last pass. */
  *live(): Generator<LiveFile> {
    for (const { identity, finding, processes, live } of this.#files.values()) {
      if (live && isExecutable(finding)) yield { identity, executable: finding, processes };
    }
  }

  #forgetOldest(): void {
    if (this.#files.size <= filesKept) return;
    const idle = [...this.#files.values()].filter(({ live, pass }) => !live && pass !== this.#pass);
    idle.sort((a, b) => a.pass - b.pass);
    for (const { identity } of idle.slice(0, this.#files.size - filesKept)) this.#files.delete(identity);
  }
}
