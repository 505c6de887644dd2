// The two spaces in which an ELF file counts, as types, so that one is never taken for the other.

/** An address as the file was linked, unsigned 64 bit. A bigint, because a double cannot hold kernel addresses. */
export type VirtualAddress = bigint & { readonly space: 'virtual address' };

/**
 * A position in the file in bytes. Exact up to 2^53; a larger one is rounded, and past the end of any file either way.
 */
export type FileOffset = number & { readonly space: 'file offset' };

export function virtualAddress(value: bigint): VirtualAddress {
  return BigInt.asUintN(64, value) as VirtualAddress;
}

export function fileOffset(value: number): FileOffset {
  return value as FileOffset;
}
