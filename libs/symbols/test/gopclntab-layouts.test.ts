// All layouts of Go's table, word sizes and byte orders, and tables that are broken.
// FUZZ_RUNS=1000000 FUZZ_SEED=7 fuzzes more, and others.
import { bytesSource, ElfError, openElf } from '@symkeep/elf';
import { describe, expect, it } from 'vitest';
import { extract, extractGopclntab, mergeRanges, SymbolsError } from '../src/index.ts';
import { elfOf, Output, type TestEncoding } from './elf-writer.ts';
import { GoTableWriter, type GoTestFunction, type GoVersion } from './gopclntab-writer.ts';
import { randomOf } from './random.ts';
import { symbolizer } from './symbolizer.ts';

const text = 0x40_1000;
const readOnly = 0x50_0000;
const [alloc, execute] = [2, 4];

/** Function `index` of 32 bytes with 16 of padding; every second one has calls, one inlined into the other. */
function functionOf(index: number): GoTestFunction {
  const own = { name: `main.f${index}`, startLine: 10 * index + 1, entry: 48 * index };
  const [mine, theirs] = ['/src/main.go', `/src/lib${index % 3}.go`];
  if (index % 2 === 1) {
    return { ...own, calls: [], rows: [{ end: 32, file: mine, line: 10 * index + 2, call: -1 }] };
  }
  const rows = [
    { end: 8, file: mine, line: 10 * index + 2, call: -1 },
    { end: 16, file: theirs, line: 500 + index, call: 0 },
    { end: 24, file: `${theirs}x`, line: 600 + index, call: 1 },
    { end: 32, file: mine, line: 10 * index + 5, call: -1 },
  ];
  const calls = [
    { name: `lib.outer${index}`, startLine: 499, parent: -1, file: mine, line: 10 * index + 2, pc: 4 },
    { name: `lib.inner${index}`, startLine: 599, parent: 0, file: theirs, line: 500 + index, pc: 12 },
  ];
  return { ...own, rows, calls };
}

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

const functions = Array.from({ length: 40 }, (_, index) => functionOf(index));

function elfWithTable(version: GoVersion, encoding: TestEncoding, tableSection = '.gopclntab'): Uint8Array {
  const writer = new GoTableWriter(version, encoding, { text, trees: readOnly, quantum: 4 });
  const { table, trees } = writer.write(functions);
  return elfOf(encoding, [
    { name: '.text', address: text, flags: alloc | execute, contents: 0x1000 },
    { name: '.rodata', address: readOnly, flags: alloc, contents: trees },
    { name: tableSection, address: 0x60_0000, flags: alloc, contents: table },
  ]);
}

const versions: readonly GoVersion[] = ['1.9', '1.12', '1.14', '1.16', '1.18', '1.20'];
const encodings: readonly TestEncoding[] = [
  { class: 64, littleEndian: true },
  { class: 64, littleEndian: false },
  { class: 32, littleEndian: true },
  { class: 32, littleEndian: false },
];
const layouts = versions.flatMap((version) => encodings.map((encoding) => ({ version, ...encoding })));

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

const runs = Number(process.env.FUZZ_RUNS ?? 1_500);
const seed = Number(process.env.FUZZ_SEED ?? 1);

it(`${runs} mutated tables: ranges or a typed error`, { timeout: 3_600_000 }, () => {
  const random = randomOf(seed);
  const originals = layouts.map(({ version, ...encoding }) => elfWithTable(version, encoding));
  const outcomes = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    const bytes = Buffer.from(originals[random(originals.length)]!);
    // Behind the ELF header, which others fuzz, and before the section headers.
    for (let change = random(5); change >= 0; change--) {
      const at = 64 + random(bytes.length - 64 - 400);
      bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random(256), (bytes[at] as number) ^ (1 << random(8))][
        random(7)
      ] as number;
    }
    const outcome = outcomeOf(bytes);
    outcomes.set(outcome, 1 + (outcomes.get(outcome) ?? 0));
  }
  expect([...outcomes.keys()].sort()).toEqual(['limit', 'malformed', 'read', 'truncated']);
});

function outcomeOf(bytes: Uint8Array): string {
  try {
    const table = extractGopclntab(openElf(bytesSource(bytes)));
    if (table !== undefined) symbolizer(mergeRanges([table]));
    return 'read';
  } catch (error) {
    if (error instanceof SymbolsError || error instanceof ElfError) return error.code;
    throw error;
  }
}
