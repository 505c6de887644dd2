// Sends a file as the body of a PUT. The server is asked first (`expect: 100-continue`), so that what it refuses by the
// headers is not sent, and its refusal is read rather than a broken connection.
import { createReadStream } from 'node:fs';
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '@symkeep/cache';
import { SymkeepError } from '@symkeep/protocol';

/** Without a byte in either direction; the server syncs the file to disk in the last of these silences. */
const silenceMsMax = 120_000;

/** A proxy may not know the question; after this long the file is sent unasked, as curl does. */
const askMsMax = 1_000;

export interface SendFile {
  readonly url: string;
  readonly token: string | undefined;
  readonly path: string;
  readonly bytes: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Called with the count of bytes as they go. */
  readonly onSent: (bytes: number) => void;
}

export interface Sent {
  readonly status: number;
  readonly body: unknown;
}

export class FileSender {
  readonly #clock: Clock;
  readonly #http = new HttpAgent({ keepAlive: true });
  readonly #https = new HttpsAgent({ keepAlive: true });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /** Throws `SymkeepError`: what the server answered, or `unavailable` if it cannot be reached. */
  async send(file: SendFile): Promise<Sent> {
    const request = this.#open(file);
    try {
      const response = await this.#exchange(request, file);
      const status = response.statusCode ?? 0;
      const body = await jsonOf(response);
      if (status >= 200 && status < 300) return { status, body };
      throw refused(response, status, body);
    } finally {
      if (!request.writableFinished) request.destroy();
    }
  }

  #open({ url, token, bytes, headers }: SendFile): ClientRequest {
    const secure = url.startsWith('https:');
    return (secure ? httpsRequest : httpRequest)(url, {
      method: 'PUT',
      agent: secure ? this.#https : this.#http,
      timeout: silenceMsMax,
      headers: {
        ...headers,
        'content-type': 'application/octet-stream',
        'content-length': String(bytes),
        expect: '100-continue',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
    });
  }

  #exchange(request: ClientRequest, { url, path, onSent }: SendFile): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const failed = (error: Error) => reject(unreachable(url, error));
    let asked = false;
    const sendBody = () => {
      if (asked) return;
      asked = true;
      // A refusal in the middle breaks the pipe; it comes as a response, and what broke is no news.
      pipeline(createReadStream(path), counting(onSent), request).catch(failed);
    };
    const cancel = this.#clock.setTimer(askMsMax, sendBody);
    request.once('continue', sendBody);
    request.once('response', (response) => {
      asked = true;
      resolve(response);
    });
    request.once('error', failed);
    request.once('timeout', () => request.destroy(new Error('the server is silent')));
    request.flushHeaders();
    return promise.finally(cancel);
  }
}

function counting(onSent: (bytes: number) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      onSent(chunk.length);
      done(null, chunk);
    },
  });
}

async function jsonOf(response: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  try {
    for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
    return JSON.parse(Buffer.concat(parts).toString()) as unknown;
  } catch (error) {
    // A proxy answers in its own words; what is cut short says nothing either.
    return { cut: (error as Error).message };
  }
}

function refused(response: IncomingMessage, status: number, body: unknown): SymkeepError {
  const { code, message, details } = SymkeepError.fromBody(body, status);
  const seconds = Number(response.headers['retry-after']);
  return new SymkeepError(code, message, {
    details,
    ...(Number.isFinite(seconds) ? { retryAfterSeconds: seconds } : {}),
  });
}

function unreachable(url: string, error: Error): SymkeepError {
  const why = (error as NodeJS.ErrnoException).code ?? error.message;
  return new SymkeepError('unavailable', `${new URL(url).origin} cannot be reached (${why})`, {
    cause: error,
  });
}
