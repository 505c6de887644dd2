// One error class with a closed set of codes, one total table from code to HTTP status, and one funnel that turns
// whatever was thrown into it. What crosses a process boundary is `{code, message, details?}` and nothing else.

/** Every code and the HTTP status it travels with. */
export const HTTP_STATUS = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  conflict: 409,
  erased: 410,
  too_large: 413,
  unsupported: 415,
  unprocessable: 422,
  rate_limited: 429,
  internal: 500,
  unavailable: 503,
} as const;

export type ErrorCode = keyof typeof HTTP_STATUS;

export interface ErrorBody {
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly details?: unknown };
}

/** What symkeep throws. `retryAfterSeconds` is set where the sender should come back (`rate_limited`, `unavailable`). */
export class SymkeepError extends Error {
  override readonly name = 'SymkeepError';
  readonly code: ErrorCode;
  readonly details: unknown;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    more: { details?: unknown; cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.details = more.details;
    this.retryAfterSeconds = more.retryAfterSeconds;
  }

  get status(): number {
    return HTTP_STATUS[this.code];
  }

  body(): ErrorBody {
    const { code, message, details } = this;
    return { error: details === undefined ? { code, message } : { code, message, details } };
  }

  /** The only way from something thrown to an answer: what is not ours is `internal`, and keeps its cause for the log. */
  static from(thrown: unknown): SymkeepError {
    if (thrown instanceof SymkeepError) return thrown;
    return new SymkeepError('internal', 'an internal error; the server log has its cause', { cause: thrown });
  }

  /** The error in a reply's body; a body that is none becomes `internal` with the status in its message. */
  static fromBody(body: unknown, status: number): SymkeepError {
    const error = (body as Partial<ErrorBody> | null)?.error;
    if (error !== undefined && isErrorCode(error.code)) {
      return new SymkeepError(error.code, String(error.message), { details: error.details });
    }
    const code = codeOfStatus(status);
    return new SymkeepError(code, `the server answered ${status} without an error of this protocol`);
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(HTTP_STATUS, value);
}

// A proxy in between answers in its own words; its status still says whether to come back.
function codeOfStatus(status: number): ErrorCode {
  if (status === 502 || status === 504) return 'unavailable';
  const found = Object.entries(HTTP_STATUS).find(([, known]) => known === status);
  return found === undefined ? 'internal' : (found[0] as ErrorCode);
}

export function invalid(message: string, details?: unknown): SymkeepError {
  return new SymkeepError('invalid_argument', message, { details });
}
