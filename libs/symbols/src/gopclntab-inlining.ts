// Inlined functions in Go binaries: each function has a tree of the calls that were inlined into it, and a table that
// says for each address in which call it is. Where the trees are is in no header (newer Go: relative to a symbol that
// stripping removes) and how they look changed without a new magic, so both are found out: the reading that makes sense
// for every function tried is the right one, since arbitrary bytes hardly ever name a function and an address in it.
import type { GoFunction, Pclntab, PclntabVersion, Step } from './gopclntab-table.ts';

/** A call that was inlined. */
export interface InlinedCall {
  readonly name: string;
  readonly startLine: number;
  /** Where it was called: by Go ≥ 1.20 the offset of an instruction of the caller, before its file and line. */
  readonly caller:
    | { readonly pc: number }
    | { readonly parent: number; readonly file: number; readonly line: number };
}

/** How trees look and where functions point to them. */
export interface TreeLayout {
  /** Which pcdata and funcdata, runtime/funcdata.h. */
  readonly pcdata: number;
  readonly funcdata: number;
  readonly entryBytes: number;
  /** Offsets in an entry. */
  readonly name: number;
  /** Parent, file and line, or an instruction of the caller. */
  readonly parent?: {
    readonly at: number;
    readonly bytes: 2 | 4;
    readonly file: number;
    readonly line: number;
  };
  readonly pc?: number;
  readonly startLine?: number;
}

const go120: TreeLayout = { pcdata: 2, funcdata: 3, entryBytes: 16, name: 4, pc: 8, startLine: 12 };
const go116: TreeLayout = {
  ...{ pcdata: 2, funcdata: 3, entryBytes: 20, name: 12, pc: 16 },
  parent: { at: 0, bytes: 2, file: 4, line: 8 },
};
/** Go 1.14 and 1.15, Go 1.12 and 1.13, Go 1.9 to 1.11 share one magic. */
const go114: TreeLayout = { ...go116, funcdata: 4 };
const go112: TreeLayout = { ...go116, pcdata: 1, funcdata: 2 };
const go109: TreeLayout = {
  ...{ pcdata: 1, funcdata: 2, entryBytes: 16, name: 12 },
  parent: { at: 0, bytes: 4, file: 4, line: 8 },
};
const layouts: Readonly<Record<PclntabVersion, readonly TreeLayout[]>> = {
  '1.2': [go114, go112, go109],
  '1.16': [go116],
  '1.18': [go116],
  '1.20': [go120],
};

/**
 * Functions on which a reading is tried, spread over the binary: trees stand side by side, so one tree too far is wrong
 * only for the larger ones. The runtime alone has hundreds.
 */
const functionsTried = 512;
/** Of which so many must make sense for a reading to be believed. */
const functionsTriedMin = 4;
/** Trees are aligned to it. */
const treeAlignment = 4;
/** Lines beyond are a sign of a wrong reading. */
const lineMax = 10_000_000;

