// Functions from an ELF symbol table, `.symtab` or `.dynsym`: names without lines. The rules are those of
// llvm-symbolizer, so that both say the same of a file without DWARF:
//
// - Functions, objects and untyped symbols (assembly) count, sections, files and mapping symbols do not.
// - The symbol of an address is the last one that starts at or before it. If it has a size and ends before the address,
//   the address has none, whatever encloses it; without a size it reaches to the next symbol or the end of its section.
// - Of several that start at one address the largest counts, and of equal ones the last in table order.
// - The file of a local symbol is the last STT_FILE symbol before it.
//
// Stricter than llvm: only addresses in executable sections are answered, and symbols without a name are not.
import {
  type ElfImage,
  type ElfSection,
  type ElfSymbols,
  isMappingSymbol,
  machines,
  readSymbols,
  sectionFlags,
  symbolBindings,
  symbolTypes,
} from '@symkeep/elf';
import { RangeTableBuilder } from './range-table-builder.ts';
import { none, type RangeTable } from './ranges.ts';
import { relativeAddressMax } from './symbol-table-plan.ts';
import { SymbolsError } from './symbols-error.ts';

const typesWithCode: readonly number[] = [
  symbolTypes.none,
  symbolTypes.object,
  symbolTypes.function,
  symbolTypes.ifunc,
];

/**
 * Characters of all names: so many for each symbol, and some. Real tables have 60 to 100 each; in a hostile one every
 * symbol could have the same very long one.
 */
const nameCharsPerSymbolMax = 512;
const nameCharsFree = 16_777_216;

/** A symbol that may name code. */
interface Candidate {
  /** Index in the table. */
  readonly index: number;
  readonly address: number;
  readonly size: number;
  readonly name: string;
  /** Of the STT_FILE symbol, `''` if there is none. */
  readonly file: string;
}

/**
 * Undefined if the image has no such symbol table. `base` is what the ranges are to count from, if not from the image's
 * own base. Throws `ElfError`, or `limit`.
 */
export function extractSymbols(
  image: ElfImage,
  source: 'symtab' | 'dynsym',
  base: bigint = image.base,
): RangeTable | undefined {
  const symbols = readSymbols(image, source);
  if (symbols === undefined) return undefined;
  const winners = winnersOf([...candidatesIn(image, symbols)]);
  const builder = new RangeTableBuilder(source, base);
  const shift = Number(BigInt.asIntN(64, image.base - base));
  for (const [low, high] of codeIntervals(image)) addInterval(builder, winners, low, high, shift);
  return builder.table();
}

function* candidatesIn(image: ElfImage, symbols: ElfSymbols): Iterable<Candidate> {
  const sections = sectionsBeside(image, symbols.source);
  const { machine } = image.header;
  const descriptors = functionDescriptors(image);
  let file = '';
  let charsLeft = nameCharsFree + nameCharsPerSymbolMax * symbols.count;
  for (let index = 1; index < symbols.count; index++) {
    const type = symbols.type[index] as number;
    if (type === symbolTypes.file) file = symbols.name(index);
    if (!typesWithCode.includes(type)) continue;
    const section = sections[symbols.section[index] as number];
    const value = symbols.address[index] as number;
    const address = descriptors?.(value) ?? withoutModeBit(machine, type, value);
    if (section === undefined || !(isCode(section) || address !== value)) continue;
    const name = symbols.name(index);
    charsLeft -= name.length;
    if (charsLeft < 0) throw new SymbolsError('limit', symbols.source, 'its names are too long');
    if (name === '' || isMappingSymbol(machine, name) || Math.abs(address) > relativeAddressMax) continue;
    const isLocal = symbols.binding[index] === symbolBindings.local;
    yield { index, address, size: symbols.size[index] as number, name, file: isLocal ? file : '' };
  }
}

/** By ascending address, one at each. */
function winnersOf(candidates: Candidate[]): Candidate[] {
  candidates.sort((a, b) => a.address - b.address || a.size - b.size || a.index - b.index);
  return candidates.filter(({ address }, at) => candidates[at + 1]?.address !== address);
}

function addInterval(
  builder: RangeTableBuilder,
  winners: readonly Candidate[],
  low: number,
  high: number,
  shift: number,
): void {
  for (let at = firstFrom(winners, low); at < winners.length; at++) {
    const { address, size, name, file } = winners[at] as Candidate;
    if (address >= high) break;
    const next = Math.min(winners[at + 1]?.address ?? high, high);
    const end = size === 0 ? next : Math.min(address + size, next);
    const location = builder.location({
      function: builder.function(name, 0),
      file: file === '' ? none : builder.file(file),
      line: 0,
      column: 0,
      parent: none,
    });
    builder.range(address + shift, location);
    builder.range(end + shift, none);
  }
}

function firstFrom(winners: readonly Candidate[], address: number): number {
  let low = 0;
  let high = winners.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((winners[middle] as Candidate).address < address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Executable ranges relative to the base, ascending, those that overlap or touch as one. */
function codeIntervals(image: ElfImage): [number, number][] {
  const intervals = image
    .executableRanges()
    .map(([start, end]): [number, number] => {
      const low = Number(BigInt.asIntN(64, start - image.base));
      return [low, low + Number(end - start)];
    })
    .sort(([a], [b]) => a - b);
  const joined: [number, number][] = [];
  for (const [low, high] of intervals) {
    const last = joined.at(-1);
    if (last !== undefined && low < last[1]) last[1] = Math.max(last[1], high);
    else joined.push([low, high]);
  }
  return joined;
}

/** The sections by the indexes that the symbols use: those of the file that the table is in. */
function sectionsBeside(image: ElfImage, source: 'symtab' | 'dynsym'): readonly ElfSection[] {
  const name = source === 'symtab' ? '.symtab' : '.dynsym';
  return image.section(name)?.fileSections ?? image.sections;
}

function isCode(section: ElfSection): boolean {
  const code = sectionFlags.alloc | sectionFlags.execute;
  return (section.flags & code) === code;
}

/** In function symbols of ARM and MIPS the lowest bit says Thumb or microMIPS. */
function withoutModeBit(machine: number, type: number, address: number): number {
  const marked = type === symbolTypes.function && (machine === machines.arm || machine === machines.mips);
  return marked ? address - Math.abs(address % 2) : address;
}

/**
 * Function symbols of 64-bit PowerPC's first ABI point to descriptors in `.opd`, whose first word is the address of the
 * code. Undefined where there are no descriptors.
 */
function functionDescriptors(image: ElfImage): ((address: number) => number | undefined) | undefined {
  const section = image.header.machine === machines.ppc64 ? image.section('.opd') : undefined;
  if (section === undefined) return undefined;
  const bytes = section.contents();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const first = Number(BigInt.asIntN(64, section.address - image.base));
  return (address) => {
    const at = address - first;
    if (!(at >= 0 && at + 8 <= bytes.length)) return undefined;
    const code = view.getBigUint64(at, image.header.littleEndian);
    return Number(BigInt.asIntN(64, code - image.base));
  };
}
