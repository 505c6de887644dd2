// Writes Go's table in all its layouts, after runtime/symtab.go and cmd/link/internal/ld/pcln.go of the Go versions, for
// those that the fixtures' toolchain does not make.
import { Output, type TestEncoding } from './elf-writer.ts';

export interface GoCall {
  readonly name: string;
  readonly startLine: number;
  /** Index of the call that this one is in, -1 for the function itself. */
  readonly parent: number;
  readonly file: string;
  readonly line: number;
  /** Offset of an instruction of the caller, whose file and line are those of the call. */
  readonly pc: number;
}

export interface GoRow {
  readonly end: number;
  readonly file: string;
  readonly line: number;
  /** Index of the inlined call, -1 for none. */
  readonly call: number;
}

export interface GoTestFunction {
  readonly name: string;
  readonly startLine: number;
  readonly entry: number;
  readonly rows: readonly GoRow[];
  readonly calls: readonly GoCall[];
}

/** Versions of Go at which something changed. */
export type GoVersion = '1.9' | '1.12' | '1.14' | '1.16' | '1.18' | '1.20';

const magics = {
  '1.9': 0xfffffffb,
  '1.12': 0xfffffffb,
  '1.14': 0xfffffffb,
  '1.16': 0xfffffffa,
  '1.18': 0xfffffff0,
  '1.20': 0xfffffff1,
};
/** Which pcdata and funcdata have inlined calls. */
const inlinePcdata = { '1.9': 1, '1.12': 1, '1.14': 2, '1.16': 2, '1.18': 2, '1.20': 2 };
const inlineFuncdata = { '1.9': 2, '1.12': 2, '1.14': 4, '1.16': 3, '1.18': 3, '1.20': 3 };

export class GoTableWriter {
  readonly #version: GoVersion;
  readonly #encoding: TestEncoding;
  readonly #quantum: number;
  readonly #text: number;
  readonly #names = new Strings();
  readonly #files = new Strings();
  readonly #fileNumbers: string[] = [];
  readonly #values: Output;
  readonly #trees: Output;
  /** What offsets of names in the trees count from: old layouts have only one start. */
  #namesAt = 0;
  /** Where `trees` is loaded, old layouts point there. */
  readonly #treesAddress: number;

  constructor(
    version: GoVersion,
    encoding: TestEncoding,
    places: { text: number; trees: number; quantum: number },
  ) {
    this.#version = version;
    this.#encoding = encoding;
    this.#quantum = places.quantum;
    this.#text = places.text;
    this.#treesAddress = places.trees;
    // Offset 0 of the step tables means none.
    this.#values = new Output(encoding).u8(0);
    // Something else stands before the trees.
    this.#trees = new Output(encoding).put(Buffer.from('other read-only data')).align(8).u32(7, 7);
  }

