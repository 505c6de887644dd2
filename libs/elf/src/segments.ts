// Program headers: what the loader maps, and where (gABI, "Program Header").
import { type FileOffset, fileOffset, type VirtualAddress } from './address-space.ts';
import type { ByteSource } from './byte-source.ts';
import { ElfError } from './elf-error.ts';
import { readTable } from './fields.ts';
import type { ElfHeader } from './header.ts';
import { readFirstSection } from './sections.ts';

export interface Segment {
  readonly index: number;
  /** `segmentTypes`, or a value of the processor or OS. */
  readonly type: number;
  /** `segmentFlags`, combined. */
  readonly flags: number;
  readonly offset: FileOffset;
  readonly address: VirtualAddress;
  readonly fileSize: number;
  readonly memorySize: bigint;
  readonly align: number;
}

export const segmentTypes = { load: 1, dynamic: 2, interp: 3, note: 4, phdr: 6, tls: 7 } as const;
export const segmentFlags = { execute: 1, write: 2, read: 4 } as const;

/** A core file has one for each mapping of a process, which Linux bounds to 65,530 unless told otherwise. */
export const segmentsMax = 70_000;

const entryBytes = { 32: 32, 64: 56 } as const;
/** `PN_XNUM`: the count does not fit 16 bits and stands in `sh_info` of section 0. */
const countInSection0 = 0xffff;

/** Throws `truncated`, `malformed` or `limit`. */
export function readSegments(source: ByteSource, header: ElfHeader): Segment[] {
  const what = 'program headers';
  const table = header.segmentTable;
  const count = table.count === countInSection0 ? readFirstSection(source, header, what).info : table.count;
  if (count === 0 || table.offset === 0) return [];
  if (table.entryBytes !== entryBytes[header.class]) {
    throw new ElfError('malformed', what, `entries of ${table.entryBytes} bytes`);
  }
  if (count > segmentsMax) throw new ElfError('limit', what, `${count} entries, at most ${segmentsMax}`);
  const segments: Segment[] = [];
  const wide = header.class === 64;
  readTable(source, header, { ...table, count, what }, (fields, at, index) => {
    segments.push({
      index,
      type: fields.u32(at),
      flags: fields.u32(at + (wide ? 4 : 24)),
      offset: fileOffset(fields.word(at + (wide ? 8 : 4))),
      address: fields.address(at + (wide ? 16 : 8)),
      fileSize: fields.word(at + (wide ? 32 : 16)),
      memorySize: fields.exactWord(at + (wide ? 40 : 20)),
      align: fields.word(at + (wide ? 48 : 28)),
    });
  });
  return segments;
}

export function isExecutableLoad(segment: Segment): boolean {
  return segment.type === segmentTypes.load && (segment.flags & segmentFlags.execute) !== 0;
}
