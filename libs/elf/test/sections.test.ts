import { deflateSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import {
  bytesSource,
  combineImages,
  type ElfImage,
  freeInflationBytesMax,
  openElf,
  readSymbols,
  sectionFlags,
  zlibRatioMax,
  zstdRatioMax,
} from '../src/index.ts';
import { factsOf, fixture, fixtureBytes } from './fixture.ts';
import { elf64, header64, SparseSource, section64, viewOf } from './image.ts';

const open = (name: string) => openElf(fixture(name));

function debugContents(image: ElfImage): Map<string, string> {
  const debug = image.sections.filter(({ name, hasContents }) => name.startsWith('.debug_') && hasContents);
  return new Map(debug.map((section) => [section.name, Buffer.from(section.contents()).toString('hex')]));
}

describe('case 28: compressed sections', () => {
  it.each([
    ['debug-zlib', 'debug-plain', 'C'],
    ['debug-zstd', 'debug-plain', 'C'],
    ['debug-zdebug', 'debug-plain', '.zdebug_'],
    ['debug-zlib-mips', 'debug-plain-mips', 'C'],
    ['debug-zstd-powerpc', 'debug-plain-powerpc', 'C'],
  ])('%s has the contents of %s', (compressed, plain, sign) => {
    const signs = factsOf(compressed).sections.filter(
      ({ name, flags }) => name.startsWith(sign) || flags.includes(sign),
    );
    expect(signs.length).toBeGreaterThan(2);
    const contents = debugContents(open(compressed));
    expect(contents.size).toBeGreaterThan(4);
    expect(contents).toEqual(debugContents(open(plain)));
    for (const { name, ...section } of open(plain).sections) {
      if (name.startsWith('.debug_'))
        expect(open(compressed).section(name)?.contentBytes()).toBe(section.size);
    }
  });
});

/** A file of one section, `.x`, whose contents stand behind a compression header that claims `claim` bytes. */
function compressedImage(type: number, claim: bigint, stream: Uint8Array, flags = 0x800n): Uint8Array {
  const names = Buffer.from('\0.zdebug_x\0', 'latin1');
  const contentAt = 64 + names.length;
  const shoff = contentAt + 24 + stream.length;
  const bytes = elf64({ shoff, shnum: 3, shstrndx: 1 }, new Uint8Array(shoff + 3 * section64.bytes));
  bytes.set(names, 64);
  bytes.set(stream, contentAt + 24);
  const view = viewOf(bytes);
  view.setUint32(contentAt, type, true);
  view.setBigUint64(contentAt + 8, claim, true);
  const header = (index: number, kind: number, at: number, size: number) => {
    const start = shoff + index * section64.bytes;
    view.setUint32(start + section64.type, kind, true);
    view.setBigUint64(start + section64.offset, BigInt(at), true);
    view.setBigUint64(start + section64.size, BigInt(size), true);
  };
  header(1, 3, 64, names.length);
  header(2, 1, contentAt, 24 + stream.length);
  view.setUint32(shoff + 2 * section64.bytes + section64.name, 8, true);
  view.setBigUint64(shoff + 2 * section64.bytes + section64.flags, flags, true);
  return bytes;
}

describe('case 13: inflation bombs and lying sizes', () => {
  const zeros = new Uint8Array(8 * freeInflationBytesMax);
  const content = (type: number, claim: number, stream: Uint8Array, limits?: { sectionBytesMax: number }) =>
    openElf(bytesSource(compressedImage(type, BigInt(claim), stream)), limits).sections[2]!.contents();
  const [zlib, zstd] = [deflateSync(zeros, { level: 9 }), zstdCompressSync(zeros)];

  // As readelf -t shows: both claim 32 MiB, of 32,623 bytes by binutils and 1,043 by llvm-objcopy.
  const zerosOf = (bytes: Uint8Array, limits?: { sectionBytesMax: number }) => {
    return openElf(bytesSource(bytes), limits).section('.debug_zeros')!;
  };

  it('zeros of objcopy are let through by zlib, refused by zstd, and held to the limit', () => {
    const [byZlib, byZstd] = ['debug-bomb-zlib', 'debug-bomb-zstd'].map(fixtureBytes);
    expect(zerosOf(byZlib!).contentBytes()).toBe(2 ** 25);
    expect(zerosOf(byZlib!).contents()).toHaveLength(2 ** 25);
    expect(() => zerosOf(byZstd!).contents()).toThrow(expect.objectContaining({ code: 'limit' }));
    for (const bytes of [byZlib!, byZstd!]) {
      const limited = zerosOf(bytes, { sectionBytesMax: 2 ** 24 });
      expect(() => limited.contents()).toThrow(expect.objectContaining({ code: 'limit' }));
    }
  });

  it.each([2 ** 25 - 1, 2 ** 25 + 1, 2 ** 40])('zeros of objcopy that claim to be %i', (claim) => {
    const bytes = fixtureBytes('debug-bomb-zlib');
    viewOf(bytes).setBigUint64(zerosOf(bytes).offset + 8, BigInt(claim), true);
    expect(() => zerosOf(bytes).contents()).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  it('the best that zlib reaches is let through', () => {
    expect(zeros.length / zlib.length).toBeGreaterThan(1_000);
    expect(content(1, zeros.length, zlib)).toHaveLength(zeros.length);
  });

  it('what no deflate stream can inflate to is refused before anything is allocated', () => {
    for (const claim of [zlibRatioMax * zlib.length + 1, 2 ** 40]) {
      expect(() => content(1, claim, zlib)).toThrow(expect.objectContaining({ code: 'malformed' }));
    }
  });

  it('zstd may exceed any ratio: it is held to one beyond what is free', () => {
    const small = zeros.subarray(0, freeInflationBytesMax);
    expect(content(2, small.length, zstdCompressSync(small))).toHaveLength(small.length);
    expect(zeros.length / zstd.length).toBeGreaterThan(zstdRatioMax);
    expect(() => content(2, zeros.length, zstd)).toThrow(expect.objectContaining({ code: 'limit' }));
  });

  it.each([
    ['zlib', 1, zlib],
    ['zstd', 2, zstdCompressSync(zeros.subarray(0, 500_000))],
  ] as const)('%s that inflates to more or less than it claims', (_, type, stream) => {
    for (const claim of [0, 1, 400_000, 500_001, 600_000]) {
      expect(() => content(type, claim, stream)).toThrow(expect.objectContaining({ code: 'malformed' }));
    }
  });

  it('a broken stream', () => {
    const broken = Uint8Array.from(zlib);
    broken.fill(0xee, 20);
    expect(() => content(1, zeros.length, broken)).toThrow(expect.objectContaining({ code: 'malformed' }));
    expect(() => content(2, 100, new Uint8Array(90))).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  it('the limit the file was opened with, decompressed or not', () => {
    const limits = { sectionBytesMax: 1_000_000 };
    expect(() => content(1, zeros.length, zlib, limits)).toThrow(expect.objectContaining({ code: 'limit' }));
    const section = openElf(fixture('debug-plain'), { sectionBytesMax: 200 }).section('.debug_info')!;
    expect(() => section.contents()).toThrow(
      expect.objectContaining({ code: 'limit', what: 'section .debug_info' }),
    );
  });

  it('a type that is unknown, and a header that does not fit', () => {
    expect(() => content(3, 100, zlib)).toThrow(expect.objectContaining({ code: 'unsupported' }));
    const tiny = compressedImage(1, 1n, new Uint8Array(0));
    viewOf(tiny).setBigUint64(tiny.length - section64.bytes + section64.size, 23n, true);
    expect(() => openElf(bytesSource(tiny)).sections[2]!.contents()).toThrow(
      expect.objectContaining({ code: 'truncated' }),
    );
  });
});

it('case 18: an executable that kept its relocations is read as it is', () => {
  const image = open('debug-kept-relocations');
  expect(factsOf('debug-kept-relocations').sections.map(({ name }) => name)).toContain('.rela.debug_info');
  expect(image.header.type).toBe('exec');
  for (const section of image.sections.filter(({ name }) => name.startsWith('.debug_'))) {
    expect(section.contents()).toEqual(section.raw(0, section.size));
  }
});

describe('case 22: a `.debug` file and its stripped executable', () => {
  it.each([
    ['binutils', 'debug-stripped', 'debug-only'],
    ['elfutils', 'debug-eu-stripped', 'debug-eu-only'],
  ])('of %s', (_, stripped, debug) => {
    const [whole, both] = [open('debug-plain'), combineImages(open(stripped), open(debug))];
    expect(open(stripped).section('.debug_info')).toBeUndefined();
    expect(open(debug).section('.text')).toBeUndefined();
    expect(debugContents(both)).toEqual(debugContents(whole));
    expect(both.segments).toEqual(whole.segments);
    expect(both.base).toBe(whole.base);
    expect(both.executableRanges()).toEqual(whole.executableRanges());
    expect(both.section('.text')?.contents()).toEqual(whole.section('.text')?.contents());
    const names = (image: ElfImage) => {
      const table = readSymbols(image)!;
      return Array.from({ length: table.count }, (_, index) => table.name(index))
        .filter((name) => name !== '')
        .sort();
    };
    expect(names(both)).toEqual(expect.arrayContaining(['area', 'calls', 'perimeter', 'quad', 'square']));
  });

  it('of another machine', () => {
    expect(() => combineImages(open('debug-stripped'), open('debug-plain-mips'))).toThrow(
      expect.objectContaining({ code: 'malformed', what: 'debug file' }),
    );
  });

  it('what has no contents says so', () => {
    const text = open('debug-only').sections.find(({ name }) => name === '.text')!;
    expect(text.hasContents).toBe(false);
    expect(() => text.contents()).toThrow(expect.objectContaining({ code: 'absent', what: 'section .text' }));
  });
});

describe('what is read', () => {
  it('case 15: a section beyond 4 GiB, and nothing else', () => {
    const contentAt = 5 * 2 ** 30;
    const names = Buffer.from('\0.debug_info\0', 'latin1');
    const sections = new Uint8Array(3 * section64.bytes);
    const view = viewOf(sections);
    const header = (index: number, name: number, kind: number, at: number, size: number) => {
      view.setUint32(index * section64.bytes + section64.name, name, true);
      view.setUint32(index * section64.bytes + section64.type, kind, true);
      view.setBigUint64(index * section64.bytes + section64.offset, BigInt(at), true);
      view.setBigUint64(index * section64.bytes + section64.size, BigInt(size), true);
    };
    header(1, 0, 3, 64, names.length);
    header(2, 1, 1, contentAt, 10);
    const content = Uint8Array.from({ length: 10 }, (_, index) => index + 1);
    const size = 6 * 2 ** 30;
    const shoff = size - sections.length;
    const source = new SparseSource(
      size,
      new Map([
        [0, elf64({ shoff, shnum: 3, shstrndx: 1 })],
        [64, names],
        [contentAt, content],
        [shoff, sections],
      ]),
    );
    expect(openElf(source).section('.debug_info')!.contents()).toEqual(content);
    expect(source.bytesRead).toBeLessThan(1_000);
  });

  it('case 15: a file of gcc whose debug sections and headers stand beyond 4 GiB', () => {
    const bytes = fixtureBytes('debug-plain');
    const { header, sections } = openElf(bytesSource(bytes));
    const far = 5 * 2 ** 30;
    const start = Uint8Array.from(bytes);
    const view = viewOf(start);
    for (const { index, flags, offset } of sections) {
      if ((flags & sectionFlags.alloc) !== 0) continue;
      const at = header.sectionTable.offset + index * section64.bytes + section64.offset;
      view.setBigUint64(at, BigInt(far + offset), true);
    }
    view.setBigUint64(header64.shoff, BigInt(far + header.sectionTable.offset), true);
    const source = new SparseSource(
      far + bytes.length,
      new Map([
        [0, start.subarray(0, 64 + 20 * 56)],
        [far, start],
      ]),
    );
    const image = openElf(source);
    expect(image.sections.map(({ name, size }) => ({ name, size }))).toEqual(
      factsOf('debug-plain').sections.map(({ name, size }) => ({ name, size })),
    );
    expect(debugContents(image)).toEqual(debugContents(open('debug-plain')));
    expect(source.bytesRead).toBeLessThan(100_000);
  });

  it('a section that reaches past the end names itself', () => {
    const bytes = fixtureBytes('debug-plain');
    const { header, sections } = openElf(bytesSource(bytes));
    const info = sections.find(({ name }) => name === '.debug_info')!;
    const at = header.sectionTable.offset + info.index * section64.bytes;
    viewOf(bytes).setBigUint64(at + section64.offset, BigInt(bytes.length - 5), true);
    expect(() => openElf(bytesSource(bytes)).section('.debug_info')!.contents()).toThrow(
      expect.objectContaining({ code: 'truncated', what: 'section .debug_info' }),
    );
  });

  it('executable ranges of a file without sections are those of its segments', () => {
    const facts = factsOf('shapes-no-sections').segments.filter(
      ({ type, flags }) => type === 'LOAD' && flags.includes('E'),
    );
    expect(open('shapes-no-sections').executableRanges()).toEqual(
      facts.map(({ address, memorySize }) => [address, address + memorySize]),
    );
  });

  it('sections of one name are all found', () => {
    expect(open('sections.o.zst').sectionsNamed('.debug_info')).toEqual([]);
    expect(open('shapes.o').sections.filter(({ name }) => name.startsWith('.text')).length).toBeGreaterThan(
      3,
    );
    expect(open('debug-plain').sectionsNamed('.debug_info')).toHaveLength(1);
  });
});
