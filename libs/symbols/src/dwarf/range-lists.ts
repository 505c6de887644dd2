// Where the code of an entry is: low and high pc, `.debug_ranges` (DWARF 2 to 4) and `.debug_rnglists` (5).
// Addresses are relative to the image base, here as everywhere.
import { SymbolsError } from '../symbols-error.ts';
import { slot } from './abbreviations.ts';
import { form } from './constants.ts';
import type { Cursor } from './cursor.ts';
import { type DieReader, isAddressIndex, isConstant } from './die-reader.ts';
import type { Unit, UnitRoot } from './unit.ts';

const entry = {
  end: 0,
  baseAddressx: 1,
  startxEndx: 2,
  startxLength: 3,
  offsetPair: 4,
  baseAddress: 5,
  startEnd: 6,
  startLength: 7,
} as const;

/** Takes each range, empty and dead ones included. */
export interface RangeSink {
  range(start: number, end: number): void;
}

/** The ranges of the entry in `reader`. Throws `truncated`, `malformed` or `limit`. */
export function readRanges(unit: Unit, root: UnitRoot, reader: DieReader, sink: RangeSink): void {
  if (reader.has(slot.ranges)) readRangeList(unit, root, reader, sink);
  else if (reader.has(slot.lowPc) && reader.has(slot.highPc)) {
    const low = addressOf(unit, root, reader, slot.lowPc);
    const high = reader.values[slot.highPc]!;
    sink.range(
      low,
      isConstant(reader.forms[slot.highPc]!) ? low + high : addressOf(unit, root, reader, slot.highPc),
    );
  }
}

function addressOf(unit: Unit, root: UnitRoot, reader: DieReader, from: number): number {
  const formNumber = reader.forms[from]!;
  if (formNumber === form.addr) return reader.values[from]!;
  if (isAddressIndex(formNumber)) return indexed(unit, root, reader.values[from]!);
  throw new SymbolsError('malformed', unit.file.info.name, `an address of form ${formNumber}`);
}

function indexed(unit: Unit, root: UnitRoot, index: number): number {
  const { file } = unit.skeleton ?? unit;
  return file.indexedAddress(root.addrBase, index, unit.addressBytes);
}

function readRangeList(unit: Unit, root: UnitRoot, reader: DieReader, sink: RangeSink): void {
  const value = reader.values[slot.ranges]!;
  const isIndex = reader.forms[slot.ranges] === form.rnglistx;
  if (unit.version < 5) {
    const { file } = unit.skeleton ?? unit;
    const base = unit.skeleton === undefined ? 0 : root.rnglistsBase;
    readOldList(unit, root, file.ranges.seek(base + value), sink);
    return;
  }
  const cursor = unit.file.rnglists;
  if (!isIndex) readList(unit, root, cursor.seek(value), sink);
  else {
    const at = cursor.seek(root.rnglistsBase + value * unit.offsetBytes).unsigned(unit.offsetBytes);
    readList(unit, root, cursor.seek(root.rnglistsBase + at), sink);
  }
}

/** Pairs of offsets; the highest address selects a base. */
function readOldList(unit: Unit, root: UnitRoot, cursor: Cursor, sink: RangeSink): void {
  const { addressBytes } = unit;
  const selector = cursor.addressOf(-1, addressBytes);
  const zero = unit.file.relativeZero;
  let { base } = root;
  for (;;) {
    unit.file.budget.step(1, cursor.name);
    const at = cursor.pos;
    const start = cursor.address(addressBytes);
    const end = cursor.address(addressBytes);
    if (start === zero && end === zero) return;
    if (start === selector) base = end;
    else if (!isTombstone(cursor, base, addressBytes)) {
      cursor.seek(at);
      const low = cursor.addressPlus(base, addressBytes);
      sink.range(low, cursor.addressPlus(base, addressBytes));
    }
  }
}

function readList(unit: Unit, root: UnitRoot, cursor: Cursor, sink: RangeSink): void {
  const { addressBytes } = unit;
  let { base } = root;
  for (;;) {
    unit.file.budget.step(1, cursor.name);
    const what = cursor.u8();
    if (what === entry.end) return;
    if (what === entry.baseAddress) base = cursor.address(addressBytes);
    else if (what === entry.baseAddressx) base = indexed(unit, root, cursor.uleb128());
    else if (what === entry.offsetPair) {
      const low = cursor.uleb128();
      const high = cursor.uleb128();
      if (!isTombstone(cursor, base, addressBytes)) sink.range(base + low, base + high);
    } else readAbsolute(unit, root, cursor, what, sink);
  }
}

function readAbsolute(unit: Unit, root: UnitRoot, cursor: Cursor, what: number, sink: RangeSink): void {
  const isIndexed = what === entry.startxEndx || what === entry.startxLength;
  if (!isIndexed && what !== entry.startEnd && what !== entry.startLength) {
    throw new SymbolsError('malformed', cursor.name, `range list entry ${what} at ${cursor.pos - 1}`);
  }
  const address = (): number =>
    isIndexed ? indexed(unit, root, cursor.uleb128()) : cursor.address(unit.addressBytes);
  const low = address();
  const hasLength = what === entry.startxLength || what === entry.startLength;
  sink.range(low, hasLength ? low + cursor.uleb128() : address());
}

/**
 * Linkers put the highest address, or the one below, where code was removed: offsets from there are of no
 * code.
 */
function isTombstone(cursor: Cursor, base: number, addressBytes: number): boolean {
  return base === cursor.addressOf(-1, addressBytes) || base === cursor.addressOf(-2, addressBytes);
}
