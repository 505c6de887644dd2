// Attribute forms: how many bytes each takes, and how to pass those that vary.
import { SymbolsError } from '../symbols-error.ts';
import { form } from './constants.ts';
import type { Cursor } from './cursor.ts';

/** How the sizes of forms vary from unit to unit. */
export interface UnitEncoding {
  readonly version: number;
  readonly offsetBytes: 4 | 8;
  readonly addressBytes: number;
}

/** Operations: the low four bits say what, the rest is the argument. */
export const op = {
  /** Argument: bytes to pass. */
  skip: 0,
  leb128: 1,
  string: 2,
  block1: 3,
  block2: 4,
  block4: 5,
  block: 6,
  indirect: 7,
  /** Argument: slot (five bits) and form; the constant follows `implicitConst`. */
  read: 8,
  unknown: 9,
} as const;
export const opBits = 4;
export const slotBits = 5;

/** Forms below this are looked up; the others are rare extensions. */
const formsListed = 0x30;
const listed = new Map<number, Int8Array>();

/** Encodings in which forms have the same sizes have the same number, below `encodingsMax`. */
export function encodingOf({ version, addressBytes, offsetBytes }: UnitEncoding): number {
  return (addressBytes === 8 ? 4 : 0) + (offsetBytes === 8 ? 2 : 0) + (version <= 2 ? 1 : 0);
}
export const encodingsMax = 8;

/** By form: what `sizeOf` gives, for forms below the array's length. */
export function sizesFor(encoding: UnitEncoding): Int8Array {
  const key = encodingOf(encoding);
  let sizes = listed.get(key);
  if (sizes === undefined) {
    sizes = Int8Array.from({ length: formsListed }, (_, formNumber) => sizeOf(formNumber, encoding));
    listed.set(key, sizes);
  }
  return sizes;
}

/** Bytes of a form's value; -1 minus the operation that passes it where they vary. */
export function sizeOf(formNumber: number, encoding: UnitEncoding): number {
  switch (formNumber) {
    case form.flagPresent:
    case form.implicitConst:
      return 0;
    case form.data1:
    case form.flag:
    case form.ref1:
    case form.strx1:
    case form.addrx1:
      return 1;
    case form.data2:
    case form.ref2:
    case form.strx2:
    case form.addrx2:
      return 2;
    case form.strx3:
    case form.addrx3:
      return 3;
    case form.data4:
    case form.ref4:
    case form.refSup4:
    case form.strx4:
    case form.addrx4:
      return 4;
    case form.data8:
    case form.ref8:
    case form.refSup8:
    case form.refSig8:
      return 8;
    case form.data16:
      return 16;
    case form.addr:
      return encoding.addressBytes;
    case form.refAddr:
      return encoding.version <= 2 ? encoding.addressBytes : encoding.offsetBytes;
    case form.strp:
    case form.lineStrp:
    case form.strpSup:
    case form.secOffset:
    case form.gnuRefAlt:
    case form.gnuStrpAlt:
      return encoding.offsetBytes;
    default:
      return -1 - passOf(formNumber);
  }
}

function passOf(formNumber: number): number {
  switch (formNumber) {
    case form.sdata:
    case form.udata:
    case form.refUdata:
    case form.strx:
    case form.addrx:
    case form.loclistx:
    case form.rnglistx:
    case form.gnuAddrIndex:
    case form.gnuStrIndex:
      return op.leb128;
    case form.string:
      return op.string;
    case form.block1:
      return op.block1;
    case form.block2:
      return op.block2;
    case form.block4:
      return op.block4;
    case form.block:
    case form.exprloc:
      return op.block;
    case form.indirect:
      return op.indirect;
    default:
      return op.unknown;
  }
}

/** Passes the values of one entry. Throws `truncated` or `malformed`. */
export function skipValues(
  cursor: Cursor,
  ops: Int32Array,
  start: number,
  end: number,
  encoding: UnitEncoding,
): void {
  for (let index = start; index < end; index++) {
    const operation = ops[index]!;
    const what = operation & 15;
    if (what === op.skip) cursor.skip(operation >> opBits);
    else if (what !== op.read) skipValue(cursor, what, encoding);
    else {
      const formNumber = operation >> (opBits + slotBits);
      if (formNumber === form.implicitConst) index++;
      else skipForm(cursor, formNumber, encoding);
    }
  }
}

/** Passes one value of varying size. */
export function skipValue(cursor: Cursor, operation: number, encoding: UnitEncoding): void {
  switch (operation) {
    case op.leb128:
      cursor.skipLeb128();
      return;
    case op.block:
      cursor.skip(cursor.uleb128());
      return;
    case op.block1:
      cursor.skip(cursor.u8());
      return;
    case op.block2:
      cursor.skip(cursor.u16());
      return;
    case op.block4:
      cursor.skip(cursor.u32());
      return;
    case op.string:
      cursor.skipString();
      return;
    case op.indirect:
      skipForm(cursor, directForm(cursor), encoding);
      return;
    default:
      throw new SymbolsError('malformed', cursor.name, `unknown form at ${cursor.pos}`);
  }
}

/** Passes a value of any form. */
export function skipForm(cursor: Cursor, formNumber: number, encoding: UnitEncoding): void {
  const size = sizeOf(formNumber, encoding);
  if (size >= 0) cursor.skip(size);
  else skipValue(cursor, -1 - size, encoding);
}

/**
 * The form that an indirect value names, which must not be indirect again, nor a constant of the
 * abbreviation.
 */
export function directForm(cursor: Cursor): number {
  const formNumber = cursor.uleb128();
  if (formNumber !== form.indirect && formNumber !== form.implicitConst) return formNumber;
  throw new SymbolsError('malformed', cursor.name, `indirect form ${formNumber} at ${cursor.pos}`);
}
