// One upstream: another debuginfod or symkeep server, asked for debug files by GNU build ID. Only this host is talked to:
// a redirect elsewhere is refused, as is a name that resolves to an inner address.
import { get as getHttp, type IncomingMessage } from 'node:http';
import { get as getHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { Clock } from '@symkeep/cache';
import { CircuitBreaker } from './circuit-breaker.ts';

/** From the start to the head of the reply: debuginfod may have to unpack a package first. */
const headMsMax = 60_000;
/** Without a byte of the body. */
const idleMsMax = 30_000;
/** http to https, or to another path of the same host. */
const redirectsMax = 3;

/** Why an upstream gave no file. `absent` is its word; everything else may pass. */
export class UpstreamFailure extends Error {
  override readonly name = 'UpstreamFailure';
  readonly reason: 'unreachable' | 'refused' | 'timeout' | 'too_large' | 'forbidden' | 'resting';
  constructor(reason: UpstreamFailure['reason'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

export interface UpstreamFile {
  /** Ends with an error if the upstream stops sending. */
  readonly body: IncomingMessage;
  /** As declared, if it was. */
  readonly bytes: number | undefined;
}

export interface UpstreamDeps {
  readonly clock: Clock;
  readonly fileBytesMax: number;
  /** Undefined: any address may be connected to. */
  readonly lookup: LookupFunction | undefined;
}

export class Upstream {
  /** Without a slash at its end; the name under which it is known to people and to the absences. */
  readonly url: string;
  readonly #deps: UpstreamDeps;
  readonly #breaker: CircuitBreaker;
  readonly counts = { asked: 0, found: 0, absent: 0, failed: 0, resting: 0 };

  constructor(url: string, deps: UpstreamDeps) {
    this.url = url.replace(/\/+$/, '');
    this.#deps = deps;
    this.#breaker = new CircuitBreaker(deps.clock);
  }

  get state(): CircuitBreaker['state'] {
    return this.#breaker.state;
  }

  /** The debug file of a GNU build ID (hex); null if the upstream has none. Throws `UpstreamFailure`. */
  async open(buildId: string, signal: AbortSignal): Promise<UpstreamFile | null> {
    if (!this.#breaker.admits()) {
      this.counts.resting++;
      throw new UpstreamFailure('resting', `${this.url} failed several times and is left alone for a while`);
    }
    this.counts.asked++;
    try {
      const file = await this.#follow(new URL(`${this.url}/buildid/${buildId}/debuginfo`), signal);
      this.#breaker.succeeded();
      if (file === null) this.counts.absent++;
      else this.counts.found++;
      return file;
    } catch (thrown) {
      const failure = failureOf(thrown, this.url);
      this.counts.failed++;
      // That one file is too large says nothing of the next.
      if (failure.reason === 'too_large') this.#breaker.succeeded();
      else this.#breaker.failed();
      throw failure;
    }
  }

  async #follow(start: URL, signal: AbortSignal): Promise<UpstreamFile | null> {
    let url = start;
    for (let redirects = 0; ; redirects++) {
      const reply = await this.#request(url, signal);
      const status = reply.statusCode ?? 0;
      const location = reply.headers.location;
      if (status === 200) return this.#accepted(reply);
      reply.destroy();
      if (status === 404) return null;
      if (status < 300 || status >= 400 || location === undefined) {
        throw new UpstreamFailure('refused', `${this.url} answered ${status}`);
      }
      if (redirects === redirectsMax)
        throw new UpstreamFailure('refused', `${this.url} redirects without end`);
      url = this.#redirected(url, location);
    }
  }

  #accepted(reply: IncomingMessage): UpstreamFile {
    const declared = reply.headers['content-length'];
    const bytes = declared === undefined ? undefined : Number(declared);
    const { fileBytesMax } = this.#deps;
    if (bytes !== undefined && bytes > fileBytesMax) {
      reply.destroy();
      throw new UpstreamFailure(
        'too_large',
        `${this.url} has ${bytes} bytes; ${fileBytesMax} are taken at most`,
      );
    }
    this.#watch(reply);
    return { body: reply, bytes };
  }

  /** Ends a body of which nothing came for a while, though its reader waits. */
  #watch(reply: IncomingMessage): void {
    let received = reply.socket.bytesRead;
    const cancel = this.#deps.clock.setRepeating(idleMsMax, () => {
      const isIdle = reply.socket.bytesRead === received && reply.readableLength === 0;
      received = reply.socket.bytesRead;
      if (isIdle) reply.destroy(new UpstreamFailure('timeout', `${this.url} stopped sending`));
    });
    reply.once('close', cancel);
  }

  #redirected(from: URL, location: string): URL {
    const to = new URL(location, from);
    const own = new URL(this.url);
    // Another port of the host is another server, but for the way from http to https.
    const isSame = to.host === own.host && (to.protocol === own.protocol || to.protocol === 'https:');
    const isSecured = to.hostname === own.hostname && to.protocol === 'https:' && to.port === '';
    if (isSame || isSecured) return to;
    throw new UpstreamFailure('forbidden', `${this.url} redirects to ${to.origin}, which is no upstream`);
  }

  #request(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
    const { lookup, clock } = this.#deps;
    const get = url.protocol === 'https:' ? getHttps : getHttp;
    return new Promise((resolve, reject) => {
      const options = { signal, headers: { 'user-agent': 'symkeep', accept: '*/*' }, agent: false as const };
      const request = get(url, { ...options, ...(lookup === undefined ? {} : { lookup }) }, (reply) => {
        cancel();
        resolve(reply);
      });
      const cancel = clock.setTimer(headMsMax, () =>
        request.destroy(
          new UpstreamFailure('timeout', `${this.url} did not answer in ${headMsMax / 1_000} s`),
        ),
      );
      request.once('error', (error) => {
        cancel();
        reject(error);
      });
    });
  }
}

function failureOf(thrown: unknown, url: string): UpstreamFailure {
  if (thrown instanceof UpstreamFailure) return thrown;
  const error = thrown as NodeJS.ErrnoException;
  const reason = error.name === 'ForbiddenAddress' ? 'forbidden' : 'unreachable';
  return new UpstreamFailure(reason, `${url}: ${error.message}`, error);
}
