// The one error this library throws about its input. Errors of the source itself (an I/O error) pass through unchanged.

/**
 * - `not_elf`: the input does not start with an ELF header's magic.
 * - `truncated`: a structure or its contents lie past the end of the input.
 * - `malformed`: a field has a value that the format forbids.
 * - `limit`: well-formed as far as read, but beyond a limit of this library.
 * - `unsupported`: the format allows it, this library does not read it.
 * - `absent`: what was asked for by name is not in this file.
 */
export type ElfErrorCode = 'not_elf' | 'truncated' | 'malformed' | 'limit' | 'unsupported' | 'absent';

/** `what` names the structure that was being read, e.g. `program header 3` or `section .debug_info`. */
export class ElfError extends Error {
  override readonly name = 'ElfError';
  readonly code: ElfErrorCode;
  readonly what: string;

  constructor(code: ElfErrorCode, what: string, why: string, cause?: unknown) {
    super(`${what}: ${why}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.what = what;
  }
}
