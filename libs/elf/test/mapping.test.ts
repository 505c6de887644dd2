import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fileOffset,
  fileOffsetOf,
  fileSource,
  openElf,
  readHeader,
  readSegments,
  segmentAt,
  virtualAddress,
  virtualAddressOf,
} from '../src/index.ts';
import { factsOf, fixture } from './fixture.ts';

const page = 4_096n;
const floor = (value: bigint) => value - (value % page);
const segmentsOf = (name: string) => readSegments(fixture(name), readHeader(fixture(name)));

/** As the kernel maps the executable segments that readelf shows, at `bias`. */
function mappingsOf(name: string, bias: bigint) {
  return factsOf(name)
    .segments.filter(({ type, flags }) => type === 'LOAD' && flags.includes('E'))
    .map(({ address, offset, memorySize }) => ({
      start: floor(address) + bias,
      end: address + memorySize + bias,
      fileOffset: fileOffset(Number(floor(BigInt(offset)))),
    }));
}

describe('case 21: from a mapping to an address', () => {
  it.each([
    'shapes-x86_64',
    'shapes-aarch64',
    'shapes-riscv64',
    'shapes-i386',
    'shapes-s390x',
    'shapes-high',
    'debug-plain',
  ])('functions of %s, mapped anywhere', (name) => {
    const bias = name === 'shapes-high' ? 0n : 0x7f00_0000_0000n;
    const segments = segmentsOf(name);
    const functions = factsOf(name).symbols['.symtab']!.filter(
      ({ type, section }) => type === 'FUNC' && section !== 'UND',
    );
    expect(functions.length).toBeGreaterThan(3);
    for (const { value } of functions) {
      const mapping = mappingsOf(name, bias).find(
        ({ start, end }) => value + bias >= start && value + bias < end,
      )!;
      expect(virtualAddressOf(segments, mapping, value + bias)).toBe(value);
    }
  });

  it('lld places segments where offset and address differ', () => {
    const segment = segmentsOf('shapes-aarch64').find(({ type, flags }) => type === 1 && (flags & 1) !== 0)!;
    const first = segmentsOf('shapes-aarch64').find(({ type }) => type === 1)!;
    expect(BigInt(segment.offset)).not.toBe(segment.address - first.address);
  });

  it('an address outside of every segment has none', () => {
    const segments = segmentsOf('shapes-x86_64');
    const mapping = { start: 0x10000n, fileOffset: fileOffset(0) };
    expect(virtualAddressOf(segments, mapping, 0x10000n - 1n)).toBeUndefined();
    expect(virtualAddressOf(segments, mapping, 0x10000n + 2n ** 40n)).toBeUndefined();
    expect(virtualAddressOf(segments, mapping, 2n ** 64n - 1n)).toBeUndefined();
    expect(virtualAddressOf([], mapping, 0x10000n)).toBeUndefined();
  });

  it('in a page that two segments share, each has its own bytes', () => {
    const load = (offset: number, size: number, flags: number, address: bigint) => ({
      type: 1,
      flags,
      offset: fileOffset(offset),
      fileSize: size,
      memorySize: BigInt(size),
      address: virtualAddress(address),
      index: 0,
      align: 4_096,
    });
    const segments = [
      load(0, 0x580, 4, 0x200000n),
      load(0x580, 0x900, 5, 0x201580n),
      load(0xe80, 0x100, 6, 0x202e80n),
    ];
    expect(segmentAt(segments, fileOffset(0x57f))).toBe(segments[0]);
    expect(segmentAt(segments, fileOffset(0x580))).toBe(segments[1]);
    expect(segmentAt(segments, fileOffset(0xe80))).toBe(segments[2]);
    expect(segmentAt(segments, fileOffset(0xfff))).toBe(segments[1]);
    // One that has memory and no bytes, as .bss alone, shares no page of the file.
    const withBss = [load(0x1100, 0, 7, 0x300000n), ...segments];
    expect(segmentAt(withBss, fileOffset(0x1100))).toBeUndefined();
    expect(segmentAt(withBss, fileOffset(0xfff))).toBe(segments[1]);
    expect(segmentAt(segments, fileOffset(0x1000))).toBeUndefined();
  });

  it('file offset and address are each other’s inverse', () => {
    const segments = segmentsOf('shapes-x86_64');
    const text = segments.find(({ type, flags }) => type === 1 && (flags & 1) !== 0)!;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: text.fileSize - 1 }), (distance) => {
        const address = virtualAddress(text.address + BigInt(distance));
        const offset = fileOffsetOf(segments, address)!;
        expect(virtualAddressOf(segments, { start: 0n, fileOffset: offset }, 0n)).toBe(address);
      }),
    );
    expect(fileOffsetOf(segments, virtualAddress(2n ** 63n))).toBeUndefined();
  });

  it('agrees with where sections say their bytes are', () => {
    const image = openElf(fixture('debug-plain'));
    for (const section of image.sections.filter(
      ({ flags, hasContents }) => (flags & 2) !== 0 && hasContents,
    )) {
      expect(fileOffsetOf(image.segments, section.address)).toBe(section.offset);
    }
  });

  it.skipIf(!existsSync('/proc/self/maps'))('this very process: one load bias for all of a file', () => {
    const mapped = Map.groupBy(ownMappings(), ({ path }) => path);
    expect(mapped.size).toBeGreaterThan(2);
    for (const [path, mappings] of mapped) {
      const segments = segmentsOfFile(path);
      const first = segments.find(({ type }) => type === 1)!;
      const bias = mappings[0]!.start - floor(first.address);
      for (const { start, end, fileOffset: offset } of mappings.filter(({ executable }) => executable)) {
        const address = (start + end) / 2n;
        expect([path, virtualAddressOf(segments, { start, fileOffset: offset }, address)]).toEqual([
          path,
          address - bias,
        ]);
      }
    }
  });
});

/** File mappings of this process that are executable, and the first of each such file. */
function ownMappings() {
  const lines = [
    ...readFileSync('/proc/self/maps', 'utf8').matchAll(/^(\w+)-(\w+) (\S{4}) (\w+) \S+ \d+ +(\/.*)$/gm),
  ];
  const all = lines.map(([, start, end, rights, offset, path]) => ({
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    executable: rights!.includes('x'),
    fileOffset: fileOffset(Number.parseInt(offset!, 16)),
    path: path!,
  }));
  const code = new Set(all.filter(({ executable }) => executable).map(({ path }) => path));
  // V8 maps the code of its built-ins in node's own file a second time, elsewhere.
  return all.filter(({ path }) => code.has(path) && existsSync(path) && path !== process.execPath);
}

function segmentsOfFile(path: string) {
  const fd = openSync(path, 'r');
  try {
    const source = fileSource(fstatSync(fd).size, (buffer, at) => readSync(fd, buffer, 0, buffer.length, at));
    return readSegments(source, readHeader(source));
  } finally {
    closeSync(fd);
  }
}
