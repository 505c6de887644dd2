// The relocations that compilers leave in debug sections of relocatable files, by machine: how many bytes are written and
// what to. Sources: the psABI of each processor, section "Relocation". Thread-local offsets are relative to a block that
// begins at 0 here, so they are plain values.
import { machines } from './header.ts';

/** S symbol, A addend, P place, V the value there: S + A, S + A − P, V + S + A, V − S − A. */
export type RelocationOperation = 'none' | 'absolute' | 'relative' | 'add' | 'subtract';

/** What is written: bytes, the low six bits of one (`DW_CFA_advance_loc`), or a ULEB128 that keeps its length. */
export type RelocationWidth = 1 | 2 | 4 | 8 | 'six bits' | 'uleb';

export interface RelocationKind {
  readonly operation: RelocationOperation;
  readonly width: RelocationWidth;
}

type Kinds = Readonly<Record<number, RelocationKind>>;

const none: RelocationKind = { operation: 'none', width: 1 };
const absolute = (width: RelocationWidth): RelocationKind => ({ operation: 'absolute', width });
const relative = (width: RelocationWidth): RelocationKind => ({ operation: 'relative', width });
const add = (width: RelocationWidth): RelocationKind => ({ operation: 'add', width });
const subtract = (width: RelocationWidth): RelocationKind => ({ operation: 'subtract', width });

const kindsByMachine: Readonly<Record<number, Kinds>> = {
  [machines.x86_64]: {
    0: none,
    1: absolute(8), // 64
    2: relative(4), // PC32
    10: absolute(4), // 32
    11: absolute(4), // 32S
    12: absolute(2), // 16
    13: relative(2), // PC16
    14: absolute(1), // 8
    17: absolute(8), // DTPOFF64
    21: absolute(4), // DTPOFF32
    24: relative(8), // PC64
  },
  [machines.i386]: {
    0: none,
    1: absolute(4), // 32
    2: relative(4), // PC32
    20: absolute(2), // 16
    22: absolute(1), // 8
    32: absolute(4), // TLS_LDO_32
  },
  [machines.aarch64]: {
    0: none,
    256: none,
    257: absolute(8), // ABS64
    258: absolute(4), // ABS32
    259: absolute(2), // ABS16
    260: relative(8), // PREL64
    261: relative(4), // PREL32
    262: relative(2), // PREL16
    1029: absolute(8), // TLS_DTPREL64
  },
  [machines.arm]: {
    0: none,
    2: absolute(4), // ABS32
    3: relative(4), // REL32
    5: absolute(2), // ABS16
    8: absolute(1), // ABS8
    106: absolute(4), // TLS_LDO32
  },
  [machines.ppc64]: {
    0: none,
    1: absolute(4), // ADDR32
    26: relative(4), // REL32
    38: absolute(8), // ADDR64
    43: absolute(8), // UADDR64
    44: relative(8), // REL64
    78: absolute(8), // DTPREL64
    110: absolute(4), // DTPREL32
  },
  [machines.ppc]: {
    0: none,
    1: absolute(4), // ADDR32
    24: absolute(4), // UADDR32
    26: relative(4), // REL32
    78: absolute(4), // DTPREL32
  },
  [machines.s390]: {
    0: none,
    1: absolute(1), // 8
    3: absolute(2), // 16
    4: absolute(4), // 32
    5: relative(4), // PC32
    22: absolute(8), // 64
    23: relative(8), // PC64
    52: absolute(4), // TLS_LDO32
    53: absolute(8), // TLS_LDO64
  },
  [machines.mips]: {
    0: none,
    2: absolute(4), // 32
    18: absolute(8), // 64
    39: absolute(4), // TLS_DTPREL32
    41: absolute(8), // TLS_DTPREL64
    248: relative(4), // PC32
  },
  [machines.riscv]: {
    0: none,
    1: absolute(4), // 32
    2: absolute(8), // 64
    8: absolute(4), // TLS_DTPREL32
    9: absolute(8), // TLS_DTPREL64
    33: add(1),
    34: add(2),
    35: add(4),
    36: add(8),
    37: subtract(1),
    38: subtract(2),
    39: subtract(4),
    40: subtract(8),
    51: none, // RELAX
    52: subtract('six bits'),
    53: absolute('six bits'), // SET6
    54: absolute(1), // SET8
    55: absolute(2), // SET16
    56: absolute(4), // SET32
    57: relative(4), // 32_PCREL
    60: absolute('uleb'), // SET_ULEB128
    61: subtract('uleb'),
  },
  [machines.loongarch]: {
    0: none,
    1: absolute(4), // 32
    2: absolute(8), // 64
    8: absolute(4), // TLS_DTPREL32
    9: absolute(8), // TLS_DTPREL64
    47: add(1),
    48: add(2),
    50: add(4),
    51: add(8),
    52: subtract(1),
    53: subtract(2),
    55: subtract(4),
    56: subtract(8),
    99: relative(4), // 32_PCREL
    100: none, // RELAX
    105: add('six bits'),
    106: subtract('six bits'),
    107: add('uleb'),
    108: subtract('uleb'),
  },
};

/** What relocation `type` does on `machine`; undefined where it is unknown here. */
export function relocationKind(machine: number, type: number): RelocationKind | undefined {
  return kindsByMachine[machine]?.[type];
}

export function knowsRelocations(machine: number): boolean {
  return machine in kindsByMachine;
}
