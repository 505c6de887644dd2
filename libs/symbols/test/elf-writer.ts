// A minimal ELF file of sections, for contents that no toolchain at hand makes.

export interface TestSection {
  readonly name: string;
  readonly address: number;
  readonly flags: number;
  /** A number: so many bytes that the file does not have. */
  readonly contents: Uint8Array | number;
}

export interface TestEncoding {
  readonly class: 32 | 64;
  readonly littleEndian: boolean;
}

/** Appends integers in the byte order and word size of a file. */
export class Output {
  readonly #bytes: number[] = [];
  readonly #encoding: TestEncoding;

  constructor(encoding: TestEncoding) {
    this.#encoding = encoding;
  }

  get length(): number {
    return this.#bytes.length;
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  put(bytes: Iterable<number>): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  integer(value: number, size: number): this {
    const bytes = Array.from({ length: size }, (_, index) =>
      Number((BigInt.asUintN(64, BigInt(value)) >> BigInt(8 * index)) & 0xffn),
    );
    return this.put(this.#encoding.littleEndian ? bytes : bytes.reverse());
  }

  u8(...values: number[]): this {
    return this.put(values);
  }

  u16(...values: number[]): this {
    for (const value of values) this.integer(value, 2);
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) this.integer(value, 4);
    return this;
  }

  word(...values: number[]): this {
    for (const value of values) this.integer(value, this.#encoding.class / 8);
    return this;
  }

  align(to: number): this {
    while (this.length % to !== 0) this.u8(0);
    return this;
  }
}

const machines = { '64true': 62, '64false': 21, '32true': 3, '32false': 8 } as const;

/** An ET_EXEC file of these sections; without segments, its image base is 0. */
export function elfOf(encoding: TestEncoding, sections: readonly TestSection[]): Uint8Array {
  const wide = encoding.class === 64;
  const headerBytes = wide ? 64 : 52;
  const names = Buffer.from(`\0${sections.map(({ name }) => `${name}\0`).join('')}.shstrtab\0`);
  const all = [...sections, { name: '.shstrtab', address: 0, flags: 0, contents: names }];
  const body = new Output(encoding);
  const table = new Output(encoding).put(new Uint8Array(wide ? 64 : 40));
  for (const { name, address, flags, contents } of all) {
    body.align(16);
    const isNobits = typeof contents === 'number';
    const type = isNobits ? 8 : name === '.shstrtab' ? 3 : 1;
    table.u32(names.indexOf(`\0${name}\0`) + 1, type).word(flags, address, headerBytes + body.length);
    table
      .word(isNobits ? contents : contents.length)
      .u32(0, 0)
      .word(16, 0);
    if (!isNobits) body.put(contents);
  }
  body.align(16);
  const machine = machines[`${encoding.class}${encoding.littleEndian}`];
  const header = new Output(encoding)
    .u8(0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, encoding.littleEndian ? 1 : 2, 1, ...new Uint8Array(9))
    .u16(2, machine)
    .u32(1)
    .word(0, 0, headerBytes + body.length)
    .u32(0)
    .u16(headerBytes, wide ? 56 : 32, 0, wide ? 64 : 40, all.length + 1, all.length);
  return Buffer.concat([header.bytes, body.bytes, table.bytes]);
}
