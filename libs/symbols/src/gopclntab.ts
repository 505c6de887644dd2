// Functions, files, lines and inlined calls from Go's own table, which stripped binaries have as well.
import { type ElfImage, type ElfSection, readSymbols, sectionFlags } from '@symkeep/elf';
import { findInlineTrees, type InlinedCall, type InlineTrees } from './gopclntab-inlining.ts';
import { type GoFunction, Pclntab, pclntabMagics } from './gopclntab-table.ts';
import { RangeTableBuilder } from './range-table-builder.ts';
import { none, type RangeTable } from './ranges.ts';
import { SymbolsError } from './symbols-error.ts';

const sectionNames = ['.gopclntab', '.data.rel.ro.gopclntab'];
/** Other linkers put the table among other data; it is aligned to this. */
const tableAlignment = 8;
/** Calls inlined into one another; Go's inliner stops far below. */
const inlineDepthMax = 128;

/** Undefined if the image has no such table. Throws `ElfError`, or `SymbolsError` when the table is broken. */
export function extractGopclntab(image: ElfImage): RangeTable | undefined {
  const table = findTable(image);
  if (table === undefined) return undefined;
  const { base, littleEndian } = { base: inlineBaseOf(image), littleEndian: image.header.littleEndian };
  const memories = dataSections(image).map((section) => ({
    address: section.address,
    bytes: section.contents(),
  }));
  const trees = findInlineTrees(table, memories, littleEndian, base);
  const builder = new RangeTableBuilder('gopclntab', image.base);
  const text = Number(BigInt.asIntN(64, table.textStart - image.base));
  let previousEnd = -Infinity;
  for (const func of table.functions()) {
    if (text + func.entry < previousEnd)
      throw new SymbolsError('malformed', '.gopclntab', 'functions overlap');
    previousEnd = new FunctionRanges(table, trees, builder, func).add(text);
  }
  return builder.table();
}

function findTable(image: ElfImage): Pclntab | undefined {
  const textStart = textStartOf(image);
  for (const name of sectionNames) {
    const section = image.section(name);
    if (section !== undefined) return new Pclntab(section.contents(), image.header, textStart);
  }
  // A linker script or another linker may have merged it into read-only data.
  for (const section of dataSections(image)) {
    const found = searchTable(section.contents(), image, textStart);
    if (found !== undefined) return found;
  }
  return undefined;
}

function searchTable(bytes: Uint8Array, image: ElfImage, textStart: bigint): Pclntab | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 16 <= bytes.length; at += tableAlignment) {
    if (!pclntabMagics.includes(view.getUint32(at, image.header.littleEndian))) continue;
    const found = tableAt(bytes.subarray(at), image, textStart);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The table that starts here, undefined where four bytes only look like one. */
function tableAt(bytes: Uint8Array, image: ElfImage, textStart: bigint): Pclntab | undefined {
  try {
    const table = new Pclntab(bytes, image.header, textStart);
    const entry = table.functions()[Symbol.iterator]().next();
    const address = entry.done ? undefined : table.textStart + BigInt(entry.value.entry);
    const isCode = image.executableRanges().some(([start, end]) => {
      return address !== undefined && address >= start && address < end;
    });
    return isCode ? table : undefined;
  } catch (error) {
    if (error instanceof SymbolsError) return undefined;
    throw error;
  }
}

function dataSections(image: ElfImage): ElfSection[] {
  const { alloc, execute } = sectionFlags;
  return image.sections.filter(
    ({ flags, hasContents }) => hasContents && (flags & (alloc | execute)) === alloc,
  );
}

function textStartOf(image: ElfImage): bigint {
  const symbol = symbolAddress(image, ['runtime.text']);
  const section = image.sections.find(({ name }) => name === '.text');
  return symbol ?? section?.address ?? image.base;
}

function inlineBaseOf(image: ElfImage): bigint | undefined {
  return symbolAddress(image, ['go:func.*', 'go.func.*']);
}

function symbolAddress(image: ElfImage, names: readonly string[]): bigint | undefined {
  const symbols = readSymbols(image, 'symtab');
  for (let index = 0; index < (symbols?.count ?? 0); index++) {
    if (symbols !== undefined && names.includes(symbols.name(index))) return symbols.virtualAddress(index);
  }
  return undefined;
}

/** Turns the step tables of one function into ranges. */
class FunctionRanges {
  readonly #table: Pclntab;
  readonly #trees: InlineTrees | undefined;
  readonly #builder: RangeTableBuilder;
  readonly #func: GoFunction;
  readonly #index: number;
  readonly #steps: { readonly files: Steps; readonly lines: Steps; readonly calls: Steps };

  constructor(table: Pclntab, trees: InlineTrees | undefined, builder: RangeTableBuilder, func: GoFunction) {
    this.#table = table;
    this.#trees = trees;
    this.#builder = builder;
    this.#func = func;
    this.#index = builder.function(func.name, func.startLine);
    this.#steps = {
      files: new Steps(table, func.files),
      lines: new Steps(table, func.lines),
      calls: new Steps(table, trees === undefined ? 0 : func.pcdata(trees.layout.pcdata)),
    };
  }

  /** Adds the ranges, `text` being where offsets count from; gives their end, which padding may follow. */
  add(text: number): number {
    const { files, lines, calls } = this.#steps;
    const start = text + this.#func.entry;
    for (let pc = 0; pc < lines.end; pc = Math.min(files.endAt(pc), lines.endAt(pc), calls.endAt(pc))) {
      const location = this.#locationAt(pc, calls.valueAt(pc), 0);
      this.#builder.range(start + pc, location);
    }
    this.#builder.range(start + lines.end, none);
    return start + lines.end;
  }

  /** The location of the instruction at `pc`, which is in the inlined call `call` (-1: in the function itself). */
  #locationAt(pc: number, call: number, depth: number): number {
    const file = this.#table.filePath(this.#func.unit, this.#steps.files.valueAt(pc));
    return this.#location(call, file, this.#steps.lines.valueAt(pc), depth);
  }

  #location(call: number, path: string | undefined, line: number, depth: number): number {
    const inlined = call < 0 || depth > inlineDepthMax ? undefined : this.#trees?.call(this.#func, call);
    return this.#builder.location({
      function: inlined === undefined ? this.#index : this.#builder.function(inlined.name, inlined.startLine),
      file: path === undefined ? none : this.#builder.file(path),
      line: Math.max(0, line),
      column: 0,
      parent: inlined === undefined ? none : this.#callerOf(inlined, depth + 1),
    });
  }

  #callerOf({ caller }: InlinedCall, depth: number): number {
    if ('pc' in caller) return this.#locationAt(caller.pc, this.#steps.calls.valueAt(caller.pc), depth);
    const path = this.#table.filePath(this.#func.unit, caller.file);
    return this.#location(caller.parent, path, caller.line, depth);
  }
}

/** A step table, held for lookups by address. */
class Steps {
  readonly #ends: number[] = [];
  readonly #values: number[] = [];

  constructor(table: Pclntab, offset: number) {
    for (const { end, value } of table.steps(offset)) {
      this.#ends.push(end);
      this.#values.push(value);
    }
  }

  /** Where the table ends; what follows is not of this function. */
  get end(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** -1 where the table says nothing. */
  valueAt(pc: number): number {
    return this.#values[this.#firstEndAfter(pc)] ?? -1;
  }

  /** Where the value at `pc` ends to hold. */
  endAt(pc: number): number {
    return this.#ends[this.#firstEndAfter(pc)] ?? Infinity;
  }

  #firstEndAfter(pc: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] as number) <= pc) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
