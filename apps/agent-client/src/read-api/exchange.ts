// What every request to the read API goes through: its body's coding and encoding, and those of the reply. The same
// shapes as on the way to the server, so the read API of one agent can be the transport of another client.
import { constants, gunzipSync, zstdDecompressSync } from 'node:zlib';
import {
  decode,
  type Encoding,
  encode,
  invalid,
  jsonType,
  messagePackType,
  SymkeepError,
} from '@symkeep/protocol';
import type { TransportRequest, TransportResponse } from '../transport.ts';

/** Body as received: 65,536 addresses, or 1,000 of the longest IDs, fit. The agent lives in 100 MB. */
export const bodyBytesMax = 2_097_152;
/** Body after decompression. */
export const decodedBytesMax = 8_388_608;
/** The window that zstd at its usual levels needs; the format allows 128 MiB. */
const zstdWindowLogMax = 23;

const messagePackTypes = new Set([messagePackType, 'application/x-msgpack', 'application/vnd.msgpack']);
const jsonTypes = new Set([jsonType, 'text/json']);

/** The message in a request's body. Throws `invalid_argument`, `too_large` or `unsupported`. */
export function messageOf({ headers, body = new Uint8Array() }: TransportRequest): unknown {
  const encoding = encodingOf(headers['content-type']);
  if (encoding === undefined) {
    throw new SymkeepError('unsupported', `bodies are ${jsonType} or ${messagePackType}`);
  }
  if (body.length > bodyBytesMax) throw tooLarge('the body', bodyBytesMax);
  return decode(plainBody(body, headers['content-encoding'] ?? 'identity'), encoding);
}

export function reply(
  request: TransportRequest,
  value: unknown,
  headers: Record<string, string> = {},
): TransportResponse {
  const encoding = replyEncodingOf(request);
  const type = encoding === 'json' ? jsonType : messagePackType;
  return {
    status: 200,
    headers: { 'content-type': type, vary: 'accept', ...headers },
    body: encode(value, encoding),
  };
}

export function replyError(request: TransportRequest, thrown: unknown): TransportResponse {
  const error = SymkeepError.from(thrown);
  const retry = error.code === 'unavailable' ? { 'retry-after': String(error.retryAfterSeconds ?? 1) } : {};
  const coding = error.code === 'unsupported' ? { 'accept-encoding': 'gzip, zstd' } : {};
  const response = reply(request, error.body(), { 'cache-control': 'no-store', ...retry, ...coding });
  return { ...response, status: error.status };
}

export function tooLarge(what: string, bytes: number): SymkeepError {
  return new SymkeepError('too_large', `${what} is over ${bytes} bytes`);
}

function encodingOf(contentType = jsonType): Encoding | undefined {
  const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  return messagePackTypes.has(type) ? 'msgpack' : jsonTypes.has(type) || type === '' ? 'json' : undefined;
}

// What `accept` names first of the two; a client that takes anything gets what it sent.
function replyEncodingOf({ headers }: TransportRequest): Encoding {
  for (const type of (headers.accept ?? '').split(',')) {
    const encoding = type.trim() === '' ? undefined : encodingOf(type);
    if (encoding !== undefined) return encoding;
  }
  return headers['content-type'] === undefined ? 'json' : (encodingOf(headers['content-type']) ?? 'json');
}

function plainBody(body: Uint8Array, coding: string): Uint8Array {
  switch (coding.trim().toLowerCase()) {
    case 'identity':
    case '':
      return body;
    case 'gzip':
    case 'x-gzip':
      return inflate(body, 'gzip', () => gunzipSync(body, { maxOutputLength: decodedBytesMax, info: true }));
    case 'zstd': {
      const params = { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax };
      const options = { maxOutputLength: decodedBytesMax, info: true, params };
      return inflate(body, 'zstd', () => zstdDecompressSync(body, options));
    }
    default:
      throw new SymkeepError('unsupported', 'bodies are gzip, zstd or plain');
  }
}

function inflate(body: Uint8Array, coding: string, run: () => unknown): Uint8Array {
  let inflated: Inflated;
  try {
    // With `info`, zlib answers so; its types do not say it.
    inflated = run() as Inflated;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge('the decompressed body', decodedBytesMax);
    throw invalid(`the body is not ${coding}: ${message}`);
  }
  // The decoder stops after the first frame and says nothing of what follows.
  if (inflated.engine.bytesWritten !== body.length)
    throw invalid(`the body has bytes after its ${coding} data`);
  return inflated.buffer;
}

interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}
