// The one error this library throws about its input.

/**
 * - `truncated`: a structure or its contents lie past the end of their section.
 * - `malformed`: a field has a value that the format forbids.
 * - `limit`: well-formed as far as read, but beyond a limit of this library or the caller's budget.
 * - `unsupported`: the format allows it, this library does not read it.
 * - `corrupt`: stored bytes are not the ones that were written: their checksum differs.
 */
export type SymbolsErrorCode = 'truncated' | 'malformed' | 'limit' | 'unsupported' | 'corrupt';

/** `what` names the structure that was being read, e.g. `.debug_line at 0x1f0`. */
export class SymbolsError extends Error {
  override readonly name = 'SymbolsError';
  readonly code: SymbolsErrorCode;
  readonly what: string;

  constructor(code: SymbolsErrorCode, what: string, why: string, cause?: unknown) {
    super(`${what}: ${why}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.what = what;
  }
}
