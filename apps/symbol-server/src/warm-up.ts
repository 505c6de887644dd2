// The first lookup of a server opens a table and decodes a page with code that has never run, which takes three times as
// long as the second time. So a server that has just begun to listen does both once with a small table of its own.
import {
  Demangler,
  decodePage,
  framesAt,
  none,
  openSymbolTable,
  type SymbolRanges,
  writeSymbolTable,
} from '@symkeep/symbols';

/** As many ranges as a page has: loops are what there is to warm. */
const rangesOfTable = 512;
const rounds = 2;

/** A few milliseconds. */
export function warmUp(): void {
  const { header, pages } = writeSymbolTable(smallTable());
  const demangler = new Demangler();
  for (let round = 0; round < rounds; round++) {
    const table = openSymbolTable(header);
    const page = decodePage(table, 0, pages[0]!);
    const { frames } = framesAt(table, page, round);
    for (const { rawName } of frames) demangler.demangle(rawName);
  }
}

/** A function at each address, every other one inlined into the one before. */
function smallTable(): SymbolRanges {
  const all = Array.from({ length: rangesOfTable }, (_, index) => index);
  return {
    imageBase: 0n,
    starts: Float64Array.from(all),
    location: Int32Array.from(all),
    sources: ['dwarf'],
    locations: {
      function: Int32Array.from(all),
      file: Int32Array.from(all, (index) => index % 16),
      line: Uint32Array.from(all, (index) => 37 * index),
      column: Uint32Array.from(all),
      parent: Int32Array.from(all, (index) => (index % 2 === 0 ? none : index - 1)),
      source: new Uint8Array(rangesOfTable),
    },
    functions: {
      name: all.map((index) => `_ZN5outer5innerILi${index}EEEvRKSs`),
      startLine: Uint32Array.from(all),
    },
    files: Array.from({ length: 16 }, (_, index) => `/src/${index}.cc`),
  };
}
