// One request and its answer, without saying how they travel: over a socket, or as a function call when a simulation
// puts agent and server into one process. What carries a request knows nothing of what it means.

export interface TransportRequest {
  readonly method: string;
  /** Path and query, as in a request line. */
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Instead of a body that is at hand: one that is read while it is sent. */
  readonly stream?: BodyStream;
}

export interface BodyStream {
  /** Bytes in all. */
  readonly bytes: number;
  readonly parts: AsyncIterable<Uint8Array>;
}

export interface TransportResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
}

/** Rejects when there is no answer: with any error of its own, or with the signal's reason. */
export type Transport = (request: TransportRequest, signal?: AbortSignal) => Promise<TransportResponse>;