/** A stretch of the image's memory. */
export interface Memory {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** The trees of one binary. */
export interface InlineTrees {
  readonly layout: TreeLayout;
  /** The call `index` of a function, undefined if it is not to be had. */
  call(func: GoFunction, index: number): InlinedCall | undefined;
}

/** A function with inlined calls, for trying readings on. */
interface Sample {
  readonly func: GoFunction;
  /** The highest call that its addresses name. */
  readonly last: number;
  readonly calls: readonly Step[];
}

/**
 * Finds the trees. `base` is the address of `go.func.*` if a symbol gives it. Undefined if nothing is inlined or no
 * reading makes sense: then functions are known without what was inlined into them.
 */
export function findInlineTrees(
  table: Pclntab,
  memories: readonly Memory[],
  littleEndian: boolean,
  base?: bigint,
): InlineTrees | undefined {
  const regions = memories.map(({ address, bytes }) => new Region(address, bytes, littleEndian));
  for (const layout of layouts[table.version]) {
    const samples = samplesOf(table, layout);
    if (samples.length < functionsTriedMin) continue;
    for (const found of basesFor(table, layout, samples, regions, base)) {
      const trees = new Trees(table, layout, regions, found);
      if (samples.every((sample) => trees.makesSense(sample))) return trees;
    }
  }
  return undefined;
}

function samplesOf(table: Pclntab, layout: TreeLayout): Sample[] {
  const samples: Sample[] = [];
  const every = Math.max(1, Math.floor(table.functionCount / (4 * functionsTried)));
  for (let index = 0; index < table.functionCount && samples.length < functionsTried; index += every) {
    const func = table.functionAt(index);
    if (func.funcdata(layout.funcdata) === undefined) continue;
    const calls = [...table.steps(func.pcdata(layout.pcdata))];
    const last = calls.reduce((most, { value }) => Math.max(most, value), -1);
    if (last >= 0) samples.push({ func, last, calls });
  }
  return samples;
}

/** Old tables have addresses, to which nothing is added. In new ones, without the symbol, every place is possible. */
function* basesFor(
  table: Pclntab,
  layout: TreeLayout,
  samples: readonly Sample[],
  regions: readonly Region[],
  symbol: bigint | undefined,
): Iterable<bigint> {
  const known = table.version === '1.2' || table.version === '1.16' ? 0n : symbol;
  if (known !== undefined) {
    yield known;
    return;
  }
  const offset = Number(samples[0]?.func.funcdata(layout.funcdata) ?? 0n);
  for (const region of regions) {
    for (let at = 0; at + layout.entryBytes <= region.length; at += treeAlignment) {
      // A first glance without objects: nearly every place ends here.
      const name = region.u32(at + layout.name);
      if (at >= offset && table.isNameStart(name)) yield region.address + BigInt(at - offset);
    }
  }
}

class Trees implements InlineTrees {
  readonly layout: TreeLayout;
  readonly #table: Pclntab;
  readonly #regions: readonly Region[];
  readonly #base: bigint;

  constructor(table: Pclntab, layout: TreeLayout, regions: readonly Region[], base: bigint) {
    this.#table = table;
    this.layout = layout;
    this.#regions = regions;
    this.#base = base;
  }

  call(func: GoFunction, index: number): InlinedCall | undefined {
    const place = this.#placeOf(func, index);
    if (place === undefined) return undefined;
    const { region, at } = place;
    const { name, parent, pc, startLine } = this.layout;
    const nameOffset = region.u32(at + name);
    this.#table.spend(1);
    if (!this.#table.isNameStart(nameOffset)) return undefined;
    return {
      name: this.#table.functionName(nameOffset),
      startLine: startLine === undefined ? 0 : region.u32(at + startLine),
      caller:
        parent === undefined
          ? { pc: region.u32(at + (pc ?? 0)) }
          : {
              parent: region.signed(at + parent.at, parent.bytes),
              file: region.signed(at + parent.file, 4),
              line: region.u32(at + parent.line),
            },
    };
  }

  #placeOf(func: GoFunction, index: number): { readonly region: Region; readonly at: number } | undefined {
    const tree = func.funcdata(this.layout.funcdata);
    if (tree === undefined) return undefined;
    const address = this.#base + tree + BigInt(index * this.layout.entryBytes);
    for (const region of this.#regions) {
      const at = Number(address - region.address);
      if (at >= 0 && at + this.layout.entryBytes <= region.length) return { region, at };
    }
    return undefined;
  }

  makesSense({ func, last, calls }: Sample): boolean {
    for (let index = 0; index <= last; index++) {
      const call = this.call(func, index);
      if (call === undefined || call.startLine > lineMax) return false;
      const { caller } = call;
      if ('pc' in caller) {
        // An address of this function, and not in the very call that it is the caller of.
        const around = calls.find(({ end }) => caller.pc < end);
        if (around === undefined || around.value === index) return false;
        continue;
      }
      if (caller.parent < -1 || caller.parent > last || caller.line > lineMax || caller.file < -1)
        return false;
    }
    return true;
  }
}

class Region {
  readonly address: bigint;
  readonly length: number;
  readonly #view: DataView;
  readonly #littleEndian: boolean;

  constructor(address: bigint, bytes: Uint8Array, littleEndian: boolean) {
    this.address = address;
    this.length = bytes.length;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#littleEndian = littleEndian;
  }

  u32(at: number): number {
    return this.#view.getUint32(at, this.#littleEndian);
  }

  signed(at: number, bytes: 2 | 4): number {
    return bytes === 2
      ? this.#view.getInt16(at, this.#littleEndian)
      : this.#view.getInt32(at, this.#littleEndian);
  }
}
