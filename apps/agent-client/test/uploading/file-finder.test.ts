// Which file is found for what is asked: the mapped one, its debug file by ID or link, in the root of the process, and
// never one whose own IDs are others.
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bytesSource, htlhashOf, identify } from '@symkeep/elf';
import { type ExecutableId, gnuId, htlhashId } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityOf } from '../../src/discovery/host-files.ts';
import { HostFileFinder } from '../../src/uploading/file-finder.ts';
import { pathInRoot } from '../../src/uploading/path-in-root.ts';
import { FakeProc, fixture } from '../discovery/fake-proc.ts';

const buildId = '8c9e72df13abdc3cb3ab325156716669a66bdd51';
const id = gnuId(buildId);
const dwzId = gnuId('279bc483650ab122cf33a0619a8dc4972dbbee8e');
const bytesMax = 2 ** 20;
const bytesOf = (name: string): Buffer => readFileSync(fixture(name));

let proc: FakeProc;
let root: string;

beforeEach(() => {
  proc = new FakeProc();
  root = join(proc.directory, 'container');
  mkdirSync(root);
});
afterEach(() => proc.remove());

/** Puts a fixture, or bytes, into the container. */
function put(from: string | Buffer, to: string): string {
  const path = join(root, to);
  mkdirSync(dirname(path), { recursive: true });
  if (typeof from === 'string') copyFileSync(fixture(from), path);
  else writeFileSync(path, from);
  return path;
}

/** A process that maps a file of the container. */
function run(pid: number, file: string): void {
  proc.run(pid, [{ file, path: file.slice(root.length) }], { root });
}

async function find(file: string, more: { id?: ExecutableId; of?: ExecutableId; bytesMax?: number } = {}) {
  const identities = new Set([identityOf(proc.files.stat(file))]);
  const finder = new HostFileFinder(proc.files, proc.proc);
  const signal = new AbortController().signal;
  const found = await finder.find({ id, of: undefined, bytesMax, identities, ...more }, signal);
  return found.map((one) => {
    const bytes = Buffer.concat([...one.parts(1_000)]);
    one.close();
    return { bytes, quality: one.quality };
  });
}

const is = (...names: string[]) =>
  names.map((name) => ({ bytes: bytesOf(name), quality: expect.any(String) }));

