import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { htlhashId } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileTable, filesMax } from '../../src/discovery/file-table.ts';
import { noProblems, type Pass } from '../../src/discovery/live-file.ts';
import { ProcessScanner } from '../../src/discovery/process-scanner.ts';
import { FakeProc, fixture } from './fake-proc.ts';

let host: FakeProc;
let scanner: ProcessScanner;

beforeEach(() => {
  host = new FakeProc();
  scanner = new ProcessScanner({ files: host.files, proc: host.proc, sys: host.sys });
});
afterEach(() => host.remove());

const names = ({ appeared }: Pass) => appeared.map(({ executable }) => executable.name);
const problemsOf = ({ problems }: Pass) =>
  Object.fromEntries(Object.entries(problems).filter(([, count]) => count > 0));

describe('a pass', () => {
  it('finds what is mapped as code, once, and counts its processes', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    const program = host.install('shapes-stripped', 'usr/bin/program');
    host.run(10, [{ file: program }, { file: program }, { file: library }]);
    host.run(11, [{ file: library }, { file: program, permissions: 'r--p' }]);
    const pass = await scanner.scan();
    expect(pass.appeared.map(({ executable: { name }, processes }) => [name, processes])).toEqual([
      [program, 1],
      [library, 2],
    ]);
    expect(problemsOf(pass)).toEqual({});
    expect(pass.processes).toBe(2);
  });

  it('opens nothing again that it knows, and looks at each file once', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    for (let pid = 1; pid <= 50; pid++) host.run(pid, [{ file: library }]);
    await scanner.scan();
    expect(scanner.filesOpened).toBe(1);
    host.take(/./);
    const second = await scanner.scan();
    expect(scanner.filesOpened).toBe(1);
    expect(host.take(/stat .*map_files/)).toHaveLength(1);
    expect([second.appeared, second.vanished]).toEqual([[], []]);
  });

  it('reads a file again that was written to, and tells old and new apart', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    host.run(1, [{ file: library }]);
    const [before] = (await scanner.scan()).appeared;
    appendFileSync(library, 'more');
    const { appeared, vanished } = await scanner.scan();
    expect(vanished.map(({ identity }) => identity)).toEqual([before!.identity]);
    expect(appeared[0]!.executable.ids.htlhash).not.toBe(before!.executable.ids.htlhash);
    expect(appeared[0]!.executable.ids.gnu).toBe(before!.executable.ids.gnu);
  });

  it('notices that the last process has ended, and knows the file when it is back', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    host.run(1, [{ file: library }]);
    await scanner.scan();
    host.end(1);
    expect((await scanner.scan()).vanished).toHaveLength(1);
    host.run(2, [{ file: library }]);
    expect(names(await scanner.scan())).toEqual([library]);
    expect(scanner.filesOpened).toBe(1);
  });

  it('takes over what an earlier run has read', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    host.run(1, [{ file: library }]);
    const [file] = (await scanner.scan()).appeared;
    const later = new ProcessScanner({ files: host.files, proc: host.proc, sys: host.sys });
    later.remember(file!);
    expect((await later.scan()).appeared).toEqual([file]);
    expect(later.filesOpened).toBe(0);
  });

  it('reads maps of any length', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    const other = host.install('shapes-stripped', `${'deep/'.repeat(200)}other`);
    const many = Array.from({ length: 2_000 }, () => ({ file: library, permissions: 'r--p' }));
    host.run(1, [...many, { file: library }, ...many, { file: other }]);
    expect(names(await scanner.scan())).toEqual([library, other]);
  });
});

