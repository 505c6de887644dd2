// Build IDs in notes, and which of them identify a file. An ID that many unrelated files share (constants, placeholders,
// IDs derived from such) would give one file the names of another, so it is dropped, and said why.
import { createHash } from 'node:crypto';
import type { Note } from './notes.ts';

export interface RejectedId {
  readonly kind: 'gnu' | 'go';
  /** Hex of a GNU build ID, text of a Go build ID; cut if it is over-long. */
  readonly value: string;
  readonly reason: RejectionReason;
}

/**
 * - `too_short`, `too_long`: no digest has this size.
 * - `placeholder`: all zero, all ones, or the profilers' "unknown kernel".
 * - `not_go_form`: a Go build ID that is not four parts between slashes, such as `redacted`.
 * - `shared_go_origin`: a GNU build ID that the Go linker derived from a Go build ID of that sort.
 * - `conflicting`: a second, different ID in the same file.
 */
export type RejectionReason =
  | 'too_short'
  | 'too_long'
  | 'placeholder'
  | 'not_go_form'
  | 'shared_go_origin'
  | 'conflicting';

export interface BuildIds {
  /** Lower-case hex. */
  readonly gnu: string | undefined;
  /** As it stands in the note. */
  readonly go: string | undefined;
  readonly rejected: readonly RejectedId[];
}

/** Under 8 bytes a build ID is a counter or a test value (`--build-id=0x1234`), not a digest. */
export const gnuBuildIdBytesMin = 8;
/** The longest digest in use (SHA-512). */
export const gnuBuildIdBytesMax = 64;
/** Real ones have 83 characters; the linker itself has no bound. */
export const goBuildIdCharactersMax = 256;
/** A hostile file may hold thousands of bad IDs; a reader wants the first few. */
const rejectedMax = 16;

const gnuBuildIdType = 3;
const goBuildIdType = 4;
const unknownKernel = /^(f{15}d){2}$|^f{31}d$/;
const goForm = /^[!-.0-~]+(\/[!-.0-~]+){3}$/;
const sharedGoIds = ['', 'redacted'];

/** Gathers the build IDs of one file from its notes, in the order in which they are to win. */
export class BuildIdCollector {
  readonly #gnu = new Set<string>();
  readonly #go = new Set<string>();

  add(note: Note): void {
    // One more than is kept of rejected ones suffices to see a conflict; more would only cost memory.
    if (note.name === 'GNU' && note.type === gnuBuildIdType && this.#gnu.size <= rejectedMax) {
      this.#gnu.add(Buffer.from(note.desc).toString('hex', 0, gnuBuildIdBytesMax + 1));
    } else if (note.name === 'Go' && note.type === goBuildIdType && this.#go.size <= rejectedMax) {
      this.#go.add(Buffer.from(note.desc).toString('latin1', 0, goBuildIdCharactersMax + 1));
    }
  }

  result(): BuildIds {
    const rejected: RejectedId[] = [];
    const go = choose('go', this.#go, goRejection, rejected);
    const badGoIds = rejected.filter(({ reason }) => reason === 'not_go_form').map(({ value }) => value);
    const shared = new Set([...sharedGoIds, ...badGoIds].flatMap(gnuIdsOfGoId));
    const gnu = choose('gnu', this.#gnu, (hex) => gnuRejection(hex, shared), rejected);
    return { gnu, go, rejected: rejected.slice(0, rejectedMax) };
  }
}

function choose(
  kind: 'gnu' | 'go',
  values: Iterable<string>,
  rejectionOf: (value: string) => RejectionReason | undefined,
  rejected: RejectedId[],
): string | undefined {
  let chosen: string | undefined;
  for (const value of values) {
    const reason = rejectionOf(value) ?? (chosen === undefined ? undefined : 'conflicting');
    if (reason === undefined) chosen = value;
    else rejected.push({ kind, value, reason });
  }
  return chosen;
}

function goRejection(id: string): RejectionReason | undefined {
  if (id.length > goBuildIdCharactersMax) return 'too_long';
  return goForm.test(id) ? undefined : 'not_go_form';
}

function gnuRejection(hex: string, shared: ReadonlySet<string>): RejectionReason | undefined {
  if (hex.length < 2 * gnuBuildIdBytesMin) return 'too_short';
  if (hex.length > 2 * gnuBuildIdBytesMax) return 'too_long';
  if (/^(0+|f+)$/.test(hex) || unknownKernel.test(hex)) return 'placeholder';
  return shared.has(hex) ? 'shared_go_origin' : undefined;
}

/**
 * What `-B gobuildid`, the default since Go 1.24, makes of a Go build ID: 20 bytes of a SHA-256 that is told apart from a
 * plain one by its lowest bit (cmd/internal/hash, Go 1.24) or by all of them (cmd/internal/notsha256, before).
 */
export function gnuIdsOfGoId(goId: string): string[] {
  const plain = createHash('sha256').update(goId, 'latin1').digest().subarray(0, 20);
  const marked = Buffer.from(plain);
  marked[0] = (marked[0] as number) ^ 1;
  const inverted = Buffer.from(plain.map((byte) => byte ^ 0xff));
  return [plain, marked, inverted].map((digest) => digest.toString('hex'));
}

/**
 * The debug ID that Breakpad and Mozilla's symbol servers use for an ELF file: its GNU build ID cut or zero-padded to 16
 * bytes, as a GUID whose first three fields are swapped in little-endian files, and the age 0. 33 upper-case digits.
 */
export function debugIdOf(gnuHex: string, littleEndian = true): string {
  const guid = Buffer.alloc(16);
  guid.set(Buffer.from(gnuHex, 'hex').subarray(0, 16));
  if (littleEndian) {
    guid.subarray(0, 4).reverse();
    guid.subarray(4, 6).reverse();
    guid.subarray(6, 8).reverse();
  }
  return `${guid.toString('hex').toUpperCase()}0`;
}
