// Looks addresses up in a written table, through all that a server does with one.
import type { Frame } from '@symkeep/protocol';
import {
  type DecodedPage,
  decodePage,
  type FoundFrames,
  framesAt,
  noFrames,
  openSymbolTable,
  pageOf,
  relativeTo,
  type SymbolRanges,
  type WrittenTable,
  writeSymbolTable,
} from '../src/index.ts';

/** Answers relative addresses. */
export function reader({ header, pages }: WrittenTable): (relative: number) => FoundFrames {
  const table = openSymbolTable(header);
  const decoded: DecodedPage[] = [];
  return (relative) => {
    const page = pageOf(table, relative);
    if (page < 0) return noFrames;
    decoded[page] ??= decodePage(table, page, pages[page] as Buffer);
    return framesAt(table, decoded[page], relative);
  };
}

/** Answers virtual addresses. */
export function symbolizer(ranges: SymbolRanges): (address: bigint) => readonly Frame[] {
  const lookup = reader(writeSymbolTable(ranges));
  return (address) => lookup(relativeTo(ranges.imageBase, address)).frames;
}