describe('for an executable', () => {
  it('is the mapped file if that has DWARF, even when it was deleted', async () => {
    const file = put('debug-plain', 'srv/program');
    run(1, file);
    expect(await find(file)).toEqual(is('debug-plain'));
  });

  it('is its debug file by build ID, in the root of its process, through links that mean that root', async () => {
    const file = put('debug-stripped', 'srv/program');
    run(1, file);
    put('debug-only', 'opt/debug/real');
    const link = join(root, 'usr/lib/debug/.build-id', buildId.slice(0, 2), `${buildId.slice(2)}.debug`);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync('/opt/debug/real', link);
    expect(await find(file)).toEqual(is('debug-only'));
  });

  it.each(['srv', 'srv/.debug', 'usr/lib/debug/srv'])(
    'is its debug file by link, in /%s',
    async (directory) => {
      const file = put('debug-stripped', 'srv/program');
      run(1, file);
      expect(await find(file)).toEqual([]);
      put('debug-only', `${directory}/debug-only`);
      expect(await find(file)).toEqual(is('debug-only'));
    },
  );

  it('is not a linked file whose CRC is wrong', async () => {
    const file = put('debug-stripped', 'srv/program');
    run(1, file);
    put(Buffer.concat([bytesOf('debug-only'), Buffer.alloc(1)]), 'srv/debug-only');
    expect(await find(file)).toEqual([]);
  });

  it('is not a debug file of another build', async () => {
    const file = put('debug-stripped', 'srv/program');
    run(1, file);
    const other = Buffer.from(bytesOf('debug-only'));
    other.write('cd'.repeat(20), other.indexOf(Buffer.from(buildId, 'hex')), 'hex');
    put(other, `usr/lib/debug/.build-id/${buildId.slice(0, 2)}/${buildId.slice(2)}.debug`);
    expect(await find(file)).toEqual([]);
  });

  it('is both where the debug file is no better than a symbol table', async () => {
    const file = put('debug-mini', 'srv/program');
    run(1, file);
    put('debug-eu-only', `usr/lib/debug/.build-id/${buildId.slice(0, 2)}/${buildId.slice(2)}.debug`);
    const found = await find(file);
    expect(found.map(({ quality }) => quality).sort()).toEqual(['dwarf', 'symtab']);
  });

  it('is nothing where nothing says a name, the file is too large, or the asked ID is another', async () => {
    const file = put('debug-stripped', 'srv/program');
    run(1, file);
    expect(await find(file)).toEqual([]);
    const whole = put('debug-plain', 'srv/whole');
    run(2, whole);
    expect(await find(whole, { bytesMax: bytesOf('debug-plain').length - 1 })).toEqual([]);
    expect(await find(whole, { id: gnuId('ab'.repeat(20)) })).toEqual([]);
    expect(await find(whole, { id: htlhashId('ab'.repeat(16)) })).toEqual([]);
  });

  it('known by its hash is the mapped file alone', async () => {
    const file = put('debug-stripped', 'srv/program');
    run(1, file);
    put('debug-only', 'srv/debug-only');
    const hash = htlhashId(htlhashOf(bytesSource(bytesOf('debug-stripped'))));
    expect(await find(file, { id: hash })).toEqual([]);
    const whole = put('debug-plain', 'srv/whole');
    run(2, whole);
    const own = htlhashId(htlhashOf(bytesSource(bytesOf('debug-plain'))));
    expect(await find(whole, { id: own })).toEqual(is('debug-plain'));
  });

  it('is found where maps shows another inode than stat, and by path where map_files may not be read', async () => {
    const file = put('debug-plain', 'srv/program');
    proc.run(1, [{ file, path: '/srv/program', inode: '1' }], { root });
    expect(await find(file)).toEqual(is('debug-plain'));
    proc.end(1);
    run(2, file);
    rmSync(join(proc.proc, '2/map_files'), { recursive: true });
    expect(await find(file)).toEqual(is('debug-plain'));
  });

  it('is looked for in every root that has it, and not where a process is gone', async () => {
    const file = put('debug-stripped', 'srv/program');
    proc.run(1, [{ file, path: '/srv/program' }], { root: join(proc.directory, 'nowhere') });
    proc.run(2, [{ file, path: '/srv/program' }], { root });
    put('debug-only', 'srv/debug-only');
    expect(await find(file)).toEqual(is('debug-only'));
    proc.end(2);
    expect(await find(file)).toEqual([]);
    proc.end(1);
    expect(await find(file)).toEqual([]);
  });
});

describe('a file that changes', () => {
  it('is no longer the one that was found', async () => {
    const file = put('debug-plain', 'srv/program');
    run(1, file);
    const identities = new Set([identityOf(proc.files.stat(file))]);
    const finder = new HostFileFinder(proc.files, proc.proc);
    const { signal } = new AbortController();
    const [found] = await finder.find({ id, bytesMax, identities }, signal);
    expect(found!.isStillIt()).toBe(true);
    expect((await found!.hashes(signal)).sha256).toMatch(/^[0-9a-f]{64}$/);
    writeFileSync(file, bytesOf('debug-only'));
    expect(found!.isStillIt()).toBe(false);
    found!.close();
  });
});

describe('a dwz file', () => {
  it('is found by its build ID, and by the link of what refers to it', async () => {
    const file = put('debug-dwz1', 'srv/program');
    run(1, file);
    const search = { id: dwzId, of: id };
    expect(await find(file, search)).toEqual([]);
    put('debug-dwz', 'srv/debug-dwz');
    expect(identify(bytesSource(bytesOf('debug-dwz'))).gnu).toBe(dwzId.slice(4));
    expect(await find(file, search)).toEqual(is('debug-dwz'));
    rmSync(join(root, 'srv/debug-dwz'));
    put('debug-dwz', `usr/lib/debug/.build-id/27/${dwzId.slice(6)}.debug`);
    expect(await find(file, search)).toEqual(is('debug-dwz'));
  });
});

describe('a path in a root', () => {
  it('follows links as its process would, up to forty', () => {
    mkdirSync(join(root, 'a/b'), { recursive: true });
    symlinkSync('/a', join(root, 'absolute'));
    symlinkSync('../../..', join(root, 'a/b/up'));
    symlinkSync('round', join(root, 'round'));
    const { files } = proc;
    expect(pathInRoot(files, root, '/absolute/b')).toBe(join(root, 'a/b'));
    expect(pathInRoot(files, root, '/a/b/up/a/./b/../x')).toBe(join(root, 'a/x'));
    expect(pathInRoot(files, root, '/round/x')).toBeUndefined();
  });
});
