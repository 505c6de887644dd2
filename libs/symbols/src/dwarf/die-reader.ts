// Reads the attributes of one entry that matter into places that are reused: no object per entry.
import { SymbolsError } from '../symbols-error.ts';
import { type AbbreviationTable, record, slot, slots } from './abbreviations.ts';
import { form } from './constants.ts';
import type { Cursor } from './cursor.ts';
import { directForm, op, opBits, skipValue, slotBits, type UnitEncoding } from './forms.ts';

export class DieReader {
  /**
   * By slot: the number read. Of a string in place, a signature, a block or a split unit's ID: where it
   * stands in the section. Of an address: relative to the image base.
   */
  readonly values = new Float64Array(slots);
  /** By slot: the form, 0 if the entry does not have the attribute. */
  readonly forms = new Int32Array(slots);

  /** Reads the entry at the cursor, behind its abbreviation code. Throws `truncated` or `malformed`. */
  read(cursor: Cursor, table: AbbreviationTable, at: number, encoding: UnitEncoding): void {
    const { ops, records } = table;
    const { forms, values } = this;
    forms.fill(0);
    const end = records[at + record.opsEnd]!;
    for (let index = records[at + record.opsStart]!; index < end; index++) {
      const operation = ops[index]!;
      const what = operation & 15;
      if (what === op.skip) cursor.skip(operation >> opBits);
      else if (what !== op.read) skipValue(cursor, what, encoding);
      else {
        const to = (operation >> opBits) & ((1 << slotBits) - 1);
        const formNumber = operation >> (opBits + slotBits);
        forms[to] = formNumber;
        // Most values have one of these; the call that finds out for all forms would cost more than the reading.
        if (formNumber === form.data1) values[to] = cursor.u8();
        else if (formNumber === form.ref4 || formNumber === form.data4) values[to] = cursor.u32();
        else if (formNumber === form.data2) values[to] = cursor.u16();
        else if (formNumber === form.implicitConst) values[to] = ops[++index]!;
        else this.#readForm(cursor, to, formNumber, encoding);
      }
    }
  }

  has(slotNumber: number): boolean {
    return this.forms[slotNumber] !== 0;
  }

  #set(to: number, formNumber: number, value: number): void {
    this.forms[to] = formNumber;
    this.values[to] = value;
  }

  #readForm(cursor: Cursor, to: number, formNumber: number, encoding: UnitEncoding): void {
    const direct = formNumber === form.indirect ? directForm(cursor) : formNumber;
    const at = cursor.pos;
    const value = readValue(cursor, direct, encoding);
    this.#set(to, direct, to === slot.dwoId ? at : value);
  }
}

/** The value of any form, as `DieReader.values` has it. */
export function readValue(cursor: Cursor, formNumber: number, encoding: UnitEncoding): number {
  switch (formNumber) {
    case form.data1:
    case form.flag:
    case form.ref1:
    case form.strx1:
    case form.addrx1:
      return cursor.u8();
    case form.data2:
    case form.ref2:
    case form.strx2:
    case form.addrx2:
      return cursor.u16();
    case form.strx3:
    case form.addrx3:
      return cursor.u24();
    case form.data4:
    case form.ref4:
    case form.refSup4:
    case form.strx4:
    case form.addrx4:
      return cursor.u32();
    case form.data8:
    case form.ref8:
    case form.refSup8:
      return cursor.u64();
    case form.flagPresent:
      return 1;
    case form.sdata:
      return cursor.sleb128();
    case form.addr:
      return cursor.address(encoding.addressBytes);
    default:
      return readVaryingValue(cursor, formNumber, encoding);
  }
}

function readVaryingValue(cursor: Cursor, formNumber: number, encoding: UnitEncoding): number {
  switch (formNumber) {
    case form.udata:
    case form.refUdata:
    case form.strx:
    case form.addrx:
    case form.rnglistx:
    case form.loclistx:
    case form.gnuAddrIndex:
    case form.gnuStrIndex:
      return cursor.uleb128();
    case form.strp:
    case form.lineStrp:
    case form.strpSup:
    case form.secOffset:
    case form.gnuRefAlt:
    case form.gnuStrpAlt:
      return cursor.unsigned(encoding.offsetBytes);
    case form.refAddr:
      return cursor.unsigned(encoding.version <= 2 ? encoding.addressBytes : encoding.offsetBytes);
    case form.string:
      return cursor.skipString();
    case form.refSig8:
      return cursor.skip(8);
    case form.data16:
      return cursor.skip(16);
    case form.block:
    case form.exprloc:
      return cursor.skip(cursor.uleb128());
    case form.block1:
      return cursor.skip(cursor.u8());
    case form.block2:
      return cursor.skip(cursor.u16());
    case form.block4:
      return cursor.skip(cursor.u32());
    default:
      throw new SymbolsError('malformed', cursor.name, `unknown form ${formNumber} at ${cursor.pos}`);
  }
}

/** True if `high_pc` in this form is the distance from `low_pc`. */
export function isConstant(formNumber: number): boolean {
  switch (formNumber) {
    case form.data1:
    case form.data2:
    case form.data4:
    case form.data8:
    case form.udata:
    case form.sdata:
    case form.implicitConst:
      return true;
    default:
      return false;
  }
}

/** True if the value is an index into `.debug_addr`. */
export function isAddressIndex(formNumber: number): boolean {
  return (
    formNumber === form.addrx ||
    formNumber === form.gnuAddrIndex ||
    (formNumber >= form.addrx1 && formNumber <= form.addrx4)
  );
}
