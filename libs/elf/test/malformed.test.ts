import { describe, expect, it } from 'vitest';
import {
  bytesSource,
  ElfError,
  identify,
  isElf,
  openElf,
  parseNotes,
  readHeader,
  readSegments,
} from '../src/index.ts';
import { fixture, fixtureBytes, fixtureText } from './fixture.ts';
import { elf64, header64, imageOfNotes, note, segment64, viewOf } from './image.ts';

function errorOf(run: () => unknown): ElfError {
  try {
    run();
  } catch (error) {
    if (error instanceof ElfError) return error;
    throw error;
  }
  return expect.unreachable('no error');
}

/** A real file with one change. */
function altered(change: (view: DataView, bytes: Uint8Array) => void, name = 'shapes-x86_64') {
  const bytes = fixtureBytes(name);
  change(viewOf(bytes), bytes);
  return bytesSource(bytes);
}

/** By file, what `file` says it is. */
const foreignFiles = fixtureText('foreign.types')
  .split('\n')
  .filter(Boolean)
  .map((line) => line.split(/: +/));

function expectNoElf(bytes: Uint8Array): void {
  expect(isElf(bytes)).toBe(false);
  for (const read of [identify, openElf]) {
    expect(errorOf(() => read(bytesSource(bytes)))).toMatchObject({ code: 'not_elf', what: 'ELF header' });
  }
}

describe('case 30: what is not ELF at all', () => {
  it('has been made by the tools of other formats', () => {
    const kinds = [
      /^Intel amd64 COFF/,
      /^PE32\+/,
      /^Mach-O .* object/,
      /^Mach-O .* shared/,
      /^Mach-O universal/,
    ];
    const others = [
      /WebAssembly/,
      /bitcode/,
      /^current ar/,
      /^thin archive/,
      /script/,
      /^gzip/,
      /^XZ/,
      /^Zstandard/,
    ];
    for (const kind of [...kinds, ...others]) {
      expect(
        foreignFiles.some(([, type]) => kind.test(type!)),
        String(kind),
      ).toBe(true);
    }
  });

  it.each(foreignFiles)('%s: %s', (name) => expectNoElf(fixtureBytes(name!)));

  it.each([
    ['nothing', ''],
    ['three bytes of the magic', '\x7fEL'],
    ['the magic later', ' \x7fELF'],
  ])('%s', (_, text) => expectNoElf(Buffer.from(text, 'latin1')));
});

describe('a broken header is an error that names it', () => {
  it.each<[string, ElfError['code'], (view: DataView) => void]>([
    ['class 3', 'malformed', (view) => view.setUint8(4, 3)],
    ['class 0', 'malformed', (view) => view.setUint8(4, 0)],
    ['byte order 0', 'malformed', (view) => view.setUint8(5, 0)],
    ['byte order 3', 'malformed', (view) => view.setUint8(5, 3)],
    ['version 2 instead of 1', 'malformed', (view) => view.setUint8(6, 2)],
    ['version 0 instead of 1', 'malformed', (view) => view.setUint32(20, 0, true)],
    ['file type 0', 'unsupported', (view) => view.setUint16(16, 0, true)],
    ['file type 65024', 'unsupported', (view) => view.setUint16(16, 0xfe00, true)],
  ])('%s', (why, code, change) => {
    const message = `ELF header: ${why}`;
    expect(errorOf(() => identify(altered(change)))).toMatchObject({ code, what: 'ELF header', message });
  });

  it.each(['shapes-mips', 'shapes-s390x'])('a byte order that %s could be read in all the same', (name) => {
    const source = altered((view) => view.setUint8(5, 3), name);
    expect(errorOf(() => identify(source)).message).toBe('ELF header: byte order 3');
  });

  it.each([4, 15, 16, 51, 63])('only %i bytes of it', (length) => {
    const source = bytesSource(fixtureBytes('shapes-x86_64').subarray(0, length));
    expect(errorOf(() => identify(source))).toMatchObject({ code: 'truncated', what: 'ELF header' });
  });

  it('entries of another size', () => {
    const phdr = altered((view) => view.setUint16(header64.phentsize, 32, true));
    expect(errorOf(() => identify(phdr))).toMatchObject({ code: 'malformed', what: 'program headers' });
    const shdr = altered((view) => view.setUint16(header64.shentsize, 63, true));
    expect(identify(shdr).damage).toMatchObject([{ code: 'malformed', what: 'section headers' }]);
  });

  it.each([65_536n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])('program headers at %i', (offset) => {
    const source = altered((view) => view.setBigUint64(header64.phoff, offset, true));
    expect(errorOf(() => identify(source))).toMatchObject({ code: 'truncated', what: 'program headers' });
  });
});

