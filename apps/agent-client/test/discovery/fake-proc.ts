// A tree that looks like /proc and /sys, in a temporary folder, and file operations that count and fail as told.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deviceTextOf, type HostFiles, nodeFiles, type Path } from '../../src/discovery/host-files.ts';

export function fixture(name: string): string {
  return fileURLToPath(new URL(`../../../../libs/elf/fixtures/${name}`, import.meta.url));
}

export interface Mapped {
  /** The file that is mapped: map_files leads to it. */
  readonly file: string;
  /** As maps prints it; the file's own path by default. */
  readonly path?: string;
  /** As maps prints them; those of the file by default. */
  readonly device?: string;
  readonly inode?: string;
  readonly permissions?: string;
}

export class FakeProc {
  readonly directory = mkdtempSync(join(tmpdir(), 'symkeep-proc-'));
  readonly proc = join(this.directory, 'proc');
  readonly sys = join(this.directory, 'sys');
  readonly operations: string[] = [];
  /** Error codes by the end of a path. */
  readonly failures = new Map<string, string>();
  #next = 0x5500_0000_0000;

  constructor() {
    mkdirSync(this.proc);
    mkdirSync(join(this.sys, 'module'), { recursive: true });
    mkdirSync(join(this.sys, 'kernel'));
    writeFileSync(join(this.sys, 'kernel/notes'), '');
    for (const name of ['self', 'cpuinfo', 'sys']) writeFileSync(join(this.proc, name), '');
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }

  /** Copies a fixture to a place of this host. */
  install(name: string, to: string): string {
    const path = join(this.directory, to);
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(fixture(name), path);
    return path;
  }

  run(pid: number, mapped: readonly Mapped[], { namespace = 'mnt:[1]', root = '/' } = {}): void {
    const directory = join(this.proc, String(pid));
    mkdirSync(join(directory, 'map_files'), { recursive: true });
    mkdirSync(join(directory, 'ns'));
    symlinkSync(namespace, join(directory, 'ns/mnt'));
    symlinkSync(root, join(directory, 'root'));
    writeFileSync(join(directory, 'maps'), mapped.map((one) => this.#line(directory, one)).join(''));
  }

  end(pid: number): void {
    rmSync(join(this.proc, String(pid)), { recursive: true });
  }

  get files(): HostFiles {
    const around = <T>(operation: string, path: Path, run: () => T): T => {
      this.operations.push(`${operation} ${path}`);
      const failure = [...this.failures].find(([end]) => path.toString().endsWith(end));
      if (failure !== undefined) throw Object.assign(new Error(failure[1]), { code: failure[1] });
      return run();
    };
    return {
      list: (path) => around('list', path, () => nodeFiles.list(path)),
      readLink: (path) => around('link', path, () => nodeFiles.readLink(path)),
      stat: (path) => around('stat', path, () => nodeFiles.stat(path)),
      open: (path) => around('open', path, () => nodeFiles.open(path)),
    };
  }

  /** Operations of a kind on paths that match, since the last call. */
  take(pattern: RegExp): string[] {
    return this.operations.splice(0).filter((operation) => pattern.test(operation));
  }

  #line(directory: string, { file, path = file, device, inode, permissions = 'r-xp' }: Mapped): string {
    const start = this.#next.toString(16);
    this.#next += 0x10_0000;
    const range = `${start}-${this.#next.toString(16)}`;
    symlinkSync(file, join(directory, 'map_files', range));
    const stats = statSync(file, { bigint: true, throwIfNoEntry: false });
    const where = device ?? (stats === undefined ? 'fe:00' : deviceTextOf(stats.dev));
    return `${`${range} ${permissions} 00000000 ${where} ${inode ?? stats?.ino ?? 1} `.padEnd(73)}${path}\n`;
  }
}
