// How much of the code the symbols of a file cover, as far as a few bounded reads say: not exact, but a function of the
// bytes, and greater for who covers more. It ranks two files of the same build.
import type { ElfImage, ElfSection } from './elf-image.ts';
import { Fields } from './fields.ts';
import { symbolTypes } from './symbols.ts';

/** Read of a larger table; the rest is taken to be like it. */
export const coverageSymbolsMax = 262_144;
const symbolsPerRead = 16_384;
/** A browser's has half a megabyte. */
export const coverageArangesBytesMax = 4 * 1024 * 1024;

/** Bytes of code in the image. */
export function codeBytesOf(image: ElfImage): number {
  return Number(image.executableRanges().reduce((sum, [start, end]) => sum + (end - start), 0n));
}

/** How many functions a symbol table defines, and the sum of their sizes. Throws `ElfError`. */
export function functionsIn(table: ElfSection): { readonly functions: number; readonly bytes: number } {
  const wide = table.header.class === 64;
  const [entryBytes, info, index, size] = wide ? [24, 4, 6, 16] : [16, 12, 14, 8];
  const count = Math.floor(table.size / entryBytes);
  const read = Math.min(count, coverageSymbolsMax);
  let functions = 0;
  let sum = 0;
  for (let first = 0; first < read; first += symbolsPerRead) {
    const bytes = table.raw(first * entryBytes, Math.min(symbolsPerRead, read - first) * entryBytes);
    const fields = new Fields(bytes, table.header);
    for (let at = 0; at < bytes.length; at += entryBytes) {
      const type = (bytes[at + info] as number) & 15;
      if (type !== symbolTypes.function && type !== symbolTypes.ifunc) continue;
      if (fields.u16(at + index) === 0) continue;
      functions++;
      sum += fields.word(at + size);
    }
  }
  const scale = count > read ? count / read : 1;
  return { functions: Math.round(functions * scale), bytes: Math.round(sum * scale) };
}

/**
 * Sum of the ranges in `.debug_aranges` (DWARF 5, section 6.1.2); undefined if the image has none, or one that is too
 * large or broken. Throws `ElfError` for what cannot be read.
 */
export function arangesBytesOf(image: ElfImage): number | undefined {
  const section = image.section('.debug_aranges');
  if (section === undefined || section.contentBytes() > coverageArangesBytesMax) return undefined;
  const bytes = section.contents();
  const fields = new Fields(bytes, image.header);
  let sum = 0;
  for (let at = 0; at + 4 <= bytes.length; ) {
    const wide = fields.u32(at) === 0xffff_ffff;
    const header = wide ? 24 : 12;
    if (at + header > bytes.length) return undefined;
    const next = wide ? at + 12 + fields.word(at + 4) : at + 4 + fields.u32(at);
    const addressBytes = bytes[at + header - 2] as number;
    if (next <= at || next > bytes.length || (addressBytes !== 4 && addressBytes !== 8)) return undefined;
    const pair = 2 * addressBytes;
    for (let tuple = at + pair * Math.ceil(header / pair); tuple + pair <= next; tuple += pair) {
      sum += addressBytes === 8 ? fields.u64(tuple + 8) : fields.u32(tuple + 4);
    }
    at = next;
  }
  return sum;
}
