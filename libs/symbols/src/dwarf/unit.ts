// Unit headers and the attributes of a unit's first entry, on which all that follows in the unit depends.
import { SymbolsError } from '../symbols-error.ts';
import { type AbbreviationTable, record, slot } from './abbreviations.ts';
import { type Budget, BudgetError } from './budget.ts';
import { form, unitType } from './constants.ts';
import type { Cursor } from './cursor.ts';
import type { DebugFile } from './debug-file.ts';
import type { DieReader } from './die-reader.ts';
import type { UnitEncoding } from './forms.ts';

/** Where the parts of a unit start that a `.dwp` file put behind those of other units; 0 in other files. */
export interface Contribution {
  readonly abbrev: number;
  readonly line: number;
  readonly strOffsets: number;
  readonly rnglists: number;
}

export interface Unit extends UnitEncoding {
  readonly file: DebugFile;
  /** By offset in the section: references within the unit count from here. */
  readonly offset: number;
  readonly end: number;
  readonly firstEntry: number;
  /** As in version 5; 0 before, where only the tag of the first entry tells. */
  readonly type: number;
  readonly abbrevOffset: number;
  readonly contribution: Contribution;
  /** Of a split unit: the unit in the executable that refers to it. */
  readonly skeleton: Unit | undefined;
  /** From the header, in version 5. */
  readonly splitId: bigint | undefined;
  root: UnitRoot | undefined;
}

/** A string by its form and value, not yet decoded. */
export interface StringValue {
  readonly form: number;
  readonly value: number;
}

export interface UnitRoot {
  readonly tag: number;
  /** What offsets in range lists are added to, relative to the image base. */
  readonly base: number;
  readonly hasCode: boolean;
  /** Offset in `.debug_line`, -1 if it has none. */
  readonly lineOffset: number;
  readonly directory: StringValue;
  readonly strOffsetsBase: number;
  readonly addrBase: number;
  readonly rnglistsBase: number;
  readonly splitName: StringValue;
  readonly splitId: bigint | undefined;
}

const wholeFile: Contribution = { abbrev: 0, line: 0, strOffsets: 0, rnglists: 0 };
/** V8 spends about this on a `Unit` and its root. */
const unitBytes = 512;
/** Of a 64-bit type unit of version 5. */
const unitHeaderBytesMax = 40;

/** Units by offset, as far as they were looked for. */
export interface UnitScan {
  readonly units: Unit[];
  /** Why a unit, or the rest of the section, cannot be read. */
  readonly damage: { readonly offset: number; readonly error: SymbolsError }[];
  /** Offset of the first unit not looked at yet. */
  next: number;
}

/** Looks at units that start before `to`. A broken header costs its unit, a broken length the rest. */
export function scanUnits(file: DebugFile, budget: Budget, scan: UnitScan, to: number): void {
  const cursor = file.info;
  const size = cursor.bytes.length;
  while (scan.next < Math.min(to, size)) {
    const offset = scan.next;
    scan.next = size;
    try {
      file.awaitInfo(offset + unitHeaderBytesMax);
      cursor.seek(offset);
      const { length, offsetBytes } = cursor.initialLength();
      const start = cursor.pos;
      cursor.skip(length);
      scan.next = cursor.pos;
      budget.hold(unitBytes, '.debug_info');
      scan.units.push(readUnitHeader(file, offset, cursor.seek(start, scan.next), offsetBytes));
    } catch (error) {
      if (!(error instanceof SymbolsError) || error instanceof BudgetError) throw error;
      scan.damage.push({ offset, error });
    }
  }
}

