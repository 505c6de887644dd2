// Which function an entry stands for: its names follow abstract origins and specifications, across units and
// files.
import { SymbolsError } from '../symbols-error.ts';
import { slot } from './abbreviations.ts';
import { type Budget, BudgetError } from './budget.ts';
import { form } from './constants.ts';
import type { DebugFile } from './debug-file.ts';
import { DieReader } from './die-reader.ts';
import { OffsetMap } from './offset-map.ts';
import { StringTable } from './strings.ts';
import type { Unit } from './unit.ts';

/** Real chains have two or three links: concrete, abstract, declaration. */
const chainMax = 16;
/** Lines above are cut, so that a name's index and a line make one exact key. */
const startLineMax = 2 ** 22 - 1;

/** In place of a form: the value is the offset of an entry of the unit itself. */
export const ownEntry = -1;

/** A reference to an entry; `unit` undefined: in a file that is not at hand, or to nothing. */
interface EntryPlace {
  readonly unit: Unit | undefined;
  readonly offset: number;
}

export class FunctionTable {
  readonly names: StringTable;
  readonly name: number[] = [];
  readonly startLine: number[] = [];
  /** References into an alternate file that is not at hand. */
  alternateMissing = 0;
  /** Functions whose entries or names cannot be read. */
  damaged = 0;
  readonly #byNameAndLine: OffsetMap;
  readonly #reader = new DieReader();
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
    this.names = new StringTable(budget);
    this.#byNameAndLine = new OffsetMap(budget, 'functions');
  }

  intern(name: number, startLine: number): number {
    const line = Math.min(startLine, startLineMax);
    const key = name * (startLineMax + 1) + line;
    let index = this.#byNameAndLine.get(key);
    if (index < 0) {
      index = this.name.length;
      this.#budget.hold(16, 'functions');
      this.name.push(name);
      this.startLine.push(line);
      this.#byNameAndLine.set(key, index);
    }
    return index;
  }

  /** The function of the entry that an attribute of `unit` refers to. A name that cannot be read is empty. */
  of(unit: Unit, formNumber: number, value: number): number {
    const place = this.#placeOf(unit, formNumber, value);
    if (place.unit === undefined) return this.#unnamed();
    const known = place.unit.file.functions.get(place.offset);
    if (known >= 0) return known;
    const index = this.#resolve(place);
    place.unit.file.functions.set(place.offset, index);
    return index;
  }

  #unnamed(): number {
    return this.intern(this.names.intern(''), 0);
  }

  #resolve(place: EntryPlace): number {
    try {
      return this.#follow(place);
    } catch (error) {
      if (!(error instanceof SymbolsError) || error instanceof BudgetError) throw error;
      this.damaged++;
      return this.#unnamed();
    }
  }

  /** The linkage name if any entry of the chain has one, else the plain name nearest to its start. */
  #follow(start: EntryPlace): number {
    const { forms, values } = this.#reader;
    let place = start;
    let plain = -1;
    let linkage = -1;
    let line = 0;
    for (let links = 0; place.unit !== undefined && links < chainMax && linkage < 0; links++) {
      this.#budget.step(1, 'functions');
      const { unit } = place;
      if (!this.#readAt(unit, place.offset)) break;
      if (line === 0 && forms[slot.declLine] !== 0) line = values[slot.declLine]!;
      linkage = this.#nameOf(unit, slot.linkageName);
      if (plain < 0) plain = this.#nameOf(unit, slot.name);
      const next = forms[slot.abstractOrigin] !== 0 ? slot.abstractOrigin : slot.specification;
      place = this.#placeOf(unit, forms[next]!, values[next]!);
    }
    const name = linkage >= 0 ? linkage : plain >= 0 ? plain : this.names.intern('');
    return this.intern(name, line > 0 ? line : 0);
  }

  #placeOf(unit: Unit, formNumber: number, value: number): EntryPlace {
    switch (formNumber) {
      case ownEntry:
        return { unit, offset: value };
      case form.ref1:
      case form.ref2:
      case form.ref4:
      case form.ref8:
      case form.refUdata:
        return { unit, offset: unit.offset + value };
      case form.refAddr:
        return inFile(unit.file, unit, value);
      case form.gnuRefAlt:
      case form.refSup4:
      case form.refSup8: {
        const { alternate } = unit.file;
        if (alternate === undefined) this.alternateMissing++;
        return alternate === undefined ? nowhere : inFile(alternate, undefined, value);
      }
      default:
        return nowhere;
    }
  }

  #nameOf(unit: Unit, from: number): number {
    if (!this.#reader.has(from)) return -1;
    const index = this.names.indexOf(unit, this.#reader.forms[from]!, this.#reader.values[from]!);
    if (index < 0) this.alternateMissing++;
    return index;
  }

  #readAt(unit: Unit, offset: number): boolean {
    if (offset < unit.firstEntry || offset >= unit.end) return false;
    const { file } = unit;
    const table = file.abbreviationsOf(unit);
    const cursor = file.info.seek(offset, unit.end);
    const at = table.find(cursor.uleb128());
    if (at < 0) return false;
    this.#reader.read(cursor, table, at, unit);
    return true;
  }
}

const nowhere: EntryPlace = { unit: undefined, offset: 0 };

function inFile(file: DebugFile, near: Unit | undefined, offset: number): EntryPlace {
  const isNear = near !== undefined && offset >= near.firstEntry && offset < near.end;
  return { unit: isNear ? near : file.unitAt(offset), offset };
}
