// Finds every file that a process of this host runs code from, in passes over /proc. A thousand processes share a few
// hundred files, so the work of a pass is one read of maps per process and one stat per file; a file is opened only when
// its identity has not been seen before.
//
//     line of maps ──► Mapping ──stat──► identity ──► KnownFile (opened once) ──► LiveFile
//
// A mapping is reached through /proc/<pid>/map_files/<range>, which leads to the mapped file itself even if it was
// deleted or stands in another mount namespace. Without the rights for that, its path under /proc/<pid>/root serves, if
// it still leads to the same inode.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FileTable, type KnownFile, noProcess } from './file-table.ts';
import { deviceTextOf, type FileStat, type HostFiles, identityOf, type Path } from './host-files.ts';
import { readImage, readVdso } from './image-reader.ts';
import { KernelImages } from './kernel-images.ts';
import {
  type LiveFile,
  noProblems,
  type Pass,
  type Problem,
  type ProblemCounts,
  problemOf,
} from './live-file.ts';
import {
  addressesOf,
  forEachCodeMapping,
  isVdso,
  type MappedFile,
  parseMappedFile,
  pathBytes,
  rangeOf,
} from './memory-map.ts';

/** Mappings told apart: a file under several paths is several. */
export const mappingsMax = 131_072;
/** A mapped file that one process does not let us read, another may. */
const attemptsMax = 8;
/** Processes between two pauses, in which the agent answers its readers: about 2 ms. */
const processesPerTurn = 32;
/** Read from maps at a time; the kernel gives a page. A line is at most a path of 4,096 bytes and 100 more. */
const mapsBufferBytes = 16_384;

interface Mapping {
  pass: number;
  attempts: number;
  /** Looked at in this pass, so the next process that has it only counts. */
  settled: boolean;
  file: KnownFile | undefined;
  problem: Problem | undefined;
}

interface Process {
  readonly id: number;
  readonly directory: string;
}

export interface HostPlaces {
  readonly files: HostFiles;
  /** Where the host's /proc and /sys are. */
  readonly proc: string;
  readonly sys: string;
}

export class ProcessScanner {
  readonly #places: HostPlaces;
  readonly #kernelImages: KernelImages;
  readonly #table = new FileTable();
  readonly #mappings = new Map<string, Mapping>();
  /**
   * Texts of maps that do not name one file: what `stat` says is another device, so the same device and inode stand for
   * other files elsewhere (btrfs, overlayfs). Their mappings are told apart by mount namespace.
   */
  readonly #perNamespace = new Set<string>();
  readonly #buffer = Buffer.allocUnsafeSlow(mapsBufferBytes);
  #problems: ProblemCounts = noProblems();
  #mapFilesDenied = false;
  #filesOpened = 0;

  constructor(places: HostPlaces) {
    this.#places = places;
    this.#kernelImages = new KernelImages(places.files, places.sys);
  }

  /** Since the start: it stands still while nothing new is mapped. */
  get filesOpened(): number {
    return this.#filesOpened;
  }

  /** What is mapped as of the last pass. */
  liveFiles(): Iterable<LiveFile> {
    return this.#table.live();
  }

  /** Takes over what an earlier run has read, so that it is not read again while its identity is the same. */
  remember({ identity, executable }: Pick<LiveFile, 'identity' | 'executable'>): void {
    if (this.#table.find(identity) === undefined) this.#table.set(identity, executable);
  }

  /** One pass over all processes. Fails only if there is no /proc; what cannot be read is counted in `problems`. */
  async scan(): Promise<Pass> {
    const before = process.cpuUsage();
    this.#table.startPass();
    this.#problems = noProblems();
    this.#mapFilesDenied = false;
    let processes = 0;
    for (const name of this.#places.files.list(this.#places.proc)) {
      if (!/^\d+$/.test(name)) continue;
      this.#scanProcess({ id: Number(name), directory: `${this.#places.proc}/${name}` });
      if (++processes % processesPerTurn === 0) await nextTurn();
    }
    for (const { identity, executable } of this.#kernelImages.read(this.#problems)) {
      const file = this.#table.find(identity) ?? this.#table.set(identity, executable);
      if (file !== undefined) this.#table.count(file, noProcess);
    }
    this.#sweepMappings();
    const changes = this.#table.endPass(this.#problems);
    const { user, system } = process.cpuUsage(before);
    return { ...changes, processes, cpuMs: (user + system) / 1_000, problems: this.#problems };
  }

  #scanProcess(process: Process): void {
    try {
      const maps = this.#places.files.open(`${process.directory}/maps`);
      try {
        this.#readMaps(process, (buffer, position) => maps.readAt(buffer, position));
      } finally {
        maps.close();
      }
    } catch (error) {
      this.#problems[problemOf(error)]++;
    }
  }

  // In pieces of whole lines: a process may have 65,530 mappings.
  #readMaps(process: Process, readAt: (buffer: Uint8Array, position: number) => number): void {
    const buffer = this.#buffer;
    const visit = (text: string, lineAt: number) => this.#visit(process, text, lineAt);
    let kept = 0;
    for (let position = 0; ; ) {
      const count = readAt(buffer.subarray(kept), position);
      position += count;
      const length = kept + count;
      const end = count === 0 ? length : buffer.lastIndexOf('\n', length - 1) + 1;
      forEachCodeMapping(buffer, Math.min(end, length), visit);
      if (count === 0) return;
      kept = buffer.copy(buffer, 0, end, length);
      // No line is as long as the buffer; what is, is not maps.
      if (kept === buffer.length) throw Object.assign(new Error('a line without end'), { code: 'EIO' });
    }
  }