/** The unit at `offset`, the cursor behind its length. */
export function readUnitHeader(
  file: DebugFile,
  offset: number,
  cursor: Cursor,
  offsetBytes: 4 | 8,
  contribution = wholeFile,
  skeleton?: Unit,
): Unit {
  const { end } = cursor;
  const version = cursor.u16();
  if (version < 2 || version > 5) {
    throw new SymbolsError('unsupported', `unit at ${offset}`, `DWARF version ${version}`);
  }
  const type = version >= 5 ? cursor.u8() : 0;
  const addressFirst = version >= 5 ? cursor.u8() : 0;
  const abbrevOffset = contribution.abbrev + cursor.unsigned(offsetBytes);
  const addressBytes = version >= 5 ? addressFirst : cursor.u8();
  if (addressBytes !== 4 && addressBytes !== 8) {
    throw new SymbolsError('unsupported', `unit at ${offset}`, `addresses of ${addressBytes} bytes`);
  }
  const isSplit = type === unitType.skeleton || type === unitType.splitCompile;
  const splitId = isSplit ? cursor.exactU64() : undefined;
  if (type === unitType.type || type === unitType.splitType) cursor.skip(8 + offsetBytes);
  return {
    file,
    offset,
    end,
    firstEntry: cursor.pos,
    version,
    offsetBytes,
    addressBytes,
    type,
    abbrevOffset,
    contribution,
    skeleton,
    splitId,
    root: undefined,
  };
}

const noString: StringValue = { form: 0, value: 0 };

/** The first entry's attributes. Throws `truncated` or `malformed`. */
export function readRoot(unit: Unit, table: AbbreviationTable, reader: DieReader): UnitRoot {
  const cursor = unit.file.info.seek(unit.firstEntry, unit.end);
  const at = table.find(cursor.uleb128());
  if (at < 0) throw new SymbolsError('malformed', `unit at ${unit.offset}`, 'its first entry has no form');
  reader.read(cursor, table, at, unit);
  const { skeleton, contribution } = unit;
  const string = (from: number): StringValue => ({
    form: reader.forms[from]!,
    value: reader.values[from]!,
  });
  const number = (from: number, otherwise: number): number =>
    reader.has(from) ? reader.values[from]! : otherwise;
  const addrBase = skeleton?.root?.addrBase ?? number(slot.addrBase, unit.version >= 5 ? 8 : 0);
  return {
    tag: table.records[at + record.tag]!,
    base: skeleton?.root?.base ?? baseOf(unit, reader, addrBase),
    hasCode: reader.has(slot.lowPc) || reader.has(slot.ranges),
    lineOffset: reader.has(slot.stmtList) ? contribution.line + reader.values[slot.stmtList]! : -1,
    directory: string(slot.compDir),
    strOffsetsBase: contribution.strOffsets + number(slot.strOffsetsBase, strOffsetsHeaderBytes(unit)),
    addrBase,
    rnglistsBase:
      skeleton !== undefined && unit.version < 5
        ? (skeleton.root?.rnglistsBase ?? 0)
        : contribution.rnglists + number(slot.rnglistsBase, rnglistsHeaderBytes(unit)),
    splitName: reader.has(slot.dwoName) ? string(slot.dwoName) : noString,
    splitId: unit.splitId ?? idOf(unit, reader),
  };
}

function baseOf(unit: Unit, reader: DieReader, addrBase: number): number {
  const lowForm = reader.forms[slot.lowPc]!;
  if (lowForm === form.addr) return reader.values[slot.lowPc]!;
  if (lowForm === 0) return unit.file.relativeZero;
  return unit.file.indexedAddress(addrBase, reader.values[slot.lowPc]!, unit.addressBytes);
}

/** In a split unit the table's header is not skipped by an attribute; before version 5 there is none. */
function strOffsetsHeaderBytes(unit: Unit): number {
  return unit.version < 5 ? 0 : unit.offsetBytes === 8 ? 16 : 8;
}

function rnglistsHeaderBytes(unit: Unit): number {
  return unit.version < 5 ? 0 : unit.offsetBytes === 8 ? 20 : 12;
}

function idOf(unit: Unit, reader: DieReader): bigint | undefined {
  if (reader.forms[slot.dwoId] !== form.data8) return undefined;
  return unit.file.info.seek(reader.values[slot.dwoId]!, unit.end).exactU64();
}
