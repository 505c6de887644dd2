// The symbol server as the agent sees it: typed calls over a transport, in MessagePack. Whatever goes wrong becomes a
// SymkeepError; what is no answer at all (network, deadline, a proxy's 502) is `unavailable`, never an absence.
import { gzipSync } from 'node:zlib';
import type { Clock } from '@symkeep/cache';
import {
  type AskedAgent,
  type CheckResult,
  decode,
  type Encoding,
  type EventsReply,
  type ExecutableId,
  encode,
  type FilesAsked,
  type FrameColumns,
  type FramesReply,
  jsonType,
  type LookupResult,
  messagePackType,
  type ReportedExecutable,
  type ReportedFrame,
  type ReportResult,
  SymkeepError,
  type UploadRequest,
} from '@symkeep/protocol';
import type { BodyStream, Transport, TransportResponse } from './transport.ts';

/** A server that takes longer is as good as away; what was sent is safe to send again. */
const reportDeadlineMs = 30_000;
/** Somebody waits for the answer to a lookup. */
const lookupDeadlineMs = 5_000;
/** Between two parts of a file, and after the last: the server syncs it to its disk then. */
const silenceMs = 120_000;
/** Below this a body fits a few packets, and compressing it gains nothing. */
const gzipBytesMin = 16_384;
/** Speed counts here: the body is read once, on the same network. */
const gzipLevel = 1;

export interface ServerClientOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly agent: () => Required<AskedAgent> & { readonly version: string };
  readonly token?: string | undefined;
  /** Whether large bodies are worth compressing; not on the same host. */
  readonly compress?: boolean;
}

/** An answer and the epoch of the store that gave it, as far as the reply may be believed in that. */
export interface Answer<T> {
  readonly value: T;
  readonly epoch: string | undefined;
}

interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly plain?: Uint8Array;
  readonly stream?: BodyStream;
  readonly headers?: Readonly<Record<string, string>>;
  /** From the start, or from the last part of a stream. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

/** A file to be sent. */
export interface FileBody extends BodyStream {
  /** Hex. */
  readonly sha256: string;
}

/** Why a file that was asked for is not sent. */
export type ReturnReason = 'absent' | 'failed' | 'stopped' | 'unavailable';

/** Results in the order of what was sent, and what is asked for besides. */
export interface Results<T> extends FilesAsked {
  readonly results: T[];
}

export interface FramesRequest {
  readonly id: ExecutableId;
  readonly addresses: readonly bigint[];
  readonly weights?: readonly number[];
}

/** Requests and bytes since the start; `failed` by error code. */
export interface ClientMetrics {
  requests: number;
  failed: Record<string, number>;
  bytesSent: number;
  bytesReceived: number;
}

export class ServerClient {
  readonly metrics: ClientMetrics = { requests: 0, failed: {}, bytesSent: 0, bytesReceived: 0 };
  readonly #options: ServerClientOptions;
  readonly #listeners: ((epoch: string) => void)[] = [];

  constructor(options: ServerClientOptions) {
    this.#options = options;
  }

  /** Calls `hear` with the epoch of every reply that may be believed in it. */
  onEpoch(hear: (epoch: string) => void): void {
    this.#listeners.push(hear);
  }

  lookup(ids: readonly ExecutableId[]): Promise<Answer<LookupResult[]>> {
    return this.#post('/v1/executables/lookup', { ids }, resultsOf(ids.length), lookupDeadlineMs);
  }

