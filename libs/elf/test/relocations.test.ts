// Relocated debug sections of object files, against a linker that put their code and data at known addresses.
import { describe, expect, it } from 'vitest';
import { bytesSource, ElfError, type ElfImage, openElf, readSymbols, sectionTypes } from '../src/index.ts';
import { fixture, fixtureBytes } from './fixture.ts';
import { viewOf } from './image.ts';

const machines = [
  ...['x86_64', 'i386', 'aarch64', 'arm', 'powerpc', 'powerpc64', 'powerpc64le'],
  ...['s390x', 'mips', 'mips64', 'mips64el', 'riscv64', 'loongarch64'],
];

/** As in fixtures/layout.ld. */
const addresses: [RegExp, number][] = [
  [/^\.text/, 0x400],
  [/^\.s?rodata/, 0x800],
  [/^\.s?data/, 0xc00],
  [/^\.s?bss/, 0x1000],
  [/^\.opd/, 0x1400],
];

/** The object file with those addresses in its section headers, where compilers leave 0. */
function placed(name: string): Uint8Array {
  const bytes = fixtureBytes(name);
  const { header, sections } = openElf(bytesSource(bytes));
  for (const section of sections) {
    const address = addresses.find(([pattern]) => pattern.test(section.name))?.[1];
    if (address === undefined) continue;
    const at = header.sectionTable.offset + section.index * header.sectionTable.entryBytes;
    const view = viewOf(bytes);
    if (header.class === 64) view.setBigUint64(at + 16, BigInt(address), header.littleEndian);
    else view.setUint32(at + 12, address, header.littleEndian);
  }
  return bytes;
}

function relocatedSections(image: ElfImage): string[] {
  const targets = image.sections.filter(
    ({ type }) => type === sectionTypes.rel || type === sectionTypes.rela,
  );
  return targets.map(({ info }) => image.sections[info]!.name).filter((name) => name.startsWith('.debug_'));
}

describe('case 17: relocatable files', () => {
  it('symbols of sections that 16 bits do not count', () => {
    const image = openElf(fixture('far.o.zst'));
    const last = image.section('.last')!;
    const contents = Uint8Array.from(image.section('.debug_far')!.contents());
    // Of the three words in `.first`, then, as readelf says of the relocation, 32 bytes into `.last`.
    expect([last.index > 0xff00, last.address]).toEqual([true, 24n]);
    expect(viewOf(contents).getBigUint64(0, true)).toBe(24n + 32n);
  });

  it.each(machines)('%s: debug sections are what lld makes of them', (machine) => {
    const object = openElf(bytesSource(placed(`relocated-${machine}.o`)));
    const linked = openElf(fixture(`relocated-${machine}.linked`));
    const names = relocatedSections(object);
    expect(names).toEqual(
      expect.arrayContaining(['.debug_info', '.debug_addr', '.debug_line', '.debug_distances']),
    );
    for (const name of names) {
      const section = object.section(name)!;
      expect([name, hexOf(section.contents())]).toEqual([name, hexOf(linked.section(name)!.contents())]);
    }
    const changed = names.filter((name) => {
      const section = object.section(name)!;
      return hexOf(section.contents()) !== hexOf(section.raw(0, section.size));
    });
    expect(changed.length).toBeGreaterThan(0);
  });

  it('the file itself is not written to', () => {
    const bytes = fixtureBytes('relocated-x86_64.o');
    const before = Uint8Array.from(bytes);
    for (const name of relocatedSections(openElf(bytesSource(bytes)))) {
      openElf(bytesSource(bytes)).section(name)!.contents();
    }
    expect(bytes).toEqual(before);
  });
});

describe('relocations that cannot be applied', () => {
  /** Changes the first entry of `.rela.debug_info` in the x86-64 object file. */
  function contentsAfter(change: (view: DataView, at: number) => void): Uint8Array {
    const bytes = fixtureBytes('relocated-x86_64.o');
    const relocations = openElf(bytesSource(bytes)).section('.rela.debug_info')!;
    change(viewOf(bytes), relocations.offset);
    return openElf(bytesSource(bytes)).section('.debug_info')!.contents();
  }

  it.each<[string, ElfError['code'], (view: DataView, at: number) => void]>([
    ['past the end', 'malformed', (view, at) => view.setBigUint64(at, 2n ** 40n, true)],
    ['of an unknown type', 'unsupported', (view, at) => view.setUint32(at + 8, 200, true)],
    ['of a symbol that is none', 'malformed', (view, at) => view.setUint32(at + 12, 100_000, true)],
  ])('%s', (_, code, change) => {
    const what = 'section .rela.debug_info: relocation 0';
    expect(() => contentsAfter(change)).toThrow(expect.objectContaining({ code, what }));
  });

  /** What the first entry writes, 8 bytes, with type, symbol and addend changed. */
  function written(
    type: number,
    symbolName: string,
    addend: bigint,
  ): { value: bigint; symbol: bigint; place: bigint } {
    const image = openElf(fixture('relocated-x86_64.o'));
    const symbols = readSymbols(image)!;
    const symbol = Array.from({ length: symbols.count }, (_, index) => symbols.name(index)).indexOf(
      symbolName,
    );
    const place = viewOf(image.section('.rela.debug_info')!.contents()).getBigUint64(0, true);
    const contents = contentsAfter((view, at) => {
      view.setUint32(at + 8, type, true);
      view.setUint32(at + 12, symbol, true);
      view.setBigInt64(at + 16, addend, true);
      // The entries behind it write next to the same place.
      for (let entry = 1; entry < 4; entry++) view.setUint32(at + 24 * entry + 8, 0, true);
    });
    return {
      value: viewOf(contents).getBigUint64(Number(place), true),
      symbol: symbols.virtualAddress(symbol),
      place,
    };
  }

  it.each([0n, 5n, -5n, -(2n ** 40n), 2n ** 62n, -(2n ** 63n)])(
    '64-bit sums are exact modulo 2^64: addend %i',
    (addend) => {
      const absolute = written(1, 'lookup', addend);
      expect(absolute.symbol).toBeGreaterThan(5n);
      expect(absolute.value).toBe(BigInt.asUintN(64, absolute.symbol + addend));
      const relative = written(24, 'lookup', addend);
      expect(relative.value).toBe(BigInt.asUintN(64, relative.symbol + addend - relative.place));
    },
  );

  it('for a machine that is unknown here', () => {
    const bytes = fixtureBytes('relocated-x86_64.o');
    viewOf(bytes).setUint16(18, 50, true);
    expect(() => openElf(bytesSource(bytes)).section('.debug_info')!.contents()).toThrow(ElfError);
  });
});

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
