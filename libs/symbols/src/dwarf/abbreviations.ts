// Abbreviations compiled to skip programs: what a unit's entries look like, reduced to how many bytes to pass
// and which few attributes to read. A walk over entries is then additions, not a decision per attribute.
import { type Budget, grown } from './budget.ts';
import { attribute, form, tag } from './constants.ts';
import type { Cursor } from './cursor.ts';
import { op, opBits, sizeOf, sizesFor, slotBits, type UnitEncoding } from './forms.ts';

/** The attributes that are read, by the place of their value in a `DieReader`. */
export const slot = {
  sibling: 0,
  name: 1,
  linkageName: 2,
  lowPc: 3,
  highPc: 4,
  ranges: 5,
  abstractOrigin: 6,
  specification: 7,
  callFile: 8,
  callLine: 9,
  callColumn: 10,
  declLine: 11,
  declaration: 12,
  stmtList: 13,
  compDir: 14,
  strOffsetsBase: 15,
  addrBase: 16,
  rnglistsBase: 17,
  dwoName: 18,
  dwoId: 19,
} as const;
export const slots = 20;

const slotOfAttribute = new Map<number, number>([
  [attribute.sibling, slot.sibling],
  [attribute.name, slot.name],
  [attribute.linkageName, slot.linkageName],
  [attribute.mipsLinkageName, slot.linkageName],
  [attribute.lowPc, slot.lowPc],
  [attribute.highPc, slot.highPc],
  [attribute.ranges, slot.ranges],
  [attribute.abstractOrigin, slot.abstractOrigin],
  [attribute.specification, slot.specification],
  [attribute.callFile, slot.callFile],
  [attribute.callLine, slot.callLine],
  [attribute.callColumn, slot.callColumn],
  [attribute.declLine, slot.declLine],
  [attribute.declaration, slot.declaration],
  [attribute.stmtList, slot.stmtList],
  [attribute.compDir, slot.compDir],
  [attribute.strOffsetsBase, slot.strOffsetsBase],
  [attribute.addrBase, slot.addrBase],
  [attribute.gnuAddrBase, slot.addrBase],
  [attribute.rnglistsBase, slot.rnglistsBase],
  [attribute.gnuRangesBase, slot.rnglistsBase],
  [attribute.dwoName, slot.dwoName],
  [attribute.gnuDwoName, slot.dwoName],
  [attribute.gnuDwoId, slot.dwoId],
]);

export const kind = { hasChildren: 1, subprogram: 2, inlined: 4, unit: 8, siblingFirst: 16 } as const;

const entered = new Map<number, number>([
  [tag.subprogram, kind.subprogram],
  [tag.inlinedSubroutine, kind.inlined],
  [tag.compileUnit, kind.unit],
  [tag.partialUnit, kind.unit],
  [tag.skeletonUnit, kind.unit],
  [tag.typeUnit, kind.unit],
]);
/** Nothing below these has code: their subtree is passed where they name their sibling. */
const passed = new Set<number>([
  tag.arrayType,
  tag.enumerationType,
  tag.subroutineType,
  tag.callSite,
  tag.gnuCallSite,
]);

/**
 * Ints of one abbreviation in `records`: kind, bytes if fixed else -1, its operations' start and end,
 * sibling, tag.
 */
export const record = { kind: 0, bytes: 1, opsStart: 2, opsEnd: 3, sibling: 4, tag: 5, ints: 6 } as const;

/** Codes count up from 1 in what compilers write. Others go to a map. */
const denseFactor = 4;
/** Keeps a run of fixed-size attributes within an int. */
const skipMergedMax = 1 << 30;

/** Tables are views of these: units have one each, of a few hundred ints. */
const chunkInts = 65_536;

export class AbbreviationTable {
  readonly records: Int32Array;
  readonly ops: Int32Array;
  /** By code: where its record starts, -1 if there is none. */
  readonly dense: Int32Array;
  readonly #sparse: ReadonlyMap<number, number>;

  constructor(records: Int32Array, ops: Int32Array, dense: Int32Array, sparse: ReadonlyMap<number, number>) {
    this.records = records;
    this.ops = ops;
    this.dense = dense;
    this.#sparse = sparse;
  }

  /** Bytes this table holds. */
  get bytes(): number {
    return 4 * (this.records.length + this.ops.length + this.dense.length) + 64 * this.#sparse.size;
  }

  /** Where the record of `code` starts, -1 if the table has none. */
  find(code: number): number {
    return code < this.dense.length ? this.dense[code]! : (this.#sparse.get(code) ?? -1);
  }
}

const noCodes: ReadonlyMap<number, number> = new Map();

export class AbbreviationCompiler {
  /** Of the table under way. */
  #records = new Int32Array(1_024 * record.ints);
  #ops = new Int32Array(4_096);
  #codes = new Float64Array(1_024);
  #count = 0;
  #opCount = 0;
  /** Where the skip stands that the next one of this abbreviation may join. */
  #lastSkip = -1;
  #chunk = new Int32Array(0);
  #chunkUsed = 0;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** The table at `offset`. Throws `truncated`, `malformed` or `limit`. */
  compile(cursor: Cursor, offset: number, encoding: UnitEncoding): AbbreviationTable {
    cursor.seek(offset);
    this.#count = 0;
    this.#opCount = 0;
    for (let code = cursor.uleb128(); code !== 0; code = cursor.uleb128()) {
      this.#reserve();
      this.#codes[this.#count] = code;
      this.#compileOne(cursor, encoding);
      if (cursor.pos === cursor.end) break; // the last table of old producers has no terminator
    }
    this.#budget.step(cursor.pos - offset, cursor.name);
    const records = this.#take(this.#records.subarray(0, this.#count * record.ints));
    const ops = this.#take(this.#ops.subarray(0, this.#opCount));
    const table = this.#index(records, ops);
    this.#budget.hold(table.bytes, cursor.name);
    return table;
  }

