// `content-digest` of RFC 9530: what the body hashes to, as it was sent. Only SHA-256 is looked at.
import { createHash } from 'node:crypto';
import { invalid } from '@symkeep/protocol';

const sha256Form = /^sha-256=:([A-Za-z0-9+/]{43}=):(;.*)?$/;

/** The SHA-256 in the header, hex; undefined if it has none. Throws `invalid_argument` if it has none that is one. */
export function sha256In(header: string | undefined): string | undefined {
  const member = header
    ?.split(',')
    .map((part) => part.trim())
    .find((part) => /^sha-256\b/i.test(part));
  if (member === undefined) return undefined;
  const value = sha256Form.exec(member)?.[1];
  if (value === undefined) throw invalid('content-digest: is not sha-256=:<base64 of 32 bytes>:');
  return Buffer.from(value, 'base64').toString('hex');
}

export function contentDigestOf(hex: string): string {
  return `sha-256=:${Buffer.from(hex, 'hex').toString('base64')}:`;
}

/** Passes the chunks on; throws `invalid_argument` at their end if they do not hash to `expected`. */
export async function* checkedAgainst(
  expected: string,
  chunks: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    hash.update(next.value);
    yield next.value;
  }
  const found = hash.digest('hex');
  if (found !== expected) {
    throw invalid(`the body hashes to ${contentDigestOf(found)}, not to its content-digest`, {
      reason: 'digest',
    });
  }
}
