// All layouts of Go's table, word sizes and byte orders, and tables that are broken.
import { bytesSource, openElf } from '@symkeep/elf';
import { describe, expect, it } from 'vitest';
import { fuzzSuite } from '../../../tools/fuzz/suite.ts';
import { extract, extractGopclntab, mergeRanges } from '../src/index.ts';
import { elfOf, Output } from './elf-writer.ts';
import { gopclntabTarget } from './fuzz-gopclntab.ts';
import {
  alloc,
  elfWithTable,
  encodings,
  execute,
  functions,
  layouts,
  readOnly,
  text,
} from './gopclntab-program.ts';
import type { GoTestFunction } from './gopclntab-writer.ts';
import { symbolizer } from './symbolizer.ts';

/** What stands at an offset, innermost first, as `name file:line startLine`. */
function expectedAt(functions: readonly GoTestFunction[], offset: number, hasStartLines: boolean): string[] {
  const func = functions[Math.floor(offset / 48)]!;
  const row = func.rows.find(({ end }) => offset % 48 < end);
  if (row === undefined) return [];
  const frames: string[] = [];
  const start = (line: number) => (hasStartLines ? line : 0);
  let place = `${row.file}:${row.line}`;
  for (let call = row.call; call >= 0; call = func.calls[call]!.parent) {
    const { name, startLine, file, line } = func.calls[call]!;
    frames.push(`${name} ${place} ${start(startLine)}`);
    place = `${file}:${line}`;
  }
  return [...frames, `${func.name} ${place} ${start(func.startLine)}`];
}

describe('case 25: layouts', () => {
  it.each(layouts)('Go $version, $class bits, little-endian $littleEndian', ({ version, ...encoding }) => {
    for (const section of ['.gopclntab', '.data.rel.ro.gopclntab', '.data.rel.ro']) {
      const image = openElf(bytesSource(elfWithTable(version, encoding, section)));
      const lookup = symbolizer(mergeRanges([extractGopclntab(image)!]));
      for (let offset = 0; offset < 48 * functions.length; offset++) {
        const found = lookup(BigInt(text + offset)).map(({ rawName, file, line, startLine }) => {
          return `${rawName} ${file}:${line} ${startLine}`;
        });
        expect(found).toEqual(expectedAt(functions, offset, version === '1.20'));
      }
      for (const outside of [text - 1, text + 48 * functions.length, readOnly]) {
        expect(lookup(BigInt(outside))).toEqual([]);
      }
    }
  });

  it('without any table there is nothing', () => {
    const bytes = elfOf(encodings[0]!, [
      { name: '.text', address: text, flags: alloc | execute, contents: 0x1000 },
      { name: '.rodata', address: readOnly, flags: alloc, contents: Buffer.alloc(4096, 0xff) },
    ]);
    expect(extractGopclntab(openElf(bytesSource(bytes)))).toBeUndefined();
  });
});

describe('tables that share too much', () => {
  const encoding = encodings[0]!;
  const extractFrom = (table: Uint8Array) =>
    extractGopclntab(
      openElf(
        bytesSource(
          elfOf(encoding, [
            { name: '.text', address: text, flags: alloc | execute, contents: 0x1000_0000 },
            { name: '.gopclntab', address: 0x6000_0000, flags: alloc, contents: table },
          ]),
        ),
      ),
    );

  /** `count` functions with the same steps; each has a name of its own in one long text, or all have one. */
  function sharing(count: number, name: Uint8Array, steps: Uint8Array): Uint8Array {
    const names = 72;
    const values = names + name.length;
    const table = Math.ceil((values + steps.length) / 8) * 8;
    const records = 8 * count + 8;
    const out = new Output(encoding).u32(0xfffffff1).u8(0, 0, 1, 8);
    out.word(count, 0, text, names, names, names, values, table).put(name).put(steps).align(8);
    for (let index = 0; index < count; index++) out.u32(index << 12, records + 44 * index);
    out.u32(count << 12, 0);
    const nameOf = (index: number) => (name.length < 100 ? 1 : 1 + index);
    for (let index = 0; index < count; index++)
      out.u32(index << 12, nameOf(index), 0, 0, 0, 0, 1, 0, 0, 7, 0);
    return out.bytes;
  }

  it('steps: over a limit', () => {
    // Lines 0, 1, 0, 1…, an address each.
    const steps = Uint8Array.from([
      0,
      2,
      1,
      ...Array.from({ length: 2_000 }, (_, at) => [1 + (at & 2) / 2, 1]).flat(),
      0,
    ]);
    expect(extractFrom(sharing(100, Buffer.from('\0main\0'), steps))?.functions.name).toEqual(['main']);
    expect(() => extractFrom(sharing(3_000, Buffer.from('\0main\0'), steps))).toThrow(
      expect.objectContaining({ code: 'limit' }),
    );
  });

  it('names: over a limit', () => {
    const names = Buffer.from(`\0${'x'.repeat(60_000)}\0`);
    const steps = Uint8Array.of(0, 2, 1, 0);
    expect(extractFrom(sharing(10, names, steps))?.functions.name).toHaveLength(10);
    expect(() => extractFrom(sharing(1_000, names, steps))).toThrow(
      expect.objectContaining({ code: 'limit' }),
    );
  });
});

it('a broken table is reported, and the other sources are extracted all the same', () => {
  const bytes = elfWithTable('1.20', encodings[0]!);
  const at = Buffer.from(bytes).indexOf(Buffer.of(0xf1, 0xff, 0xff, 0xff));
  bytes[at + 8] = 0xff;
  const { ranges, damage, dwarf } = extract(openElf(bytesSource(bytes)));
  expect(damage).toMatchObject([{ source: 'gopclntab', error: { code: 'truncated' } }]);
  expect([ranges.starts.length, dwarf?.units]).toEqual([0, 0]);
});

fuzzSuite(gopclntabTarget, 2_000, ['limit', 'malformed', 'read', 'truncated']);
