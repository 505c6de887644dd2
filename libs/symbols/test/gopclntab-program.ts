// A small Go program's table in all layouts, word sizes and byte orders.
import { elfOf, type TestEncoding } from './elf-writer.ts';
import { GoTableWriter, type GoTestFunction, type GoVersion } from './gopclntab-writer.ts';

export const text = 0x40_1000;
export const readOnly = 0x50_0000;
export const [alloc, execute] = [2, 4];

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

export const functions = Array.from({ length: 40 }, (_, index) => functionOf(index));

export function elfWithTable(
  version: GoVersion,
  encoding: TestEncoding,
  tableSection = '.gopclntab',
): Uint8Array {
  const writer = new GoTableWriter(version, encoding, { text, trees: readOnly, quantum: 4 });
  const { table, trees } = writer.write(functions);
  return elfOf(encoding, [
    { name: '.text', address: text, flags: alloc | execute, contents: 0x1000 },
    { name: '.rodata', address: readOnly, flags: alloc, contents: trees },
    { name: tableSection, address: 0x60_0000, flags: alloc, contents: table },
  ]);
}

const versions: readonly GoVersion[] = ['1.9', '1.12', '1.14', '1.16', '1.18', '1.20'];
export const encodings: readonly TestEncoding[] = [
  { class: 64, littleEndian: true },
  { class: 64, littleEndian: false },
  { class: 32, littleEndian: true },
  { class: 32, littleEndian: false },
];
export const layouts = versions.flatMap((version) => encodings.map((encoding) => ({ version, ...encoding })));
