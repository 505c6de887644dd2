// How much of the code symbols cover: against the columns of the reader of symbols, on files of every class and byte order.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  arangesBytesOf,
  bytesSource,
  codeBytesOf,
  type ElfImage,
  functionsIn,
  openElf,
  readSymbols,
  sectionTypes,
  symbolTypes,
} from '../src/index.ts';
import { fixture, shapes } from './fixture.ts';

function symtabOf(image: ElfImage) {
  return image.sections.find(({ type, hasContents }) => type === sectionTypes.symtab && hasContents);
}

describe('functions in a symbol table', () => {
  const withTable = shapes.filter((name) => symtabOf(openElf(fixture(name))) !== undefined);

  it.each([...withTable, 'debug-plain', 'debug-ifunc'])('%s', (name) => {
    const image = openElf(fixture(name));
    const symbols = readSymbols(image, 'symtab')!;
    let functions = 0;
    let bytes = 0;
    for (let index = 0; index < symbols.count; index++) {
      const type = symbols.type[index];
      if (type !== symbolTypes.function && type !== symbolTypes.ifunc) continue;
      if (symbols.section[index] === 0) continue;
      functions++;
      bytes += symbols.size[index]!;
    }
    expect(functions).toBeGreaterThan(0);
    expect(functionsIn(symtabOf(image)!)).toEqual({ functions, bytes });
  });
});

describe('ranges in .debug_aranges', () => {
  // One compilation unit, all of whose code is in its one range of 0x3e bytes, as readelf --debug-dump=aranges says.
  it.each(['debug-plain', 'debug-zlib', 'debug-zstd', 'debug-zdebug', 'debug-only'])('%s', (name) => {
    const bytes = arangesBytesOf(openElf(fixture(name)))!;
    expect(bytes).toBe(0x3e);
    expect(codeBytesOf(openElf(fixture('debug-plain')))).toBe(0x3e);
  });

  it('are absent where there are none, and where they are broken', () => {
    expect(arangesBytesOf(openElf(fixture('debug-stripped')))).toBeUndefined();
    const bytes = readFileSync(new URL('../fixtures/debug-plain', import.meta.url));
    const section = openElf(bytesSource(bytes)).section('.debug_aranges')!;
    for (const length of [0xffff_fff0, 0, section.size]) {
      const broken = Buffer.from(bytes);
      broken.writeUInt32LE(length >>> 0, section.offset);
      const found = arangesBytesOf(openElf(bytesSource(broken)));
      expect(found === undefined || found <= codeBytesOf(openElf(bytesSource(broken))), String(length)).toBe(
        true,
      );
    }
  });
});
