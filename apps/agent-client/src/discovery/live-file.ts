// What discovery finds: files that processes of this host run code from, each with what its bytes say it is, and the
// reasons for which others could not be read. All of it is counted; none of it is fatal.
import { ElfError, type Identity } from '@symkeep/elf';
import {
  type FileIds,
  gnuId,
  goId,
  htlhashId,
  nameLengthMax,
  type ReportedExecutable,
  segmentsMax,
} from '@symkeep/protocol';

/** An executable file that is mapped by at least one process now. */
export interface LiveFile {
  /** Equal for two files exactly if they are the same bytes: see `identityOf`. */
  readonly identity: string;
  readonly executable: ReportedExecutable;
  /** Processes that map it, as of the last pass. */
  readonly processes: number;
}

/**
 * - `vanished`: the process ended while it was looked at.
 * - `permission_denied`: not readable with the agent's rights.
 * - `replaced`: the path now leads to another file, and the mapped one cannot be reached otherwise.
 * - `not_regular`, `not_elf`: a device or data mapped as executable.
 * - `damaged`: an ELF file whose headers cannot be read.
 * - `io_error`: anything else the system answered.
 * - `over_limit`: beyond the bound of what is kept.
 */
export const problems = [
  'vanished',
  'permission_denied',
  'replaced',
  'not_regular',
  'not_elf',
  'damaged',
  'io_error',
  'over_limit',
] as const;
export type Problem = (typeof problems)[number];
export type ProblemCounts = Record<Problem, number>;

export function noProblems(): ProblemCounts {
  return Object.fromEntries(problems.map((problem) => [problem, 0])) as ProblemCounts;
}

/** One pass over the host: what changed since the pass before it. */
export interface Pass {
  readonly appeared: readonly LiveFile[];
  readonly vanished: readonly LiveFile[];
  readonly processes: number;
  /** What the pass took of the processor. */
  readonly cpuMs: number;
  /** Of this pass alone. */
  readonly problems: Readonly<ProblemCounts>;
}

/** What a file is to be taken for: an executable, or the reason for which it is none. */
export type Finding = ReportedExecutable | Problem;

export function isExecutable(finding: Finding): finding is ReportedExecutable {
  return typeof finding !== 'string';
}

/** The report of a file that was seen under `name`. */
export function executableOf(identity: Identity, name: string): ReportedExecutable {
  const { gnu, go, htlhash, arch, type, size, load } = identity;
  const ids: FileIds = {
    htlhash: htlhashId(htlhash),
    ...(gnu === undefined ? {} : { gnu: gnuId(gnu) }),
    ...(go === undefined ? {} : { go: goId(go) }),
  };
  return { ids, name: name.slice(0, nameLengthMax), arch, type, size, load: load.slice(0, segmentsMax) };
}

/** The reason behind an error of the system or of the ELF reader. Throws what is neither. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ElfError) return error.code === 'not_elf' ? 'not_elf' : 'damaged';
  const code = (error as NodeJS.ErrnoException).code;
  if (typeof code !== 'string') throw error;
  if (code === 'ENOENT' || code === 'ESRCH') return 'vanished';
  if (code === 'EACCES' || code === 'EPERM') return 'permission_denied';
  return 'io_error';
}
