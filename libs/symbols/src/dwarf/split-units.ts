// Split DWARF: finds the unit that a skeleton stands for, in the file's `.dwp` or in a `.dwo` file of its
// own.
import { SymbolsError } from '../symbols-error.ts';
import type { Budget } from './budget.ts';
import { unitType } from './constants.ts';
import { Cursor } from './cursor.ts';
import { DebugFile } from './debug-file.ts';
import type { DebugSections } from './debug-sections.ts';
import { textOf } from './strings.ts';
import { type Contribution, readUnitHeader, type Unit, type UnitRoot } from './unit.ts';

/** Columns of `.debug_cu_index`; 5 and 8 mean other sections before version 5 of the format. */
const column = { info: 1, abbrev: 3, line: 4, strOffsets: 6, rnglists: 8 } as const;
/** A row for each unit and one more for the column names; Chromium's has 30,000. */
const unitsMax = 4_194_304;
const columnsMax = 16;

export class SplitUnits {
  /** Skeletons whose other half is not at hand. */
  missing = 0;
  readonly #sections: DebugSections;
  readonly #budget: Budget;
  #package: SplitPackage | undefined;

  constructor(sections: DebugSections, budget: Budget) {
    this.#sections = sections;
    this.#budget = budget;
  }

  /** Throws `truncated`, `malformed` or `unsupported` where the package or the other file is broken. */
  find(skeleton: Unit, root: UnitRoot): Unit | undefined {
    const unit = this.#inPackage(skeleton, root.splitId) ?? this.#inFile(skeleton, root);
    if (unit === undefined) this.missing++;
    return unit;
  }

  #inPackage(skeleton: Unit, id: bigint | undefined): Unit | undefined {
    if (this.#sections.package === undefined || id === undefined) return undefined;
    this.#package ??= new SplitPackage(this.#sections.package, this.#budget, this.#sections);
    return this.#package.find(skeleton, id);
  }

  #inFile(skeleton: Unit, root: UnitRoot): Unit | undefined {
    const name = textOf(skeleton, root.splitName);
    if (name === undefined) return undefined;
    const id = root.splitId ?? 0n;
    const directory = textOf(skeleton, root.directory) ?? '';
    const sections = this.#sections.split?.({ id, name, directory });
    if (sections === undefined) return undefined;
    const file = new DebugFile(sections, this.#budget, this.#sections);
    for (const { offset, end } of file.scan.units) {
      const unit = unitIn(file, offset, end, skeleton);
      if (unit !== undefined && file.rootOf(unit).splitId === id) return unit;
    }
    return undefined;
  }
}

/** The unit at `offset`, if it is a compile unit: type units stand beside it. */
function unitIn(
  file: DebugFile,
  offset: number,
  end: number,
  skeleton: Unit,
  contribution?: Contribution,
): Unit | undefined {
  const cursor = file.info.seek(offset, end);
  const { offsetBytes } = cursor.initialLength();
  const unit = readUnitHeader(file, offset, cursor, offsetBytes, contribution, skeleton);
  return unit.type === unitType.splitType || unit.type === unitType.type ? undefined : unit;
}

/** A `.dwp` file: an open hash table from IDs to where each unit's parts start. */
class SplitPackage {
  readonly #file: DebugFile;
  readonly #index: Cursor;
  readonly #columns: number[] = [];
  #columnCount = 0;
  #unitCount = 0;
  #slotCount = 0;

  constructor(sections: DebugSections, budget: Budget, splitFrom: DebugSections) {
    this.#file = new DebugFile(sections, budget, splitFrom);
    const bytes = sections.section('.debug_cu_index') ?? new Uint8Array(0);
    this.#index = new Cursor('.debug_cu_index', bytes, sections);
    if (bytes.length > 0) this.#readHeader();
  }

  #readHeader(): void {
    const index = this.#index;
    const first = index.u32();
    // Version 2 is 32 bits wide, version 5 is 16 and padding.
    const version = first === 2 ? 2 : index.seek(0).u16();
    if (version !== 2 && version !== 5) {
      throw new SymbolsError('unsupported', index.name, `version ${version}`);
    }
    index.seek(4);
    this.#columnCount = index.u32();
    this.#unitCount = index.u32();
    this.#slotCount = index.u32();
    if (this.#columnCount > columnsMax || this.#unitCount > unitsMax || this.#slotCount > 4 * unitsMax) {
      throw new SymbolsError('limit', index.name, `${this.#unitCount} units, ${this.#columnCount} columns`);
    }
    index.seek(16 + 12 * this.#slotCount);
    for (let at = 0; at < this.#columnCount; at++) this.#columns.push(index.u32());
  }

  find(skeleton: Unit, id: bigint): Unit | undefined {
    const row = this.#rowOf(id);
    if (row === 0) return undefined;
    const part = (wanted: number): number => this.#offset(row, wanted);
    const contribution = {
      abbrev: part(column.abbrev),
      line: part(column.line),
      strOffsets: part(column.strOffsets),
      rnglists: skeleton.version >= 5 ? part(column.rnglists) : 0,
    };
    const offset = part(column.info);
    const cursor = this.#file.info.seek(offset);
    const { length } = cursor.initialLength();
    return unitIn(this.#file, offset, cursor.pos + length, skeleton, contribution);
  }

  /** Rows count from 1. */
  #rowOf(id: bigint): number {
    const mask = BigInt(this.#slotCount) - 1n;
    if (this.#slotCount === 0) return 0;
    const step = Number(((id >> 32n) & mask) | 1n);
    let slot = Number(id & mask);
    for (let probes = 0; probes < this.#slotCount; probes++) {
      const row = this.#index.seek(16 + 8 * this.#slotCount + 4 * slot).u32();
      if (row === 0) return 0;
      if (this.#index.seek(16 + 8 * slot).exactU64() === id) return row;
      slot = (slot + step) % this.#slotCount;
    }
    return 0;
  }

  #offset(row: number, wanted: number): number {
    const at = this.#columns.indexOf(wanted);
    if (at < 0) return 0;
    const rows = 16 + 12 * this.#slotCount + 4 * this.#columnCount;
    return this.#index.seek(rows + 4 * ((row - 1) * this.#columnCount + at)).u32();
  }
}
