// Runs line programs: the state machine of DWARF 2 to 5, chapter 6.2, with all its operations.
import type { Cursor } from './cursor.ts';
import { type LineHeader, readOldFile } from './line-header.ts';
import type { LineRows } from './line-rows.ts';
import type { Unit } from './unit.ts';

const standard = {
  extended: 0,
  copy: 1,
  advancePc: 2,
  advanceLine: 3,
  setFile: 4,
  setColumn: 5,
  negateStatement: 6,
  setBasicBlock: 7,
  constAddPc: 8,
  fixedAdvancePc: 9,
  setPrologueEnd: 10,
  setEpilogueBegin: 11,
  setIsa: 12,
} as const;
const extended = { endSequence: 1, setAddress: 2, defineFile: 3 } as const;

const fileMax = 0x7fff_ffff;
const wordMax = 0xffff_ffff;

export class LineProgram {
  readonly #rows: LineRows;
  #header: LineHeader | undefined;
  #address = 0;
  #operation = 0;
  #file = 1;
  #line = 1;
  #column = 0;

  constructor(rows: LineRows) {
    this.#rows = rows;
  }

  /**
   * Fills the rows. On an error they hold what was run before it. Throws `truncated`, `malformed` or `limit`.
   */
  run(unit: Unit, header: LineHeader): void {
    const { cursor, programStart, end, opcodeBase, lineBase, operationsMax, minInstructionBytes } = header;
    const lineRange = Math.max(1, header.lineRange);
    const { bytes } = cursor;
    const rows = this.#rows;
    unit.file.budget.step(end - programStart, cursor.name);
    this.#header = header;
    this.#reset(unit);
    cursor.seek(programStart, end);
    while (cursor.pos < end) {
      const opcode = bytes[cursor.pos++]!;
      if (opcode >= opcodeBase) {
        const adjusted = opcode - opcodeBase;
        const advance = (adjusted / lineRange) | 0;
        if (operationsMax === 1) this.#address += advance * minInstructionBytes;
        else this.#advance(advance);
        this.#line += lineBase + adjusted - advance * lineRange;
        rows.add(this.#address, this.#file, this.#line, this.#column);
      } else if (opcode === standard.extended) this.#runExtended(unit, cursor);
      else this.#runStandard(header, cursor, opcode);
    }
  }

  #reset(unit: Unit): void {
    this.#address = unit.file.relativeZero;
    this.#operation = 0;
    this.#file = 1;
    this.#line = 1;
    this.#column = 0;
  }

  /** By operations: a VLIW instruction holds several. */
  #advance(operations: number): void {
    const { minInstructionBytes, operationsMax } = this.#header!;
    const sum = this.#operation + operations;
    this.#address += minInstructionBytes * Math.floor(sum / operationsMax);
    this.#operation = sum % operationsMax;
  }

  #runStandard(header: LineHeader, cursor: Cursor, opcode: number): void {
    switch (opcode) {
      case standard.copy:
        this.#rows.add(this.#address, this.#file, this.#line, this.#column);
        return;
      case standard.advancePc:
        this.#advance(cursor.uleb128());
        return;
      case standard.advanceLine:
        this.#line = this.#line + cursor.sleb128();
        return;
      case standard.setFile:
        this.#file = Math.min(cursor.uleb128(), fileMax);
        return;
      case standard.setColumn:
        this.#column = Math.min(cursor.uleb128(), wordMax);
        return;
      case standard.constAddPc:
        this.#advance(Math.floor((255 - header.opcodeBase) / Math.max(1, header.lineRange)));
        return;
      case standard.fixedAdvancePc:
        this.#address += cursor.u16();
        this.#operation = 0;
        return;
      case standard.negateStatement:
      case standard.setBasicBlock:
      case standard.setPrologueEnd:
      case standard.setEpilogueBegin:
        return;
      default:
        for (let left = header.argumentCounts[opcode]!; left > 0; left--) cursor.skipLeb128();
    }
  }

  /** Its length leads over what is not known here. */
  #runExtended(unit: Unit, cursor: Cursor): void {
    const length = cursor.uleb128();
    const start = cursor.skip(length);
    if (length === 0) return;
    const next = cursor.pos;
    cursor.pos = start;
    switch (cursor.u8()) {
      case extended.endSequence:
        this.#rows.endSequence(this.#address);
        this.#reset(unit);
        break;
      case extended.setAddress:
        this.#address = cursor.address(length - 1);
        this.#operation = 0;
        break;
      case extended.defineFile:
        if (this.#header!.version < 5) readOldFile(cursor, this.#header!.files);
        break;
    }
    cursor.pos = next;
  }
}