  check(
    executables: readonly { readonly id: ExecutableId; readonly generation: number }[],
  ): Promise<Answer<Results<CheckResult>>> {
    const message = { agent: this.#options.agent(), executables };
    return this.#post('/v1/executables/check', message, resultsAndFiles(executables.length));
  }

  report(executables: readonly ReportedExecutable[]): Promise<Answer<Results<ReportResult>>> {
    const message = { agent: this.#options.agent(), executables };
    return this.#post('/v1/executables', message, resultsAndFiles(executables.length));
  }

  /** Sends a file that was asked for; what became of it: `accepted` or `kept`. */
  async upload({ lease, url }: UploadRequest, file: FileBody, signal: AbortSignal): Promise<string> {
    const digest = Buffer.from(file.sha256, 'hex').toString('base64');
    const headers = {
      'content-type': 'application/octet-stream',
      'content-digest': `sha-256=:${digest}:`,
      'symkeep-lease': lease,
    };
    const call: Call = {
      method: 'PUT',
      path: pathOf(url),
      stream: file,
      headers,
      deadlineMs: silenceMs,
      signal,
    };
    const { value } = await this.#exchange(call, (body) => (body as { status?: string } | null)?.status);
    return value ?? 'kept';
  }

  /** Gives back the lease for a file that is not sent. */
  async giveBack({ lease, url }: UploadRequest, why: ReturnReason, deadlineMs: number): Promise<void> {
    const path = `${pathOf(url)}?reason=${why}`;
    const headers = { 'symkeep-lease': lease };
    await this.#exchange({ method: 'DELETE', path, headers, deadlineMs }, () => undefined);
  }

  lookupFrames(requests: readonly FramesRequest[]): Promise<Answer<FramesReply>> {
    const check = (body: unknown) => {
      const results = resultsOf<FrameColumns>(requests.length)(body);
      const { strings } = body as FramesReply;
      if (!Array.isArray(strings)) throw unexpected('strings');
      return { strings, results };
    };
    return this.#post('/v1/frames/lookup', { requests }, check, lookupDeadlineMs);
  }

  reportFrames(frames: readonly ReportedFrame[]): Promise<Answer<unknown[]>> {
    const items = frames.map(({ id, address, frame }) => ({ id, address, ...frame }));
    return this.#post('/v1/frames', { frames: items }, resultsOf(frames.length));
  }

  /** Events after `cursor`, or without one the cursor of now; waits up to so many seconds for some. */
  events(cursor: string | undefined, waitSeconds = 0): Promise<Answer<EventsReply>> {
    const wait = waitSeconds === 0 ? '' : `&wait=${waitSeconds}`;
    const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}${wait}`;
    const deadlineMs = reportDeadlineMs + waitSeconds * 1_000;
    const { host, version } = this.#options.agent();
    // By this the server knows that the agent lives: it may have nothing else to say for hours.
    const headers = { 'symkeep-agent': `${encodeURIComponent(host)} ${encodeURIComponent(version)}` };
    const call: Call = { method: 'GET', path: `/v1/events${query}`, headers, deadlineMs };
    return this.#exchange(call, (body) => {
      const reply = body as EventsReply & { events?: unknown };
      if (typeof reply?.cursor !== 'string') throw unexpected('cursor');
      if (!('reset' in reply) && !Array.isArray(reply.events)) throw unexpected('events');
      return reply;
    });
  }

  #post<T>(
    path: string,
    message: unknown,
    read: (body: unknown) => T,
    deadlineMs = reportDeadlineMs,
  ): Promise<Answer<T>> {
    return this.#exchange({ method: 'POST', path, plain: encode(message, 'msgpack'), deadlineMs }, read);
  }

  async #exchange<T>(call: Call, read: (body: unknown) => T): Promise<Answer<T>> {
    this.metrics.requests++;
    try {
      const response = await this.#send(call);
      const epoch = epochOf(response);
      if (epoch !== undefined) for (const hear of this.#listeners) hear(epoch);
      if (response.status !== 200 && response.status !== 202) throw errorOf(response);
      return { value: read(bodyOf(response)), epoch };
    } catch (error) {
      const failure = SymkeepError.from(error);
      this.metrics.failed[failure.code] = (this.metrics.failed[failure.code] ?? 0) + 1;
      throw failure;
    }
  }

  async #send(call: Call): Promise<TransportResponse> {
    const { method, path, plain, stream, deadlineMs } = call;
    const { transport, clock, token, compress } = this.#options;
    const gzip = compress === true && plain !== undefined && plain.length >= gzipBytesMin;
    const body = gzip ? gzipSync(plain, { level: gzipLevel }) : plain;
    const headers = {
      accept: messagePackType,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': messagePackType }),
      ...(gzip ? { 'content-encoding': 'gzip' } : {}),
      ...call.headers,
    };
    const deadline = new Deadline(clock, deadlineMs);
    const signal =
      call.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, call.signal]);
    try {
      this.metrics.bytesSent += body?.length ?? 0;
      const sent = stream && { bytes: stream.bytes, parts: this.#counted(stream.parts, deadline) };
      const request = {
        ...{ method, path, headers },
        ...(body === undefined ? {} : { body }),
        ...(sent === undefined ? {} : { stream: sent }),
      };
      const response = await transport(request, signal);
      this.metrics.bytesReceived += response.body.length;
      return response;
    } catch (error) {
      throw new SymkeepError('unavailable', `the symbol server: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      deadline.cancel();
    }
  }

