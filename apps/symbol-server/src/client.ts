// A client of the server for the commands: JSON over HTTP, with errors as the server words them.
import { SymkeepError } from '@symkeep/protocol';

/** Answers come in microseconds; a server that is silent this long is not there. */
const timeoutMs = 10_000;

export interface Client {
  readonly url: string;
  get(path: string): Promise<unknown>;
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<unknown>;
  /** The reason of a 409 to a HEAD; undefined if that is answered 200. */
  refusal(path: string): Promise<string | undefined>;
}

/** Throws `SymkeepError`; `unavailable` if the server cannot be reached. */
export function createClient(url: string, token: string | undefined): Client {
  const base = url.replace(/\/+$/, '');
  const authorization: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token}` };
  const ask = async (
    path: string,
    init: { method: string; headers: Record<string, string>; body?: string },
  ) => {
    const response = await reach(`${base}${path}`, { ...init, signal: AbortSignal.timeout(timeoutMs) }, base);
    const body: unknown = await response.json().catch(() => undefined);
    if (!response.ok) throw SymkeepError.fromBody(body, response.status);
    return body;
  };
  return {
    url: base,
    get: (path) => ask(path, { method: 'GET', headers: authorization }),
    refusal: async (path) => {
      const init = { method: 'HEAD', headers: authorization, signal: AbortSignal.timeout(timeoutMs) };
      const { ok, status, headers } = await reach(`${base}${path}`, init, base);
      if (ok) return undefined;
      if (status === 409) return headers.get('symkeep-reason') ?? 'conflict';
      throw SymkeepError.fromBody(undefined, status);
    },
    post: (path, body, headers = {}) =>
      ask(path, {
        method: 'POST',
        headers: { ...authorization, 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      }),
  };
}

async function reach(url: string, init: RequestInit, base: string): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    const cause = (error as Error).cause ?? error;
    const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
    throw new SymkeepError(
      'unavailable',
      `no server answers at ${base} (${why}); is it running? Set --server`,
      {
        cause: error,
      },
    );
  }
}
