// What a request says about encodings: of its body, and of the reply it takes. Pure text in, closed sets out.
import { type Encoding, SymkeepError } from '@symkeep/protocol';

export type Coding = 'identity' | 'gzip' | 'zstd';

const jsonTypes = new Set(['application/json', 'text/json']);
const messagePackTypes = new Set(['application/msgpack', 'application/x-msgpack', 'application/vnd.msgpack']);

/** The encoding of a body by its `content-type`; JSON if there is none. Throws `unsupported`. */
export function bodyEncoding(contentType: string | undefined): Encoding {
  if (contentType === undefined || contentType === '') return 'json';
  const [type = '', ...parameters] = contentType.split(';').map((part) => part.trim().toLowerCase());
  if (messagePackTypes.has(type)) return 'msgpack';
  if (!jsonTypes.has(type)) {
    throw new SymkeepError(
      'unsupported',
      `content-type ${JSON.stringify(type.slice(0, 80))}: bodies are application/json or application/msgpack`,
    );
  }
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice('charset='.length);
  if (charset !== undefined && !/^"?utf-?8"?$/.test(charset)) {
    throw new SymkeepError('unsupported', `charset ${JSON.stringify(charset.slice(0, 40))}: JSON is UTF-8`);
  }
  return 'json';
}

/** The encoding of a reply: what `accept` prefers, else that of the request's body, else JSON. */
export function replyEncoding(accept: string | undefined, contentType: string | undefined): Encoding {
  if (accept !== undefined && accept !== '*/*' && accept !== '') {
    let best: { encoding: Encoding; weight: number } | undefined;
    for (const { value, weight } of weighted(accept)) {
      const encoding = jsonTypes.has(value) ? 'json' : messagePackTypes.has(value) ? 'msgpack' : undefined;
      if (encoding !== undefined && weight > (best?.weight ?? 0)) best = { encoding, weight };
    }
    if (best !== undefined) return best.encoding;
  }
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase();
  return type !== undefined && messagePackTypes.has(type) ? 'msgpack' : 'json';
}

/** The coding of a body by its `content-encoding`. Throws `unsupported`. */
export function bodyCoding(contentEncoding: string | undefined): Coding {
  const coding = contentEncoding?.trim().toLowerCase() ?? '';
  if (coding === '' || coding === 'identity') return 'identity';
  if (coding === 'gzip' || coding === 'x-gzip') return 'gzip';
  if (coding === 'zstd') return 'zstd';
  const shown = JSON.stringify(coding.slice(0, 80));
  throw new SymkeepError('unsupported', `content-encoding ${shown}: bodies are gzip, zstd or plain`);
}

/** The coding a reply may have by `accept-encoding`: zstd before gzip where both are as welcome. */
export function replyCoding(acceptEncoding: string | undefined): Coding {
  if (acceptEncoding === undefined) return 'identity';
  let best: Coding = 'identity';
  let bestWeight = 0;
  for (const { value, weight } of weighted(acceptEncoding)) {
    const coding = value === 'zstd' ? 'zstd' : value === 'gzip' || value === 'x-gzip' ? 'gzip' : undefined;
    if (coding === undefined || weight === 0 || weight < bestWeight) continue;
    if (weight > bestWeight || coding === 'zstd') best = coding;
    bestWeight = weight;
  }
  return best;
}

function weighted(header: string): { value: string; weight: number }[] {
  return header.split(',').map((part) => {
    const [value = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    const quality = parameters.find((parameter) => parameter.startsWith('q='));
    const weight = quality === undefined ? 1 : Number(quality.slice(2));
    return { value, weight: weight >= 0 && weight <= 1 ? weight : 0 };
  });
}
