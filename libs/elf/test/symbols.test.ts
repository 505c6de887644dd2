import { describe, expect, it } from 'vitest';
import {
  bytesSource,
  type ElfSymbols,
  isMappingSymbol,
  machines,
  openElf,
  readSymbols,
  sectionIndexes,
  symbolBindings,
  symbolNameBytesMax,
  symbolTypes,
} from '../src/index.ts';
import { factsOf, fixture, fixtureBytes, shapes } from './fixture.ts';
import { section64, viewOf } from './image.ts';
import type { ReadelfSymbol } from './readelf.ts';

const typeNames: Record<string, number> = {
  NOTYPE: symbolTypes.none,
  OBJECT: symbolTypes.object,
  FUNC: symbolTypes.function,
  SECTION: symbolTypes.section,
  FILE: symbolTypes.file,
  TLS: symbolTypes.tls,
  IFUNC: symbolTypes.ifunc,
};
const bindingNames: Record<string, number> = {
  LOCAL: symbolBindings.local,
  GLOBAL: symbolBindings.global,
  WEAK: symbolBindings.weak,
};
const sectionNames: Record<string, number> = { UND: sectionIndexes.undefined, ABS: sectionIndexes.absolute };

function rowsOf(table: ElfSymbols, from = 0) {
  return Array.from({ length: table.count - from }, (_, row) => {
    const index = from + row;
    return {
      value: table.virtualAddress(index),
      size: table.size[index]!,
      type: table.type[index]!,
      binding: table.binding[index]!,
      section: table.section[index]!,
      name: table.name(index),
    };
  });
}

function expectedRow(
  { value, size, type, binding, section, name }: ReadelfSymbol,
  sections: readonly string[],
) {
  return {
    value,
    size,
    type: typeNames[type],
    binding: bindingNames[binding],
    section: sectionNames[section] ?? Number(section),
    // readelf shows the name of the section for a section symbol, which has none.
    name: type === 'SECTION' && sections.includes(name) ? '' : name.replace(/ \(\d+\)$/, ''),
  };
}

const withSymbols = [
  ...shapes,
  'debug-plain',
  'debug-only',
  'debug-eu-only',
  'debug-ifunc',
  'debug-kept-relocations',
];

describe('case 16: 32 and 64 bit, both byte orders', () => {
  it.each(withSymbols)('symbols of %s are those of readelf', (name) => {
    const facts = factsOf(name);
    const image = openElf(fixture(name));
    const sectionsByName = facts.sections.map((section) => section.name);
    expect(image.sections.map((section) => section.name)).toEqual(sectionsByName);
    for (const source of ['symtab', 'dynsym'] as const) {
      const expected = facts.symbols[`.${source}`] ?? [];
      const table = readSymbols(image, source);
      expect(table?.source ?? source).toBe(source);
      const rows = table === undefined ? [] : rowsOf(table);
      // In a relocatable file readelf has values from the start of the section.
      const start = (symbol: ReadelfSymbol) => {
        return image.header.type === 'rel' ? (image.sections[Number(symbol.section)]?.address ?? 0n) : 0n;
      };
      const placed = expected.map((symbol) => ({ ...symbol, value: symbol.value + start(symbol) }));
      expect(rows).toEqual(placed.map((symbol) => expectedRow(symbol, sectionsByName)));
    }
  });
});

describe('case 24: which symbols', () => {
  it('.symtab before .dynsym', () => {
    expect(readSymbols(openElf(fixture('debug-ifunc')))?.source).toBe('symtab');
    expect(readSymbols(openElf(fixture('shapes-stripped')))?.source).toBe('dynsym');
    expect(readSymbols(openElf(fixture('shapes-no-sections')))).toBeUndefined();
  });

  it('a file without .symtab has none when asked for it', () => {
    expect(readSymbols(openElf(fixture('shapes-stripped')), 'symtab')).toBeUndefined();
  });

  it('mapping symbols of ARM are told from functions', () => {
    const table = readSymbols(openElf(fixture('shapes-arm')))!;
    const names = rowsOf(table).map(({ name }) => name);
    const { machine } = openElf(fixture('shapes-arm')).header;
    expect(names.filter((name) => isMappingSymbol(machine, name))).toContain('$a');
    expect(names.filter((name) => !isMappingSymbol(machine, name))).toEqual(
      expect.arrayContaining(['area', 'square', 'quad', 'perimeter', '_start']),
    );
  });

  it.each([
    [machines.arm, '$d.12', true],
    [machines.arm, '$x', false],
    [machines.aarch64, '$x', true],
    [machines.aarch64, '$xylophone', false],
    [machines.riscv, '$xrv64i2p1', true],
    [machines.x86_64, '$d', false],
  ])('machine %i: %s', (machine, name, marks) => expect(isMappingSymbol(machine, name)).toBe(marks));

  it('size-0 symbols keep their size', () => {
    const table = readSymbols(openElf(fixture('shapes-x86_64')))!;
    const start = rowsOf(table).find(({ name }) => name === '__bss_start');
    expect(start).toMatchObject({ size: 0, type: symbolTypes.none });
  });
});

describe('case 19: addresses from 2^63 on', () => {
  const image = openElf(fixture('shapes-high'));

  it('columns are relative to the base, exactly', () => {
    expect(image.base).toBe(0xffffffff81000000n);
    const table = readSymbols(image)!;
    const facts = factsOf('shapes-high').symbols['.symtab']!;
    const row = facts.findIndex(({ name }) => name === 'square');
    expect(table.address[row]).toBe(Number(facts[row]!.value - image.base));
    expect(table.virtualAddress(row)).toBe(facts[row]!.value);
  });

  it('executable ranges', () => {
    const text = factsOf('shapes-high').sections.find(({ name }) => name === '.text')!;
    expect(image.executableRanges()).toEqual([[text.address, text.address + BigInt(text.size)]]);
  });
});

it('case 15: SHN_XINDEX in a symbol is resolved by the table beside it', () => {
  const image = openElf(fixture('sections.o.zst'));
  const last = image.section('.last')!;
  expect(last.index).toBeGreaterThan(0xff00);
  const table = readSymbols(image)!;
  const sections = rowsOf(table).filter(
    ({ type }) => type === symbolTypes.section || type === symbolTypes.none,
  );
  expect(sections.map(({ section }) => section)).toContain(last.index);
});

it('a name is cut at its limit, and at the end of the strings', () => {
  const bytes = fixtureBytes('shapes-x86_64');
  const strings = openElf(bytesSource(bytes)).sections.find(({ name }) => name === '.strtab')!;
  bytes.fill(0x61, strings.offset + 1, strings.offset + strings.size);
  const table = readSymbols(openElf(bytesSource(bytes)))!;
  const longest = rowsOf(table).reduce((most, { name }) => Math.max(most, name.length), 0);
  expect(longest).toBeGreaterThan(20);
  expect(longest).toBeLessThan(strings.size);

  const longer = new Uint8Array(bytes.length + symbolNameBytesMax + 100).fill(0x61);
  longer.set(bytes);
  const view = viewOf(longer);
  const header = openElf(bytesSource(bytes)).header.sectionTable;
  const at = header.offset + strings.index * section64.bytes;
  view.setBigUint64(at + section64.offset, BigInt(bytes.length), true);
  view.setBigUint64(at + section64.size, BigInt(longer.length - bytes.length), true);
  const cut = readSymbols(openElf(bytesSource(longer)))!;
  expect(Math.max(...rowsOf(cut).map(({ name }) => name.length))).toBe(symbolNameBytesMax);
});
