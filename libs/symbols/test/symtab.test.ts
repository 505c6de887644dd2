// ELF symbol tables, against llvm-symbolizer on files of clang, lld and llvm-objcopy.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import {
  bytesSource,
  combineImages,
  type ElfImage,
  fileOffset,
  identify,
  openElf,
  virtualAddressOf,
} from '@symkeep/elf';
import { describe, expect, it } from 'vitest';
import { demangle, extract, extractSymbols, mergeRanges, writeSymbolTable } from '../src/index.ts';
import { type ExpectedAt, fixturePath, readExpected } from './expected.ts';
import { symbolizer } from './symbolizer.ts';

function imageOf(name: string): ElfImage {
  return openElf(bytesSource(readFileSync(fixturePath(`symtab/${name}`))));
}

function textOf(image: ElfImage): readonly [bigint, bigint] {
  const text = image.sections.find(({ name }) => name === '.text')!;
  return [text.address, text.address + BigInt(text.size)];
}

/** As llvm-symbolizer prints what symkeep found. */
function found(
  image: ElfImage,
  addresses: readonly ExpectedAt[],
  nameOf = (name: string) => name,
): ExpectedAt[] {
  const lookup = symbolizer(extract(image).ranges);
  return addresses.map(({ address }) => {
    const frames = lookup(address).map(({ rawName, file, line }) => {
      return { name: nameOf(rawName), file: basename(file), line };
    });
    return { address, frames };
  });
}

/** Outside the code llvm goes on with a symbol that has no size; symkeep knows where the code ends. */
function inText(image: ElfImage, answers: readonly ExpectedAt[]): ExpectedAt[] {
  const [start, end] = textOf(image);
  return answers.filter(({ address }) => address >= start && address < end);
}

function namesAt(name: string): (offset: number) => string | undefined {
  const image = imageOf(name);
  const [start] = textOf(image);
  const lookup = symbolizer(mergeRanges([extractSymbols(image, 'symtab')!]));
  return (offset) => lookup(start + BigInt(offset))[0]?.rawName;
}

describe('every byte of the text, as llvm-symbolizer answers it', () => {
  it.each(['cases', 'cases-dynamic', 'thumb', 'two', 'two-changed'])('%s', (name) => {
    const image = imageOf(name);
    const expected = inText(image, readExpected(`symtab/${name}.expected`));
    expect(expected.length).toBeGreaterThan(20);
    expect(found(image, expected)).toEqual(expected);
  });
});

