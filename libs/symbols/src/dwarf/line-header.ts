// Headers of line programs, versions 2 to 5: how to run the program, and the files and directories it speaks
// of.
import { SymbolsError } from '../symbols-error.ts';
import { form } from './constants.ts';
import type { Cursor } from './cursor.ts';
import { readValue } from './die-reader.ts';
import type { UnitEncoding } from './forms.ts';
import { decode, placeOf, textOf } from './strings.ts';
import type { Unit } from './unit.ts';

const content = { path: 1, directoryIndex: 2 } as const;

/** Names by index, not yet decoded: most files of a header have no row. */
export interface NameTable {
  readonly form: number;
  /** Of the form; -1: no name. */
  readonly values: number[];
  /** Of files: index of the directory. */
  readonly directories: number[];
}

export interface LineHeader extends UnitEncoding {
  readonly programStart: number;
  readonly end: number;
  readonly minInstructionBytes: number;
  readonly operationsMax: number;
  readonly lineBase: number;
  readonly lineRange: number;
  readonly opcodeBase: number;
  /** By standard opcode: how many LEB128 arguments it has. */
  readonly argumentCounts: Uint8Array;
  readonly directories: NameTable;
  readonly files: NameTable;
  readonly cursor: Cursor;
}

/** The header at `offset` of `.debug_line`. Throws `truncated`, `malformed`, `unsupported` or `limit`. */
export function readLineHeader(unit: Unit, cursor: Cursor, offset: number): LineHeader {
  cursor.seek(offset);
  const { length, offsetBytes } = cursor.initialLength();
  // A length past the end is cut: what is there is still right.
  const end = Math.min(cursor.bytes.length, cursor.pos + length);
  cursor.seek(cursor.pos, end);
  const version = cursor.u16();
  if (version < 2 || version > 5) {
    throw new SymbolsError('unsupported', `${cursor.name} at ${offset}`, `version ${version}`);
  }
  const addressBytes = version >= 5 ? cursor.u8() : unit.addressBytes;
  if (version >= 5) cursor.u8();
  const headerLength = cursor.unsigned(offsetBytes);
  const programStart = cursor.pos + headerLength;
  if (programStart > end) throw new SymbolsError('truncated', `${cursor.name} at ${offset}`, 'no program');
  const minInstructionBytes = cursor.u8();
  const operationsMax = version >= 4 ? Math.max(1, cursor.u8()) : 1;
  cursor.u8(); // default_is_stmt: every row counts here
  const lineBase = cursor.s8();
  const lineRange = cursor.u8();
  const opcodeBase = cursor.u8();
  const argumentCounts = new Uint8Array(opcodeBase);
  for (let opcode = 1; opcode < opcodeBase; opcode++) argumentCounts[opcode] = cursor.u8();
  const encoding = { version, offsetBytes, addressBytes };
  const tables = version >= 5 ? readTables(cursor, encoding) : readOldTables(cursor);
  unit.file.budget.step(cursor.pos - offset, cursor.name);
  return {
    ...encoding,
    ...tables,
    programStart,
    end,
    minInstructionBytes,
    operationsMax,
    lineBase,
    lineRange,
    opcodeBase,
    argumentCounts,
    cursor,
  };
}

type Tables = Pick<LineHeader, 'directories' | 'files'>;

/** Before version 5 both count from 1: the compile directory, and no file, are 0. */
function readOldTables(cursor: Cursor): Tables {
  const directories: NameTable = { form: form.string, values: [-1], directories: [0] };
  while (cursor.bytes[cursor.pos] !== 0) directories.values.push(cursor.skipString());
  cursor.u8();
  const files: NameTable = { form: form.string, values: [-1], directories: [0] };
  while (cursor.pos < cursor.end && cursor.bytes[cursor.pos] !== 0) readOldFile(cursor, files);
  return { directories, files };
}

/** Also what `DW_LNE_define_file` has. */
export function readOldFile(cursor: Cursor, files: NameTable): void {
  const name = cursor.skipString();
  const directory = cursor.uleb128();
  cursor.skipLeb128();
  cursor.skipLeb128();
  files.values.push(name);
  files.directories.push(directory);
}

function readTables(cursor: Cursor, encoding: UnitEncoding): Tables {
  const directories = readTable(cursor, encoding);
  return { directories, files: readTable(cursor, encoding) };
}

/** A version 5 table says itself which fields its entries have. */
function readTable(cursor: Cursor, encoding: UnitEncoding): NameTable {
  const contents: number[] = [];
  const forms: number[] = [];
  for (let left = cursor.u8(); left > 0; left--) {
    contents.push(cursor.uleb128());
    forms.push(cursor.uleb128());
  }
  const table: NameTable = { form: forms[contents.indexOf(content.path)] ?? 0, values: [], directories: [] };
  for (let left = cursor.uleb128(); left > 0; left--) {
    const at = cursor.pos;
    let name = -1;
    let directory = 0;
    for (let field = 0; field < forms.length; field++) {
      const value = readValue(cursor, forms[field]!, encoding);
      if (contents[field] === content.directoryIndex) directory = value;
      else if (contents[field] === content.path && name < 0) name = value;
    }
    if (cursor.pos === at) throw new SymbolsError('malformed', cursor.name, 'table entries of no bytes');
    table.values.push(name);
    table.directories.push(directory);
  }
  return table;
}

/** The path of file `index` as the compiler recorded it, made absolute by the compile directory. */
export function pathOf(unit: Unit, header: LineHeader, index: number): string | undefined {
  const name = nameOf(unit, header, header.files, index);
  if (name === undefined || isAbsolute(name)) return name;
  const at = header.files.directories[index]!;
  const directory = nameOf(unit, header, header.directories, at) ?? '';
  const path = join(directory, name);
  // In version 5 directory 0 is the compile directory.
  if (isAbsolute(directory) || (header.version >= 5 && at === 0)) return path;
  return join(textOf(unit, unit.file.rootOf(unit).directory) ?? '', path);
}

function nameOf(unit: Unit, header: LineHeader, table: NameTable, index: number): string | undefined {
  const value = table.values[index] ?? -1;
  const place = value < 0 ? undefined : placeOf(unit, table.form, value, header.cursor);
  return place && decode(place, unit.file.budget);
}

/**
 * A number that is the same for files of the same path in units of one compile directory; -1 if there is
 * none.
 */
export function pathKeyOf(header: LineHeader, index: number): number {
  const { files, directories } = header;
  if (!isShared(files.form) || !isShared(directories.form) || files.form !== directories.form) return -1;
  const name = files.values[index] ?? -1;
  const at = files.directories[index] ?? -1;
  const directory = directories.values[at] ?? -1;
  if (name < 0 || directory < 0 || name >= keyOffsetMax || directory >= keyOffsetMax / 2) return -1;
  return (directory * 2 + Number(at === 0)) * keyOffsetMax + name;
}

/** 26 bits of either make an exact number. */
const keyOffsetMax = 2 ** 26;

function isShared(formNumber: number): boolean {
  return formNumber === form.lineStrp;
}

function join(directory: string, name: string): string {
  return directory === '' || directory.endsWith('/') ? directory + name : `${directory}/${name}`;
}

/** Of any system: sources of a cross compiler may be on a Windows machine. */
function isAbsolute(path: string): boolean {
  return path.startsWith('/') || path.startsWith('\\') || /^[A-Za-z]:[\\/]/.test(path);
}
