// From an address in a process to the address in the file: what a mapping shows of a file, its segments say where it was
// linked.
import { type FileOffset, fileOffset, type VirtualAddress, virtualAddress } from './address-space.ts';
import { isExecutableLoad, type Segment, segmentTypes } from './segments.ts';

/** A line of `/proc/<pid>/maps`, or a mapping of a profile. */
export interface FileMapping {
  /** First address in the process. */
  readonly start: bigint;
  /** Position in the file that is mapped there. */
  readonly fileOffset: FileOffset;
}

/** The kernel maps whole pages: a little of a file before and after a segment is mapped with it. */
const pageBytes = 4_096;

/**
 * The virtual address that stands at `address` of a process: `address − start + fileOffset − p_offset + p_vaddr` of the
 * segment that covers it. Undefined if none does.
 */
export function virtualAddressOf(
  segments: readonly Segment[],
  mapping: FileMapping,
  address: bigint,
): VirtualAddress | undefined {
  const offset = address - mapping.start + BigInt(mapping.fileOffset);
  if (offset < 0n || offset > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  const segment = segmentAt(segments, fileOffset(Number(offset)));
  return segment && virtualAddress(offset - BigInt(segment.offset) + segment.address);
}

/** The file offset of a virtual address, undefined where the file has no bytes for it. */
export function fileOffsetOf(segments: readonly Segment[], address: VirtualAddress): FileOffset | undefined {
  const segment = segments.find((candidate) => {
    return (
      isLoad(candidate) &&
      address >= candidate.address &&
      address - candidate.address < BigInt(candidate.fileSize)
    );
  });
  return segment && fileOffset(segment.offset + Number(address - segment.address));
}

/**
 * The segment whose bytes include `offset`. Segments may overlap in the file, and reach into each other's pages: exact
 * beats page-wide, and executable beats other, since it is code that is asked about.
 */
export function segmentAt(segments: readonly Segment[], offset: FileOffset): Segment | undefined {
  const exact = segments.filter((segment) => isLoad(segment) && covers(segment, offset, 0));
  const near =
    exact.length > 0
      ? exact
      : segments.filter((segment) => isLoad(segment) && covers(segment, offset, pageBytes));
  return near.find(isExecutableLoad) ?? near[0];
}

function covers({ offset, fileSize }: Segment, at: FileOffset, page: number): boolean {
  if (fileSize === 0) return false;
  const end = offset + fileSize;
  if (page === 0) return at >= offset && at < end;
  return at >= Math.floor(offset / page) * page && at < Math.ceil(end / page) * page;
}

function isLoad({ type }: Segment): boolean {
  return type === segmentTypes.load;
}