describe('broken section headers and notes leave what else there is', () => {
  const whole = identify(fixture('shapes-x86_64'));

  it.each<[string, ElfError['code'], (view: DataView, bytes: Uint8Array) => void]>([
    ['past the end', 'truncated', (view) => view.setBigUint64(header64.shoff, 2n ** 64n - 1n, true)],
    ['more than there are', 'truncated', (view) => view.setUint16(header64.shnum, 0xff00, true)],
    ['of another size', 'malformed', (view) => view.setUint16(header64.shentsize, 40, true)],
  ])('section headers %s', (_, code, change) => {
    const identity = identify(altered(change));
    expect(identity).toMatchObject({ gnu: whole.gnu, load: whole.load });
    expect(identity.damage).toMatchObject([{ code, what: 'section headers' }]);
  });

  it('a truncated file whose program headers are there', () => {
    const identity = identify(bytesSource(fixtureBytes('shapes-x86_64').subarray(0, 2_000)));
    expect(identity).toMatchObject({ gnu: whole.gnu, load: whole.load });
    expect(identity.damage).toMatchObject([{ code: 'truncated', what: 'section headers' }]);
  });

  it('a note segment past the end, beside a note section', () => {
    const source = altered((view) => {
      const segments = readSegments(fixture('shapes-x86_64'), readHeader(fixture('shapes-x86_64')));
      const index = segments.findIndex(({ type }) => type === 4);
      view.setBigUint64(64 + index * segment64.bytes + segment64.offset, 1n << 40n, true);
    });
    const identity = identify(source);
    expect(identity.gnu).toBe(whole.gnu);
    expect(identity.damage).toMatchObject([{ code: 'truncated' }]);
    expect(identity.damage[0]!.what).toMatch(/^note segment \d+$/);
  });

  it('a note that does not fit: those before it hold', () => {
    const good = note('GNU', 3, Buffer.alloc(20, 5));
    const bad = note('Go', 4, Buffer.alloc(20, 5));
    viewOf(bad).setUint32(4, 0xffff_fff0, true);
    const identity = identify(bytesSource(imageOfNotes(good, bad)));
    expect(identity.gnu).toBe('05'.repeat(20));
    expect(identity.damage).toMatchObject([{ code: 'truncated', what: 'note segment 0: note 1' }]);
  });

  it('a file of a header alone has no segments and no IDs but htlhash', () => {
    expect(identify(bytesSource(elf64({})))).toMatchObject({ load: [], damage: [], rejected: [] });
  });
});

describe('buffers of notes alone', () => {
  const desc = Buffer.from('0123456789abcdef0123456789abcdef01234567', 'hex');

  it.each([true, false])('little-endian: %s', (littleEndian) => {
    const bytes = Buffer.concat([
      note('Linux', 256, Buffer.from([6]), littleEndian),
      note('GNU', 3, desc, littleEndian),
      note('', 7, Buffer.alloc(0), littleEndian),
    ]);
    expect(parseNotes(bytes, littleEndian).map(({ name, type, desc }) => [name, type, desc.length])).toEqual([
      ['Linux', 256, 1],
      ['GNU', 3, 20],
      ['', 7, 0],
    ]);
    expect(Buffer.from(parseNotes(bytes, littleEndian)[1]!.desc)).toEqual(desc);
  });

  it('notes aligned to eight', () => {
    const first = Buffer.concat([note('GNU', 5, Buffer.alloc(12)), Buffer.alloc(4)]);
    const bytes = Buffer.concat([first, note('GNU', 3, desc)]);
    expect(parseNotes(bytes, true, 8).map(({ type }) => type)).toEqual([5, 3]);
  });

  it('a desc of which the padding is cut off at the end', () => {
    const bytes = note('GNU', 3, desc.subarray(0, 17)).subarray(0, 33);
    expect(parseNotes(bytes, true)[0]!.desc).toHaveLength(17);
  });

  it('a note of nothing but its header, and one that is cut in its header', () => {
    const bare = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0);
    expect(parseNotes(bare, true)).toMatchObject([{ type: 7 }]);
    expect(parseNotes(bare.subarray(0, 11), true)).toEqual([]);
  });

  it('a note cut off is an error that names it', () => {
    expect(errorOf(() => parseNotes(note('GNU', 3, desc).subarray(0, 30), true))).toMatchObject({
      code: 'truncated',
      what: 'notes: note 0',
    });
  });
});
