// The ELF header: what kind of file this is and where its two tables are (gABI, "ELF Header").
import type { VirtualAddress } from './address-space.ts';
import type { ByteSource } from './byte-source.ts';
import { readExact } from './byte-source.ts';
import { ElfError } from './elf-error.ts';
import { type Encoding, Fields } from './fields.ts';

export type ElfType = 'rel' | 'exec' | 'dyn' | 'core';

export interface ElfHeader extends Encoding {
  readonly type: ElfType;
  /** `e_machine`. */
  readonly machine: number;
  /** `archOf` the machine. */
  readonly arch: string;
  readonly entry: VirtualAddress;
  readonly flags: number;
  /** As in the file: `readSegments` and `readSections` resolve the escapes that stand for large counts. */
  readonly segmentTable: { readonly offset: number; readonly count: number; readonly entryBytes: number };
  readonly sectionTable: {
    readonly offset: number;
    readonly count: number;
    readonly entryBytes: number;
    readonly namesIndex: number;
  };
}

export const machines = {
  i386: 3,
  mips: 8,
  ppc: 20,
  ppc64: 21,
  s390: 22,
  arm: 40,
  x86_64: 62,
  aarch64: 183,
  riscv: 243,
  loongarch: 258,
} as const;

const magic = 0x7f454c46;
const identBytes = 16;
const headerBytes = { 32: 52, 64: 64 } as const;
const types: Readonly<Record<number, ElfType>> = { 1: 'rel', 2: 'exec', 3: 'dyn', 4: 'core' };

const archByMachine: Readonly<Record<number, string>> = {
  2: 'sparc',
  3: 'i386',
  4: 'm68k',
  15: 'parisc',
  20: 'ppc',
  40: 'arm',
  42: 'sh',
  43: 'sparc64',
  50: 'ia64',
  190: 'cuda',
  224: 'amdgpu',
  247: 'bpf',
  252: 'csky',
  36902: 'alpha',
};

/** True if the bytes start as an ELF file does. */
export function isElf(head: Uint8Array): boolean {
  return head.length >= 4 && new DataView(head.buffer, head.byteOffset, 4).getUint32(0) === magic;
}

/** Throws `not_elf`, `truncated`, `malformed` or `unsupported`. */
export function readHeader(source: ByteSource): ElfHeader {
  const what = 'ELF header';
  if (source.size < 4 || !isElf(source.read(0, 4))) throw new ElfError('not_elf', what, 'no ELF magic');
  const encoding = encodingOf(readExact(source, 0, identBytes, what));
  const wide = encoding.class === 64;
  const fields = new Fields(readExact(source, 0, headerBytes[encoding.class], what), encoding);
  if (fields.u32(20) !== 1) throw new ElfError('malformed', what, `version ${fields.u32(20)} instead of 1`);
  const type = types[fields.u16(16)];
  if (type === undefined) throw new ElfError('unsupported', what, `file type ${fields.u16(16)}`);
  const machine = fields.u16(18);
  // From e_flags on both layouts are the same, 12 bytes apart.
  const rest = wide ? 48 : 36;
  return {
    ...encoding,
    type,
    machine,
    arch: archOf(machine, encoding),
    entry: fields.address(24),
    flags: fields.u32(rest),
    segmentTable: {
      offset: fields.word(wide ? 32 : 28),
      count: fields.u16(rest + 8),
      entryBytes: fields.u16(rest + 6),
    },
    sectionTable: {
      offset: fields.word(wide ? 40 : 32),
      count: fields.u16(rest + 12),
      entryBytes: fields.u16(rest + 10),
      namesIndex: fields.u16(rest + 14),
    },
  };
}

/**
 * The machine under the name that `uname -m` and Debian's ports use, byte order and word size included where they vary:
 * `x86_64`, `aarch64`, `i386`, `arm`, `ppc64le`, `s390x`, `riscv64`, `mips64el`; `machine-<n>` for one not known here.
 */
export function archOf(machine: number, encoding: Encoding): string {
  const wide = encoding.class === 64;
  const { littleEndian } = encoding;
  switch (machine) {
    case machines.x86_64:
      return wide ? 'x86_64' : 'x32';
    case machines.aarch64:
      return littleEndian ? 'aarch64' : 'aarch64_be';
    case machines.arm:
      return littleEndian ? 'arm' : 'armeb';
    case machines.ppc64:
      return littleEndian ? 'ppc64le' : 'ppc64';
    case machines.s390:
      return wide ? 's390x' : 's390';
    case machines.mips:
      return `mips${wide ? '64' : ''}${littleEndian ? 'el' : ''}`;
    case machines.riscv:
      return wide ? 'riscv64' : 'riscv32';
    case machines.loongarch:
      return wide ? 'loongarch64' : 'loongarch32';
    default:
      return archByMachine[machine] ?? `machine-${machine}`;
  }
}

function encodingOf(ident: Uint8Array): Encoding {
  const [fileClass, order, version] = [ident[4], ident[5], ident[6]];
  if (fileClass !== 1 && fileClass !== 2) throw new ElfError('malformed', 'ELF header', `class ${fileClass}`);
  if (order !== 1 && order !== 2) throw new ElfError('malformed', 'ELF header', `byte order ${order}`);
  if (version !== 1) throw new ElfError('malformed', 'ELF header', `version ${version} instead of 1`);
  return { class: fileClass === 2 ? 64 : 32, littleEndian: order === 1 };
}