  #visit(process: Process, text: string, lineAt: number): void {
    if (isVdso(text)) {
      this.#visitVdso(process, lineAt);
      return;
    }
    const mapping = this.#mappingOf(this.#perNamespace.has(text) ? this.#localText(process, text) : text);
    if (mapping === undefined) {
      this.#problems.over_limit++;
      return;
    }
    if (mapping.settled || mapping.attempts === attemptsMax) this.#count(mapping, process);
    else this.#resolve(mapping, process, text, lineAt);
  }

  /** The mapping, ready for this pass; undefined if it is new and there is no room. */
  #mappingOf(key: string): Mapping | undefined {
    const known = this.#mappings.get(key);
    if (known?.pass === this.#table.pass) return known;
    if (known === undefined && this.#mappings.size >= mappingsMax) return undefined;
    const mapping = known ?? ({} as Mapping);
    Object.assign(mapping, { pass: this.#table.pass, attempts: 0, settled: false, problem: undefined });
    if (known === undefined) this.#mappings.set(key, Object.assign(mapping, { file: undefined }));
    return mapping;
  }

  #count({ file }: Mapping, process: Process): void {
    if (file !== undefined) this.#table.count(file, process.id);
  }

  #resolve(mapping: Mapping, process: Process, text: string, lineAt: number): void {
    mapping.attempts++;
    const mapped = parseMappedFile(text);
    try {
      const { path, stat } = this.#look(process, mapped, rangeOf(this.#buffer, lineAt));
      if (!isSameInode(mapped, stat) && !this.#perNamespace.has(text)) {
        this.#perNamespace.add(text);
        this.#mappings.delete(text);
        this.#visit(process, text, lineAt);
        return;
      }
      mapping.file = this.#fileAt(path, stat, mapped);
      mapping.settled = true;
    } catch (error) {
      mapping.problem = error instanceof Unreachable ? error.problem : problemOf(error);
      // It is mapped still, so what was known of it holds even if it cannot be looked at any more.
      mapping.settled = mapping.file !== undefined;
    }
    this.#count(mapping, process);
  }

  #look(process: Process, mapped: MappedFile, range: string): { path: Path; stat: FileStat } {
    const { files } = this.#places;
    if (!this.#mapFilesDenied) {
      const path = `${process.directory}/map_files/${range}`;
      try {
        return { path, stat: files.stat(path) };
      } catch (error) {
        if (problemOf(error) === 'permission_denied') this.#mapFilesDenied = true;
      }
    }
    const path = Buffer.concat([Buffer.from(`${process.directory}/root`), pathBytes(mapped)]);
    const stat = files.stat(path);
    // Device numbers may differ; a file that took this one's place has another inode.
    if (String(stat.inode) !== mapped.inode) throw new Unreachable('replaced');
    return { path, stat };
  }

  #fileAt(path: Path, stat: FileStat, mapped: MappedFile): KnownFile {
    const known = this.#table.find(identityOf(stat));
    if (known !== undefined) return known;
    const file = stat.regular ? this.#open(path, mapped) : this.#table.set(identityOf(stat), 'not_regular');
    if (file === undefined) throw new Unreachable('over_limit');
    return file;
  }

  #open(path: Path, mapped: MappedFile): KnownFile | undefined {
    this.#filesOpened++;
    const name = Buffer.from(mapped.path, 'latin1').toString();
    const { identity, finding } = readImage(this.#places.files, path, name);
    return this.#table.find(identity) ?? this.#table.set(identity, finding);
  }

  // One image for each word size, the same in every process for as long as the kernel runs.
  #visitVdso(process: Process, lineAt: number): void {
    const range = addressesOf(this.#buffer, lineAt);
    const identity = range.start < 0x1_0000_0000n ? 'vdso:32' : 'vdso:64';
    try {
      const file =
        this.#table.find(identity) ??
        this.#table.set(identity, readVdso(this.#places.files, process.directory, range));
      if (file !== undefined) this.#table.count(file, process.id);
    } catch (error) {
      this.#problems[problemOf(error)]++;
    }
  }

  #localText(process: Process, text: string): string {
    try {
      return `${text}\n${this.#places.files.readLink(`${process.directory}/ns/mnt`)}`;
    } catch (error) {
      problemOf(error);
      return `${text}\nof process ${process.id}`;
    }
  }

  #sweepMappings(): void {
    for (const [key, { pass, file, problem }] of this.#mappings) {
      if (pass !== this.#table.pass) this.#mappings.delete(key);
      else if (file === undefined && problem !== undefined) this.#problems[problem]++;
    }
    // Rather learnt anew than kept for files long gone.
    if (this.#perNamespace.size > mappingsMax) this.#perNamespace.clear();
  }
}

/** The mapped file was not reached, and no error of the system says why. */
class Unreachable extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem);
    this.problem = problem;
  }
}

function isSameInode(mapped: MappedFile, stat: FileStat): boolean {
  return mapped.device === deviceTextOf(stat.device) && mapped.inode === String(stat.inode);
}