describe('which symbol covers an address', () => {
  const nameAt = namesAt('cases');

  it('case 1: past the end, before the start and in data there is none', () => {
    const image = imageOf('cases');
    const [start, end] = textOf(image);
    const lookup = symbolizer(extract(image).ranges);
    const data = image.sections.find(({ name }) => name === '.data')!;
    for (const address of [0n, 1n, start - 1n, end, end + 1n, data.address, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(lookup(address)).toEqual([]);
    }
    expect(lookup(start)[0]?.rawName).toBe('first');
  });

  it.each(['two', 'two-changed'])('case 1: before and behind the code of %s, as llvm has it', (name) => {
    const image = imageOf(name);
    const [start, end] = textOf(image);
    const expected = readExpected(`symtab/${name}.expected`);
    const outside = expected.filter(({ address }) => address < start || address >= end);
    expect(outside).toHaveLength(32);
    expect(outside.flatMap(({ frames }) => frames)).toEqual([]);
    expect(found(image, expected)).toEqual(expected);
  });

  it('case 2: gaps and padding have none', () => {
    expect([15, 16, 31, 32].map(nameAt)).toEqual(['first', undefined, undefined, 'alias_c']);
  });

  it('case 3: of aliases the last in table order, of one address the largest', () => {
    expect([32, 47].map(nameAt)).toEqual(['alias_c', 'alias_c']);
    expect([48, 55, 56, 71].map(nameAt)).toEqual(['long_one', 'long_one', 'long_one', 'long_one']);
  });

  it('case 3: behind a symbol inside another there is none', () => {
    expect([72, 87, 88, 95, 96, 111].map(nameAt)).toEqual([
      ...['outer', 'outer', 'inner', 'inner'],
      ...[undefined, undefined],
    ]);
  });

  it('case 24: without a size up to the next; objects in code and IFUNCs count', () => {
    expect([112, 151, 152, 168, 184].map(nameAt)).toEqual([
      'assembly',
      'assembly',
      'quiet',
      'table',
      'chosen',
    ]);
  });

  it('case 24: Thumb bits are no part of addresses, mapping symbols no functions', () => {
    const thumb = namesAt('thumb');
    expect([0, 12, 16, 17, 23, 24].map(thumb)).toEqual([
      ...['arm_function', 'arm_function'],
      ...['thumb_alias', 'thumb_alias', 'thumb_alias', undefined],
    ]);
  });

  it('case 24: .symtab comes before .dynsym, which fills its gaps', () => {
    const image = imageOf('cases');
    const [symtab, dynsym] = [extractSymbols(image, 'symtab')!, extractSymbols(image, 'dynsym')!];
    expect(symtab.functions.name).toContain('quiet');
    expect(dynsym.functions.name).not.toContain('quiet');
    const [start] = textOf(image);
    const lookup = symbolizer(mergeRanges([dynsym, symtab]));
    expect(lookup(start + 152n)[0]?.rawName).toBe('quiet');
    const stripped = extract(imageOf('cases-dynamic'));
    expect(stripped.ranges.sources).toEqual(['dynsym']);
    expect(symbolizer(stripped.ranges)(start)[0]?.rawName).toBe('first');
  });
});

describe('names', () => {
  it('case 26: .cold, .isra.0, .llvm.123, Rust v0 and legacy, versions', () => {
    const image = imageOf('cases');
    const expected = inText(image, readExpected('symtab/cases.demangled'));
    // llvm shows legacy Rust names as C++, with their hash.
    const plain = (name: string) => name.replace(/::h[0-9a-f]{16}$/, '');
    const theirs = expected.map(({ address, frames }) => {
      return { address, frames: frames.map((frame) => ({ ...frame, name: plain(frame.name) })) };
    });
    expect(found(image, expected, demangle)).toEqual(theirs);
    const names = new Set(theirs.flatMap(({ frames }) => frames.map(({ name }) => name)));
    expect(names).toContain('foo::bar() (.cold)');
    expect(names).toContain('mycrate::foo');
  });
});

describe('files that belong together', () => {
  it('case 22: code layout from the stripped file, DWARF from the debug file', () => {
    const [whole, stripped, debug] = [imageOf('two'), imageOf('two.stripped'), imageOf('two.debug')];
    expect(extract(stripped).ranges.starts).toHaveLength(0);
    const combined = combineImages(stripped, debug);
    const digest = (image: ElfImage) => writeSymbolTable(extract(image).ranges).digest;
    expect(digest(combined)).toBe(digest(whole));
    const expected = inText(whole, readExpected('symtab/two.expected'));
    expect(found(combined, expected)).toEqual(expected);
    // A process maps the stripped file; in what lld makes of it, offsets are not addresses.
    const [start] = textOf(whole);
    const segment = stripped.segments.find(({ address, memorySize }) => {
      return start >= address && start < address + memorySize;
    })!;
    expect(BigInt(segment.offset)).not.toBe(segment.address);
    const mapping = { start: 0x7f00_0000_0000n, fileOffset: fileOffset(0) };
    const inProcess = mapping.start + BigInt(segment.offset) + (start - segment.address);
    expect(virtualAddressOf(combined.segments, mapping, inProcess)).toBe(start);
  });

  it('case 31: the same build ID and other content is another table', () => {
    const [one, other] = ['two', 'two-changed'].map((name) => {
      const bytes = readFileSync(fixturePath(`symtab/${name}`));
      return { gnu: identify(bytesSource(bytes)).gnu, image: openElf(bytesSource(bytes)) };
    });
    expect(other!.gnu).toBe(one!.gnu);
    const digest = (image: ElfImage) => writeSymbolTable(extract(image).ranges).digest;
    expect(digest(other!.image)).not.toBe(digest(one!.image));
    expect(digest(one!.image)).toBe(digest(imageOf('two')));
    // As llvm-symbolizer, which is given one path, answers of each.
    for (const name of ['two', 'two-changed']) {
      const expected = inText(imageOf(name), readExpected(`symtab/${name}.expected`));
      expect(found(imageOf(name), expected)).toEqual(expected);
    }
    expect(readExpected('symtab/two.expected')).not.toEqual(readExpected('symtab/two-changed.expected'));
  });
});
