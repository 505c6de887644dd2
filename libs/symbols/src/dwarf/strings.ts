// Strings of DWARF: in place, in one of four string sections, or by index. Each place is decoded once.
import { SymbolsError } from '../symbols-error.ts';
import type { Budget } from './budget.ts';
import { form } from './constants.ts';
import type { Cursor } from './cursor.ts';
import { OffsetMap } from './offset-map.ts';
import type { StringValue, Unit } from './unit.ts';

/** Longest mangled name seen: 150 KB. Longer ones are cut. */
const stringBytesMax = 262_144;

/** Where a string's bytes are. */
interface StringPlace {
  readonly cursor: Cursor;
  readonly offset: number;
}

/** Distinct strings, each with an index. */
export class StringTable {
  readonly strings: string[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #places = new Map<Cursor, OffsetMap>();
  #lastSection: Cursor | undefined;
  #lastPlaces: OffsetMap | undefined;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  intern(text: string): number {
    let index = this.#indexes.get(text);
    if (index === undefined) {
      index = this.strings.length;
      this.#budget.hold(64 + text.length, 'strings');
      this.strings.push(text);
      this.#indexes.set(text, index);
    }
    return index;
  }

  /** The index of the string that a unit's attribute has; -1 if it is in a file that is not at hand. */
  indexOf(unit: Unit, formNumber: number, value: number): number {
    const place = placeOf(unit, formNumber, value);
    if (place === undefined) return -1;
    const places = this.#placesIn(place.cursor);
    const known = places.get(place.offset);
    if (known >= 0) return known;
    const index = this.intern(decode(place, this.#budget));
    places.set(place.offset, index);
    return index;
  }

  #placesIn(section: Cursor): OffsetMap {
    if (section === this.#lastSection) return this.#lastPlaces!;
    let places = this.#places.get(section);
    if (places === undefined) {
      places = new OffsetMap(this.#budget, 'strings');
      this.#places.set(section, places);
    }
    this.#lastSection = section;
    this.#lastPlaces = places;
    return places;
  }
}

/** The text of an attribute; undefined if it has none, or in a file that is not at hand. */
export function textOf(unit: Unit, { form: formNumber, value }: StringValue): string | undefined {
  const place = formNumber === 0 ? undefined : placeOf(unit, formNumber, value);
  return place === undefined ? undefined : decode(place, unit.file.budget);
}

/** `form.string` values are positions in `.debug_info`; other sections pass theirs as `inPlace`. */
export function placeOf(
  unit: Unit,
  formNumber: number,
  value: number,
  inPlace: Cursor = unit.file.info,
): StringPlace | undefined {
  const { file } = unit;
  switch (formNumber) {
    case form.string:
      return { cursor: inPlace, offset: value };
    case form.strp:
      return { cursor: file.str, offset: value };
    case form.lineStrp:
      return { cursor: file.lineStr, offset: value };
    case form.gnuStrpAlt:
    case form.strpSup:
      return file.alternate && { cursor: file.alternate.str, offset: value };
    case form.strx:
    case form.strx1:
    case form.strx2:
    case form.strx3:
    case form.strx4:
    case form.gnuStrIndex: {
      const at = file.rootOf(unit).strOffsetsBase + value * unit.offsetBytes;
      return { cursor: file.str, offset: file.strOffsets.seek(at).unsigned(unit.offsetBytes) };
    }
    default:
      throw new SymbolsError('malformed', file.info.name, `a string of form ${formNumber}`);
  }
}

export function decode({ cursor, offset }: StringPlace, budget: Budget): string {
  const { bytes, name } = cursor;
  if (!(offset >= 0 && offset < bytes.length)) {
    throw new SymbolsError('truncated', name, `a string at ${offset} of ${bytes.length}`);
  }
  const stop = Math.min(bytes.length, offset + stringBytesMax);
  let end = offset;
  let ascii = 0;
  while (end < stop && bytes[end] !== 0) ascii |= bytes[end++]!;
  budget.step(end - offset, name);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset + offset, end - offset);
  return buffer.toString(ascii < 0x80 ? 'latin1' : 'utf8');
}
