// The programs and libraries of the machine that runs the tests, against its readelf.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  type ByteSource,
  bytesSource,
  fileSource,
  htlhashOf,
  type Identity,
  identify,
  isElf,
  parseNotes,
} from '../src/index.ts';
import { parseReadelf } from './readelf.ts';

const filesMax = Number(process.env.HOST_FILES ?? 300);
const folders = ['/usr/bin', '/usr/lib'].filter((folder) => existsSync(folder));
const hasReadelf = spawnSync('readelf', ['--version']).status === 0;

function withFile<T>(path: string, use: (source: ByteSource) => T): T {
  const fd = openSync(path, 'r');
  try {
    return use(
      fileSource(fstatSync(fd).size, (buffer, offset) => readSync(fd, buffer, 0, buffer.length, offset)),
    );
  } finally {
    closeSync(fd);
  }
}

function* elfFilesUnder(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* elfFilesUnder(path);
    else if (
      entry.isFile() &&
      lstatSync(path).size >= 64 &&
      withFile(path, (source) => isElf(source.read(0, 4)))
    )
      yield path;
  }
}

function someFiles(): string[] {
  const all = folders.flatMap((folder) => [...elfFilesUnder(folder)]);
  const step = Math.max(1, all.length / filesMax);
  return Array.from({ length: Math.min(filesMax, all.length) }, (_, index) => all[Math.floor(index * step)]!);
}

function readelf(paths: string[]): Map<string, string> {
  const text = execFileSync('readelf', ['-h', '-l', '-n', '-W', ...paths], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const parts = text.split(/^File: (.*)$/m).slice(1);
  return new Map(
    Array.from({ length: parts.length / 2 }, (_, index) => [parts[2 * index]!, parts[2 * index + 1]!]),
  );
}

/** What readelf and we must agree on. */
function summaryOf({ class: bits, byteOrder, type, gnu, go, load, rejected }: Identity) {
  const ids = [gnu, go, ...rejected.map(({ value }) => value)].filter((value) => value !== undefined);
  return { class: bits, byteOrder, type, ids: ids.sort(), load };
}

it.skipIf(!hasReadelf || folders.length === 0)(
  `agrees with readelf on ${filesMax} files of this machine`,
  () => {
    const paths = someFiles();
    expect(paths.length).toBeGreaterThan(0);
    const theirs = readelf([...paths, paths[0]!]);
    for (const path of paths) {
      const facts = parseReadelf(theirs.get(path)!);
      const executable = facts.segments.filter(({ type, flags }) => type === 'LOAD' && flags.includes('E'));
      const identity = withFile(path, identify);
      expect({ path, ...summaryOf(identity) }).toEqual({
        path,
        class: facts.class,
        byteOrder: facts.byteOrder,
        type: facts.type,
        ids: [...facts.gnu, ...facts.go].sort(),
        load: executable.map(({ address, memorySize }) => [address, memorySize]),
      });
      expect(identity.htlhash).toBe(withFile(path, htlhashOf));
    }
  },
);

const vdsoLine = existsSync('/proc/self/maps')
  ? /^(\w+)-(\w+) .*\[vdso\]$/m.exec(readFileSync('/proc/self/maps', 'utf8'))
  : null;

it.skipIf(vdsoLine === null)('the vDSO, which is in the memory of a process only', () => {
  const [start, end] = [BigInt(`0x${vdsoLine![1]}`), BigInt(`0x${vdsoLine![2]}`)];
  const bytes = Buffer.alloc(Number(end - start));
  const fd = openSync('/proc/self/mem', 'r');
  readSync(fd, bytes, 0, bytes.length, start);
  closeSync(fd);
  const { gnu, type, load, damage } = identify(bytesSource(bytes));
  expect({ type, damage, segments: load.length }).toEqual({ type: 'dyn', damage: [], segments: 1 });
  expect(gnu ?? '').toMatch(/^([0-9a-f]{40})?$/);
});

const kernelNotes = '/sys/kernel/notes';

it.skipIf(!existsSync(kernelNotes))('the notes of the kernel', () => {
  const notes = parseNotes(readFileSync(kernelNotes), new Uint8Array(Uint16Array.of(1).buffer)[0] === 1);
  const ids = notes.filter(({ name, type }) => name === 'GNU' && type === 3);
  expect(ids.map(({ desc }) => desc.length)).toEqual([20]);
});
