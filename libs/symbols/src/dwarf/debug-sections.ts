// What the DWARF reader needs of a file: bytes of sections by name, where code is, and which files belong to
// it.

export interface DebugSections {
  readonly littleEndian: boolean;
  /** Lowest `PT_LOAD` address, 0 in relocatable files. */
  readonly imageBase: bigint;
  /** Where code is: the executable sections, else the executable segments. Absolute, end exclusive. */
  readonly executable: readonly AddressSpan[];
  /** Decompressed, and relocated where it must be; undefined if the file has no such section. */
  section(name: string): Uint8Array | undefined;
  /** The contents of a compressed section piece by piece, in order; undefined if `section` is as good. */
  stream?(name: string): SectionStream | undefined;
  /**
   * Where `.debug_info` is still being written by another thread: returns once its first `end` bytes are
   * there.
   */
  awaitInfo?(end: number): void;
  /** The file that `dwz` moved shared entries to (`.gnu_debugaltlink`), if it was found. */
  readonly alternate?: DebugSections;
  /** The `.dwp` file beside this one, if there is any. */
  readonly package?: DebugSections;
  /** The `.dwo` file of a split unit. */
  split?(unit: SplitUnitName): DebugSections | undefined;
}

export interface SectionStream {
  readonly size: number;
  /** Pieces of `size` bytes in all; fails as `section` does. */
  readonly pieces: AsyncIterable<Uint8Array>;
}

export interface AddressSpan {
  readonly start: bigint;
  readonly end: bigint;
}

/** Where the compiler says that it put the rest of a unit. */
export interface SplitUnitName {
  readonly id: bigint;
  readonly name: string;
  readonly directory: string;
}