  /** The section, and the read-only data with the trees of inlined calls. */
  write(functions: readonly GoTestFunction[]): { readonly table: Uint8Array; readonly trees: Uint8Array } {
    const isOneTable = magics[this.#version] === 0xfffffffb;
    if (isOneTable) this.#namesAt = this.#headBytes(functions.length);
    const records = functions.map((func) => this.#recordParts(func));
    const table = isOneTable ? this.#oneTable(functions, records) : this.#parts(functions, records);
    return { table, trees: this.#trees.bytes };
  }

  #recordParts(func: GoTestFunction) {
    return {
      name: this.#names.offset(func.name),
      files: this.#steps(func.rows.map(({ end, file }) => ({ end, value: this.#fileNumber(file) }))),
      lines: this.#steps(func.rows.map(({ end, line }) => ({ end, value: line }))),
      calls:
        func.calls.length === 0 ? 0 : this.#steps(func.rows.map(({ end, call }) => ({ end, value: call }))),
      tree: func.calls.length === 0 ? undefined : this.#tree(func.calls),
    };
  }

  /** Old layouts number files from 1 for the whole binary, new ones from 0 in a compilation unit. */
  #fileNumber(file: string): number {
    if (!this.#fileNumbers.includes(file)) this.#fileNumbers.push(file);
    this.#files.offset(file);
    return this.#fileNumbers.indexOf(file) + (magics[this.#version] === 0xfffffffb ? 1 : 0);
  }

  #steps(steps: readonly { end: number; value: number }[]): number {
    const offset = this.#values.length;
    let [value, end] = [-1, 0];
    for (const [index, step] of steps.entries()) {
      const delta = step.value - value;
      // A delta of 0 ends the table, but for the first one: equal neighbours are one step.
      if (delta === 0 && index > 0) throw new Error('equal steps');
      this.#varint(delta < 0 ? -2 * delta - 1 : 2 * delta);
      this.#varint((step.end - end) / this.#quantum);
      [value, end] = [step.value, step.end];
    }
    this.#values.u8(0);
    return offset;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.#values.u8((rest & 0x7f) | 0x80);
    this.#values.u8(rest);
  }

  #tree(calls: readonly GoCall[]): number {
    const offset = this.#trees.align(4).length;
    for (const call of calls) {
      const name = this.#namesAt + this.#names.offset(call.name);
      if (this.#version === '1.20') this.#trees.u8(0, 0, 0, 0).u32(name, call.pc, call.startLine);
      else {
        if (this.#version === '1.9') this.#trees.u32(call.parent);
        else this.#trees.u16(call.parent).u8(0, 0);
        this.#trees.u32(this.#fileNumber(call.file), call.line, name);
        if (this.#version !== '1.9') this.#trees.u32(call.pc);
      }
    }
    this.#trees.u32(0xdeadbeef);
    return offset;
  }

  /** Go 1.2 to 1.15: everything in one, offsets from its start, whole addresses. */
  #oneTable(functions: readonly GoTestFunction[], records: readonly Parts[]): Uint8Array {
    const pointer = this.#encoding.class / 8;
    const names = this.#headBytes(functions.length);
    const values = names + this.#names.bytes.length;
    const files = Math.ceil((values + this.#values.length) / 8) * 8;
    const fileTable = Math.ceil((files + this.#files.bytes.length) / 8) * 8;
    const first = Math.ceil((fileTable + 4 * (this.#fileNumbers.length + 1)) / 8) * 8;
    const bodies = new Output(this.#encoding);
    const places = records.map((record, index) => {
      bodies.align(pointer);
      const at = first + bodies.length;
      bodies.word(this.#text + (functions[index] as GoTestFunction).entry);
      this.#record(bodies, { ...record, name: record.name + names, ...this.#moved(record, values) }, 0);
      return at;
    });
    const out = new Output(this.#encoding).u32(magics[this.#version]).u8(0, 0, this.#quantum, pointer);
    out.word(functions.length);
    for (const [index, { entry }] of functions.entries())
      out.word(this.#text + entry, places[index] as number);
    out.word(this.#text + endOf(functions)).u32(fileTable);
    pad(out, names).put(this.#names.bytes).put(this.#values.bytes);
    pad(out, files).put(this.#files.bytes);
    pad(out, fileTable).u32(this.#fileNumbers.length + 1);
    for (const file of this.#fileNumbers) out.u32(files + this.#files.offset(file));
    return pad(out, first).put(bodies.bytes).bytes;
  }

  #headBytes(functions: number): number {
    const pointer = this.#encoding.class / 8;
    return Math.ceil((8 + pointer + (2 * functions + 1) * pointer + 4) / 8) * 8;
  }

  #moved(record: Parts, values: number) {
    const moved = (offset: number) => (offset === 0 ? 0 : offset + values);
    return { files: moved(record.files), lines: moved(record.lines), calls: moved(record.calls) };
  }

  /** Go 1.16 and later: parts with offsets in the header. */
  #parts(functions: readonly GoTestFunction[], records: readonly Parts[]): Uint8Array {
    const pointer = this.#encoding.class / 8;
    const isOld = this.#version === '1.16';
    const field = isOld ? pointer : 4;
    const units = new Output(this.#encoding).u32(0xffffffff);
    for (const file of this.#fileNumbers) units.u32(this.#files.offset(file));
    const bodies = new Output(this.#encoding);
    const head = Math.ceil(((2 * functions.length + 1) * field) / 8) * 8;
    const places = records.map((record, index) => {
      bodies.align(pointer);
      const at = head + bodies.length;
      const { entry, startLine } = functions[index] as GoTestFunction;
      if (isOld) bodies.word(this.#text + entry);
      else bodies.u32(entry);
      this.#record(bodies, record, startLine);
      return at;
    });
    const table = new Output(this.#encoding);
    const put = (value: number) => (isOld ? table.word(value) : table.u32(value));
    for (const [index, { entry }] of functions.entries()) {
      put(isOld ? this.#text + entry : entry);
      put(places[index] as number);
    }
    put(isOld ? this.#text + endOf(functions) : endOf(functions));
    pad(table, head).put(bodies.bytes);
    const words = isOld ? 7 : 8;
    const out = new Output(this.#encoding).u32(magics[this.#version]).u8(0, 0, this.#quantum, pointer);
    const sections = [this.#names.bytes, units.bytes, this.#files.bytes, this.#values.bytes, table.bytes];
    let at = 8 + words * pointer;
    const offsets = sections.map((bytes) => {
      const offset = Math.ceil(at / 8) * 8;
      at = offset + bytes.length;
      return offset;
    });
    out.word(functions.length, this.#fileNumbers.length);
    if (!isOld) out.word(this.#text);
    out.word(...offsets);
    for (const [index, bytes] of sections.entries()) pad(out, offsets[index] as number).put(bytes);
    return out.bytes;
  }

  /** From the name on. */
  #record(out: Output, { name, files, lines, calls, tree }: Parts, startLine: number): void {
    const version = this.#version;
    const hasUnit = version === '1.16' || version === '1.18' || version === '1.20';
    const [pcdata, funcdata] = [inlinePcdata[version] + 1, inlineFuncdata[version] + 1];
    out.u32(name, 0, 0, 0, files, lines, pcdata);
    // The first unit's files begin behind an entry for a file that was removed.
    if (hasUnit) out.u32(1);
    if (version === '1.20') out.u32(startLine);
    if (version === '1.9') out.u32(funcdata);
    else out.u8(3, 0, 0, funcdata);
    for (let index = 0; index < pcdata; index++) out.u32(index === pcdata - 1 ? calls : 0);
    const isOffset = version === '1.18' || version === '1.20';
    if (!isOffset) out.align(this.#encoding.class / 8);
    for (let index = 0; index < funcdata; index++) {
      const value = index === funcdata - 1 ? tree : undefined;
      if (isOffset) out.u32(value ?? 0xffffffff);
      else out.word(value === undefined ? 0 : this.#treesAddress + value);
    }
  }
}

interface Parts {
  readonly name: number;
  readonly files: number;
  readonly lines: number;
  readonly calls: number;
  readonly tree: number | undefined;
}

function endOf(functions: readonly GoTestFunction[]): number {
  const last = functions.at(-1) as GoTestFunction;
  return last.entry + (last.rows.at(-1) as GoRow).end;
}

function pad(out: Output, to: number): Output {
  while (out.length < to) out.u8(0);
  return out;
}

/** NUL-terminated strings, an empty one first. */
class Strings {
  readonly #offsets = new Map<string, number>();
  #text = '\0';

  offset(text: string): number {
    const known = this.#offsets.get(text) ?? Buffer.byteLength(this.#text);
    if (!this.#offsets.has(text)) this.#text += `${text}\0`;
    this.#offsets.set(text, known);
    return known;
  }

  get bytes(): Uint8Array {
    return Buffer.from(this.#text);
  }
}