  #index(records: Int32Array, ops: Int32Array): AbbreviationTable {
    const denseMax = denseFactor * this.#count + 64;
    let highest = 0;
    for (let index = 0; index < this.#count; index++) {
      const code = this.#codes[index]!;
      if (code <= denseMax && code > highest) highest = code;
    }
    const dense = this.#view(highest + 1).fill(-1);
    let sparse: Map<number, number> | undefined;
    for (let index = this.#count - 1; index >= 0; index--) {
      const code = this.#codes[index]!;
      // Backwards: the first of equal codes holds, as in other readers.
      if (code <= highest) dense[code] = index * record.ints;
      else {
        sparse ??= new Map();
        sparse.set(code, index * record.ints);
      }
    }
    return new AbbreviationTable(records, ops, dense, sparse ?? noCodes);
  }

  #take(ints: Int32Array): Int32Array {
    const view = this.#view(ints.length);
    view.set(ints);
    return view;
  }

  #view(length: number): Int32Array {
    if (this.#chunkUsed + length > this.#chunk.length) {
      this.#chunk = new Int32Array(Math.max(chunkInts, length));
      this.#chunkUsed = 0;
    }
    this.#chunkUsed += length;
    return this.#chunk.subarray(this.#chunkUsed - length, this.#chunkUsed);
  }

  #reserve(): void {
    if (this.#count < this.#codes.length) return;
    this.#codes = grown(this.#codes, 2 * this.#count, this.#budget, '.debug_abbrev');
    this.#records = grown(this.#records, 2 * this.#records.length, this.#budget, '.debug_abbrev');
  }

  #compileOne(cursor: Cursor, encoding: UnitEncoding): void {
    const tagNumber = cursor.uleb128();
    const hasChildren = cursor.u8() !== 0 ? kind.hasChildren : 0;
    const records = this.#records;
    const start = this.#count++ * record.ints;
    const opsStart = this.#opCount;
    this.#lastSkip = -1;
    const enters = entered.get(tagNumber) ?? 0;
    const sibling = this.#compileAttributes(cursor, encoding, enters !== 0);
    const siblingFirst = sibling >= 0 && passed.has(tagNumber) ? kind.siblingFirst : 0;
    const fixed = this.#opCount === opsStart + 1 && this.#lastSkip === opsStart;
    const none = this.#opCount === opsStart ? 0 : -1;
    records[start + record.kind] = hasChildren | enters | siblingFirst;
    records[start + record.bytes] = fixed ? this.#ops[opsStart]! >> opBits : none;
    records[start + record.opsStart] = opsStart;
    records[start + record.opsEnd] = this.#opCount;
    records[start + record.sibling] = sibling;
    records[start + record.tag] = Math.min(tagNumber, 0x7fff_ffff);
  }

  /** Gives the offset of a four-byte sibling reference behind fixed-size attributes, else -1. */
  #compileAttributes(cursor: Cursor, encoding: UnitEncoding, reads: boolean): number {
    const sizes = sizesFor(encoding);
    let sibling = -1;
    let bytesBefore = 0;
    for (;;) {
      const name = cursor.uleb128();
      const formNumber = cursor.uleb128();
      const constant = formNumber === form.implicitConst ? cursor.sleb128() : 0;
      if (name === 0 && formNumber === 0) return sibling;
      if (name === attribute.sibling && formNumber === form.ref4 && bytesBefore >= 0) sibling = bytesBefore;
      const size = formNumber < sizes.length ? sizes[formNumber]! : sizeOf(formNumber, encoding);
      bytesBefore = size >= 0 && bytesBefore >= 0 ? bytesBefore + size : -1;
      const to = reads ? slotOfAttribute.get(name) : undefined;
      if (to !== undefined && size !== -1 - op.unknown) this.#emitRead(to, formNumber, constant);
      else if (size >= 0) this.#emitSkip(size);
      else this.#emit(-1 - size);
    }
  }

  #emitRead(to: number, formNumber: number, constant: number): void {
    this.#emit(op.read | (to << opBits) | (formNumber << (opBits + slotBits)));
    if (formNumber === form.implicitConst) this.#emit(Math.min(Math.max(constant, -1), 0x7fff_ffff));
  }

  #emitSkip(bytes: number): void {
    if (bytes === 0) return;
    const last = this.#opCount - 1;
    if (last === this.#lastSkip && this.#ops[last]! < skipMergedMax) {
      this.#ops[last] = this.#ops[last]! + (bytes << opBits);
    } else {
      this.#emit(op.skip | (bytes << opBits));
      this.#lastSkip = this.#opCount - 1;
    }
  }

  #emit(operation: number): void {
    if (this.#opCount === this.#ops.length) {
      this.#ops = grown(this.#ops, 2 * this.#ops.length, this.#budget, '.debug_abbrev');
    }
    this.#ops[this.#opCount++] = operation;
  }
}
