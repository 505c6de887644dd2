// Reads what an image is: from a file, from the memory of a process (the vDSO is in no file), and from the notes that
// the kernel shows of itself and of its modules.
import { arch } from 'node:os';
import { fileSource, identify, kernelFileIdOf, parseNotes } from '@symkeep/elf';
import { gnuId, htlhashId, isSharedGnuId, type ReportedExecutable } from '@symkeep/protocol';
import { type HostFiles, identityOf, type Path, readSmallFile } from './host-files.ts';
import { executableOf, type Finding, problemOf } from './live-file.ts';

/** The name that dynamic linkers and profilers give the vDSO. */
const vdsoFileName = 'linux-vdso.1.so';
/** The vDSO is two to five pages. */
const vdsoBytesMax = 1_048_576;
const gnuBuildIdType = 3;

export interface Reading {
  readonly finding: Finding;
  /** Of what was open, taken before its bytes were read: what changes later has another identity in the next pass. */
  readonly identity: string;
}

/** Throws errors of the system; what the bytes are is a finding. */
export function readImage(files: HostFiles, path: Path, name: string): Reading {
  const file = files.open(path);
  try {
    const stat = file.stat();
    const identity = identityOf(stat);
    if (!stat.regular) return { identity, finding: 'not_regular' };
    const source = fileSource(Number(stat.size), (buffer, offset) => file.readAt(buffer, offset));
    return { identity, finding: findingOf(() => executableOf(identify(source), name)) };
  } finally {
    file.close();
  }
}

/** The vDSO at a range of a process' memory. Throws errors of the system. */
export function readVdso(
  files: HostFiles,
  processDirectory: string,
  range: { readonly start: bigint; readonly size: number },
): Finding {
  if (range.size > vdsoBytesMax) return 'over_limit';
  const memory = files.open(`${processDirectory}/mem`);
  try {
    const source = fileSource(range.size, (buffer, offset) =>
      memory.readAt(buffer, range.start + BigInt(offset)),
    );
    return findingOf(() => executableOf(identify(source), vdsoFileName));
  } finally {
    memory.close();
  }
}

/** The running kernel, from its own notes; undefined where it shows none. */
export function readKernel(files: HostFiles, sys: string): ReportedExecutable | undefined {
  return kernelImage(readSmallFile(files, `${sys}/kernel/notes`), 'vmlinux', 'exec');
}

/** A loaded kernel module. */
export function readModule(files: HostFiles, notesPath: string, module: string) {
  return kernelImage(readSmallFile(files, notesPath), `${module}.ko`, 'rel');
}

// Neither file is at hand: profilers derive the ID that stands for its htlhash from the build ID.
function kernelImage(notes: Uint8Array, name: string, type: string): ReportedExecutable | undefined {
  const note = parseNotes(notes, isLittleEndian).find(
    ({ name, type }) => name === 'GNU' && type === gnuBuildIdType,
  );
  const hex = Buffer.from(note?.desc ?? []).toString('hex');
  if (hex.length < 16 || isSharedGnuId(hex)) return undefined;
  const ids = { gnu: gnuId(hex), htlhash: htlhashId(kernelFileIdOf(hex)) };
  return { ids, name, arch: kernelArch(), type, size: 0, load: [] };
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

// As `uname -m` and libs/elf say it.
function kernelArch(): string {
  const names: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i386' };
  return names[arch()] ?? arch();
}

function findingOf(read: () => ReportedExecutable): Finding {
  try {
    return read();
  } catch (error) {
    const problem = problemOf(error);
    if (problem === 'not_elf' || problem === 'damaged') return problem;
    throw error;
  }
}
