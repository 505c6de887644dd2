// Structure-aware mutation of ELF files: fields of headers and of table entries get values that matter, files get cut.
// All of it follows from a seed, so that a run can be made again.
import type { Random } from '../../../tools/random.ts';
import { bytesSource, type ElfHeader, readHeader, readSections, readSegments } from '../src/index.ts';
import { viewOf } from './image.ts';

interface Field {
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

export interface Subject {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly header: ElfHeader;
  readonly fields: readonly Field[];
}

const identFields = [4, 5, 6].map((at): Field => ({ at, bytes: 1 }));
const wordsOf = (at: number, ...sizes: Field['bytes'][]): Field[] => {
  let next = at;
  return sizes.map((bytes) => {
    next += bytes;
    return { at: next - bytes, bytes };
  });
};

/** `ranges` are further parts of the file in which any aligned word is a field, e.g. the contents of notes. */
export function subjectOf(
  name: string,
  bytes: Uint8Array,
  ranges: readonly (readonly [number, number])[] = [],
): Subject {
  const source = bytesSource(bytes);
  const header = readHeader(source);
  const wide = header.class === 64;
  const word = wide ? 8 : 4;
  const fields = [
    ...identFields,
    ...wordsOf(16, 2, 2, 4, word, word, word, 4, 2, 2, 2, 2, 2, 2),
    ...readSegments(source, header).flatMap(({ index }) => {
      const at = header.segmentTable.offset + index * header.segmentTable.entryBytes;
      return wide ? wordsOf(at, 4, 4, 8, 8, 8, 8, 8, 8) : wordsOf(at, 4, 4, 4, 4, 4, 4, 4, 4);
    }),
    ...readSections(source, header).flatMap(({ index }) => {
      const at = header.sectionTable.offset + index * header.sectionTable.entryBytes;
      return wordsOf(at, 4, 4, word, word, word, word, 4, 4, word, word);
    }),
    ...ranges.flatMap(([start, end]) => {
      return Array.from(
        { length: Math.floor((end - start) / 4) },
        (_, index): Field => ({ at: start + 4 * index, bytes: 4 }),
      );
    }),
  ].filter(({ at, bytes: size }) => at + size <= bytes.length);
  return { name, bytes, header, fields };
}

/** One to four fields changed, one file in eight cut. Gives the mutant and what was done, for the report of a failure. */
export function mutantOf(subject: Subject, random: Random): { bytes: Uint8Array; done: string[] } {
  const bytes = Uint8Array.from(subject.bytes);
  const view = viewOf(bytes);
  const done = Array.from({ length: 1 + random(4) }, () => {
    const { at, bytes: size } = subject.fields[random(subject.fields.length)] as Field;
    const value = interestingValue(view, subject, at, size, random);
    writeField(view, at, size, value, subject.header.littleEndian);
    return `${size} bytes at ${at} = ${value.toString(16)}`;
  });
  if (random(8) > 0) return { bytes, done };
  const length = random(bytes.length);
  return { bytes: bytes.subarray(0, length), done: [...done, `cut to ${length}`] };
}

const boundaries = [
  0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfeff, 0xff00, 0xfffe, 0xffff,
];

function interestingValue(
  view: DataView,
  { bytes, header }: Subject,
  at: number,
  size: Field['bytes'],
  random: Random,
): bigint {
  const bits = BigInt(8 * size);
  switch (random(6)) {
    case 0:
      return BigInt(boundaries[random(boundaries.length)] as number);
    case 1:
      return (1n << bits) - 1n - BigInt(random(64));
    case 2:
      return 1n << BigInt(random(8 * size));
    case 3:
      return BigInt(bytes.length) + BigInt(random(129) - 64);
    case 4:
      return readField(view, at, size, header.littleEndian) + BigInt(random(33) - 16);
    default:
      return BigInt(random(2 ** 32)) * BigInt(random(2 ** 32));
  }
}

function readField(view: DataView, at: number, size: Field['bytes'], littleEndian: boolean): bigint {
  let value = 0n;
  for (let index = 0; index < size; index++) {
    const byte = view.getUint8(littleEndian ? at + size - 1 - index : at + index);
    value = (value << 8n) | BigInt(byte);
  }
  return value;
}

function writeField(
  view: DataView,
  at: number,
  size: Field['bytes'],
  value: bigint,
  littleEndian: boolean,
): void {
  let rest = BigInt.asUintN(8 * size, value);
  for (let index = 0; index < size; index++) {
    view.setUint8(littleEndian ? at + index : at + size - 1 - index, Number(rest & 0xffn));
    rest >>= 8n;
  }
}