describe('files that paths do not lead to', () => {
  it('reads a deleted file through its mapping', async () => {
    const library = host.install('shapes-x86_64', 'gone');
    host.run(1, [{ file: library, path: '/usr/lib/gone.so (deleted)' }]);
    const [file] = (await scanner.scan()).appeared;
    expect(file!.executable.name).toBe('/usr/lib/gone.so');
  });

  it('reads a file of a container through its root, without the rights for map_files', async () => {
    const library = host.install('shapes-x86_64', 'container/usr/lib/shapes.so');
    host.run(1, [{ file: library, path: '/usr/lib/shapes.so' }], { root: join(host.directory, 'container') });
    host.run(2, [{ file: library, path: '/usr/lib/shapes.so' }], { root: join(host.directory, 'container') });
    for (const name of ['map_files', 'map_files/']) host.failures.set(name, 'EPERM');
    const denied = { ...host.files, stat: (path: string | Buffer) => deny(path) };
    const deny = (path: string | Buffer) => {
      if (String(path).includes('map_files')) throw Object.assign(new Error('EPERM'), { code: 'EPERM' });
      return host.files.stat(path);
    };
    const pass = await new ProcessScanner({ files: denied, proc: host.proc, sys: host.sys }).scan();
    expect(pass.appeared.map(({ executable, processes }) => [executable.name, processes])).toEqual([
      ['/usr/lib/shapes.so', 2],
    ]);
  });

  it('does not take the file that has replaced the mapped one for it', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    host.run(1, [{ file: library }]);
    const next = host.install('shapes-stripped', 'usr/lib/next.so');
    renameSync(next, library);
    writeFileSync(join(host.proc, '1/map_files.gone'), '');
    renameSync(join(host.proc, '1/map_files'), join(host.proc, '1/moved'));
    const pass = await scanner.scan();
    expect(pass.appeared).toEqual([]);
    expect(problemsOf(pass)).toEqual({ replaced: 1 });
  });

  it('tells files apart that maps gives the same device, inode and path in two mount namespaces', async () => {
    const first = host.install('shapes-x86_64', 'a/lib.so');
    const second = host.install('shapes-stripped', 'b/lib.so');
    const printed = { path: '/usr/lib/lib.so', device: '00:2a', inode: '77' };
    for (const [pid, file, namespace] of [
      [1, first, 'mnt:[1]'],
      [2, second, 'mnt:[2]'],
      [3, first, 'mnt:[1]'],
    ] as const) {
      host.run(pid, [{ file, ...printed }], { namespace });
    }
    for (let round = 0; round < 3; round++) {
      await scanner.scan();
      const found = [...scanner.liveFiles()].map(({ executable, processes }) => [executable.size, processes]);
      expect(found).toEqual([
        [statSync(first).size, 2],
        [statSync(second).size, 1],
      ]);
    }
  });
});

describe('what is no executable', () => {
  it('remembers what is no ELF file, for twenty passes', async () => {
    const data = host.install('shapes-x86_64', 'data');
    writeFileSync(data, 'no ELF at all');
    host.run(1, [{ file: data }]);
    expect(problemsOf(await scanner.scan())).toEqual({ not_elf: 1 });
    for (let pass = 0; pass < 19; pass++) expect(problemsOf(await scanner.scan())).toEqual({ not_elf: 1 });
    expect(scanner.filesOpened).toBe(1);
    await scanner.scan();
    expect(scanner.filesOpened).toBe(2);
  });

  it('counts a damaged file, and opens no device', async () => {
    const cut = host.install('shapes-x86_64', 'cut');
    writeFileSync(cut, readFileSync(cut).subarray(0, 30));
    host.run(1, [{ file: cut }, { file: '/dev/zero' }]);
    const pass = await scanner.scan();
    expect(problemsOf(pass)).toEqual({ damaged: 1, not_regular: 1 });
    expect(host.take(/open/).filter((operation) => operation.includes('zero'))).toEqual([]);
    expect(scanner.filesOpened).toBe(1);
  });
});