  async *#counted(parts: AsyncIterable<Uint8Array>, deadline: Deadline): AsyncGenerator<Uint8Array> {
    for await (const part of parts) {
      yield part;
      this.metrics.bytesSent += part.length;
      deadline.restart();
    }
  }
}

/** Aborts its signal unless it is restarted in time. */
class Deadline {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #ms: number;
  #cancel: () => void = () => undefined;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
    this.restart();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(): void {
    this.#cancel();
    const late = () => this.#controller.abort(new Error('no answer in time'));
    this.#cancel = this.#clock.setTimer(this.#ms, late);
  }

  cancel(): void {
    this.#cancel();
  }
}

// The server says where a file goes, but never to another server, and nowhere else on this one.
function pathOf(url: string): string {
  if (!/^\/v1\/executables\/[\w:=-]+\/debuginfo$/.test(url)) throw unexpected('url of an upload');
  return url;
}

// A cache in between may give an old reply, with the epoch of back then.
function epochOf({ headers }: TransportResponse): string | undefined {
  const epoch = headers['symkeep-epoch'];
  return epoch !== '' && headers['cache-control']?.includes('no-store') ? epoch : undefined;
}

function bodyOf({ headers, body }: TransportResponse): unknown {
  const type = headers['content-type'] ?? '';
  const encoding: Encoding | undefined = type.startsWith(messagePackType)
    ? 'msgpack'
    : type.startsWith(jsonType)
      ? 'json'
      : undefined;
  if (encoding === undefined) throw unexpected(`a body of type ${JSON.stringify(type.slice(0, 40))}`);
  try {
    return decode(body, encoding);
  } catch (error) {
    throw new SymkeepError('unavailable', `the symbol server: ${(error as Error).message}`, { cause: error });
  }
}

function errorOf(response: TransportResponse): SymkeepError {
  const { code, message, details } = SymkeepError.fromBody(errorBodyOf(response), response.status);
  const retryAfterSeconds = Number.parseInt(response.headers['retry-after'] ?? '', 10);
  return new SymkeepError(code, message, {
    details,
    ...(Number.isNaN(retryAfterSeconds) ? {} : { retryAfterSeconds }),
  });
}

function errorBodyOf(response: TransportResponse): unknown {
  try {
    return bodyOf(response);
  } catch (error) {
    SymkeepError.from(error);
    return null; // a proxy's own words: the status alone counts
  }
}

function resultsOf<T>(count: number): (body: unknown) => T[] {
  return (body) => {
    const { results } = (body ?? {}) as { results?: T[] };
    if (!Array.isArray(results) || results.length !== count) throw unexpected('results');
    return results;
  };
}

function resultsAndFiles<T>(count: number): (body: unknown) => Results<T> {
  const read = resultsOf<T>(count);
  return (body) => {
    const results = read(body);
    const { upload = [], waiting = [] } = body as FilesAsked;
    if (!Array.isArray(upload) || !Array.isArray(waiting)) throw unexpected('upload');
    return { results, upload, waiting };
  };
}

// Whoever answered speaks another protocol, such as a proxy's login page: as good as no answer.
function unexpected(what: string): SymkeepError {
  return new SymkeepError('unavailable', `the symbol server answered with unexpected ${what}`);
}
