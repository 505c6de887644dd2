// On the processes of this very machine, with readelf to say what is right.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeFiles } from '../../src/discovery/host-files.ts';
import type { LiveFile } from '../../src/discovery/live-file.ts';
import { ProcessScanner } from '../../src/discovery/process-scanner.ts';

const directory = mkdtempSync(join(tmpdir(), 'symkeep-real-'));
const children: ChildProcess[] = [];

function runCopy(name: string): string {
  const path = join(directory, name);
  copyFileSync('/bin/sleep', path);
  // Another file of the same build, so that its htlhash is its own.
  writeFileSync(path, Buffer.from(name), { flag: 'a' });
  const child = spawn(path, ['600'], { stdio: 'ignore' });
  children.push(child);
  return path;
}

function buildIdOf(path: string): string {
  return /Build ID: ([0-9a-f]+)/.exec(execFileSync('readelf', ['-n', path]).toString())![1]!;
}

async function scan(): Promise<LiveFile[]> {
  const scanner = new ProcessScanner({ files: nodeFiles, proc: '/proc', sys: '/sys' });
  await scanner.scan();
  return [...scanner.liveFiles()];
}

let live: LiveFile[];
let kept: string;
let replaced: string;

beforeAll(async () => {
  kept = runCopy('kept');
  replaced = runCopy('replaced');
  await Promise.all(children.map((child) => new Promise((resolve) => child.once('spawn', resolve))));
  const other = join(directory, 'other');
  copyFileSync('/bin/cat', other);
  renameSync(other, replaced);
  live = await scan();
});
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

const named = (name: string) => live.filter(({ executable }) => executable.name === name);

describe('processes of this machine', () => {
  it('finds a running program, with the build ID that readelf gives', () => {
    expect(named(kept)).toMatchObject([
      {
        processes: 1,
        executable: { ids: { gnu: `gnu:${buildIdOf(kept)}` }, size: readFileSync(kept).length },
      },
    ]);
  });

  it.skipIf(process.getuid?.() !== 0)('reads the program that runs, not the one that took its path', () => {
    const found = named(replaced);
    expect(found).toMatchObject([
      { processes: 1, executable: { ids: { gnu: `gnu:${buildIdOf('/bin/sleep')}` } } },
    ]);
    expect(found[0]!.executable.ids.gnu).not.toBe(`gnu:${buildIdOf(replaced)}`);
  });

  it('finds the libraries that this process has mapped', () => {
    const mapped = readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .flatMap((line) => /r-xp .* (\/.*\.so[.\d]*)$/.exec(line)?.[1] ?? []);
    expect(mapped.length).toBeGreaterThan(0);
    for (const path of mapped)
      expect(named(path)).toMatchObject([{ executable: { ids: { gnu: `gnu:${buildIdOf(path)}` } } }]);
  });

  it('gives the vDSO the build ID that readelf finds in a dump of it', () => {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) r-xp .*\[vdso\]$/m.exec(
      readFileSync('/proc/self/maps', 'utf8'),
    )!;
    const image = Buffer.alloc(Number(BigInt(`0x${end}`) - BigInt(`0x${start}`)));
    const memory = openSync('/proc/self/mem', 'r');
    readSync(memory, image, 0, image.length, BigInt(`0x${start}`));
    closeSync(memory);
    const dump = join(directory, 'vdso');
    writeFileSync(dump, image);
    expect(named('linux-vdso.1.so')).toMatchObject([
      { executable: { ids: { gnu: `gnu:${buildIdOf(dump)}` }, size: image.length } },
    ]);
  });

  it('knows the running kernel', () => {
    const hex = readFileSync('/sys/kernel/notes').toString('hex');
    const [kernel] = named('vmlinux');
    expect(hex).toContain(kernel!.executable.ids.gnu!.slice('gnu:'.length));
  });
});