describe('what goes wrong', () => {
  it('counts processes that ended or may not be read, and goes on', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    for (const pid of [1, 2, 3, 4]) host.run(pid, [{ file: library }]);
    host.failures.set('/1/maps', 'ESRCH');
    host.failures.set('/2/maps', 'EACCES');
    host.failures.set('/3/maps', 'EIO');
    const pass = await scanner.scan();
    expect(problemsOf(pass)).toEqual({ vanished: 1, permission_denied: 1, io_error: 1 });
    expect(names(pass)).toEqual([library]);
  });

  it('reads a file through the next process when the first one has ended meanwhile', async () => {
    const library = host.install('shapes-x86_64', 'usr/lib/shapes.so');
    host.run(1, [{ file: library, path: '/elsewhere/shapes.so' }]);
    host.run(2, [{ file: library, path: '/elsewhere/shapes.so' }]);
    renameSync(join(host.proc, '1/map_files'), join(host.proc, '1/moved'));
    const pass = await scanner.scan();
    expect(pass.appeared.map(({ processes }) => processes)).toEqual([1]);
    expect(problemsOf(pass)).toEqual({});
  });

  it('counts a file that no process lets it read', async () => {
    host.run(1, [{ file: '/nowhere/at-all.so' }]);
    const pass = await scanner.scan();
    expect(problemsOf(pass)).toEqual({ vanished: 1 });
  });

  it('keeps at most so many files, and then those that are mapped', () => {
    const table = new FileTable();
    table.startPass();
    const live = table.set('live', 'not_elf')!;
    for (let n = 1; n < filesMax; n++) table.set(`file ${n}`, 'not_elf');
    expect(table.set('one more', 'not_elf')).toBeUndefined();
    table.count(live, 1);
    table.endPass(noProblems());
    expect(table.set('one more', 'not_elf')).toBeDefined();
    expect(table.find('live')).toBeDefined();
  });
});

describe('images that are in no file', () => {
  it('reads the vDSO from the memory of a process, once', async () => {
    const image = Buffer.alloc(8_192);
    readFileSync(fixture('shapes-stripped')).copy(image, 0, 0, 8_192);
    const bytes = readFileSync(fixture('shapes-stripped'));
    const size = Math.ceil(bytes.length / 4_096) * 4_096;
    for (const pid of [1, 2]) {
      host.run(pid, []);
      writeFileSync(
        join(host.proc, `${pid}/mem`),
        Buffer.concat([Buffer.alloc(0x10000), bytes, Buffer.alloc(4_096)]),
      );
      const range = `00010000-${(0x10000 + size).toString(16).padStart(8, '0')}`;
      writeFileSync(join(host.proc, `${pid}/maps`), `${range} r-xp 00000000 00:00 0 [vdso]\n`);
    }
    const pass = await scanner.scan();
    expect(pass.appeared).toMatchObject([
      {
        executable: { name: 'linux-vdso.1.so', size, ids: { gnu: gnuOf(fixture('shapes-stripped')) } },
        processes: 2,
      },
    ]);
    expect(host.take(/open .*mem$/)).toHaveLength(1);
  });

  it('reads the IDs of the kernel and its modules, each module once', async () => {
    const note = (hex: string) => {
      const head = Buffer.alloc(16);
      head.writeUInt32LE(4, 0);
      head.writeUInt32LE(hex.length / 2, 4);
      head.writeUInt32LE(3, 8);
      head.write('GNU\0', 12);
      return Buffer.concat([head, Buffer.from(hex, 'hex')]);
    };
    writeFileSync(join(host.sys, 'kernel/notes'), note('f8e1cf0f60558098edaec164ac7749df'));
    const notes = join(host.sys, 'module/nf_tables/notes');
    mkdirSync(notes, { recursive: true });
    mkdirSync(join(host.sys, 'module/builtin'));
    writeFileSync(join(notes, '.note.gnu.build-id'), note('0123456789abcdef0123456789abcdef01234567'));
    const pass = await scanner.scan();
    expect(pass.appeared.map(({ executable: { name, ids } }) => [name, ids])).toEqual([
      [
        'vmlinux',
        {
          gnu: 'gnu:f8e1cf0f60558098edaec164ac7749df',
          // The profiler's own test vector for this build ID.
          htlhash: htlhashId('026a2d6a60ee6b4eb8ec85adf2e76f4d'),
        },
      ],
      ['nf_tables.ko', expect.objectContaining({ gnu: 'gnu:0123456789abcdef0123456789abcdef01234567' })],
    ]);
    host.take(/./);
    await scanner.scan();
    expect(host.take(/open .*module/)).toEqual([]);
  });
});

function gnuOf(path: string): string {
  const text = execFileSync('readelf', ['-n', path]).toString();
  return `gnu:${/Build ID: ([0-9a-f]+)/.exec(text)![1]}`;
}
