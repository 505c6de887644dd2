/** Punycode (RFC 3492) as Rust v0 symbols use it: `_` in place of `-` sets the basic code points apart. */
import { fail } from './bounds.ts';

const base = 36;
const skew = 38;
const damp = 700;
const tMin = 1;
const tMax = 26;
const initialBias = 72;
const initialCodePoint = 0x80;
const codePointMax = 0x10ffff;

/** Decoding inserts into the middle, which is quadratic; real identifiers have tens of characters. */
const identifierCharsMax = 4096;

export function decodePunycode(encoded: string): string {
  if (encoded.length > identifierCharsMax) fail();
  const delimiter = encoded.lastIndexOf('_');
  const points = Array.from(encoded.slice(0, Math.max(delimiter, 0)));
  let position = delimiter + 1;
  let bias = initialBias;
  let codePoint = initialCodePoint;
  let insertAt = 0;
  while (position < encoded.length) {
    const before = insertAt;
    let weight = 1;
    for (let k = base; ; k += base) {
      const digit = digitValue(encoded.charCodeAt(position));
      position += 1;
      insertAt += digit * weight;
      // A valid delta is below this: it can't pass all code points at all places.
      if (insertAt > codePointMax * (points.length + 1)) fail();
      const threshold = Math.min(Math.max(k - bias, tMin), tMax);
      if (digit < threshold) break;
      weight *= base - threshold;
    }
    const count = points.length + 1;
    bias = adapt(insertAt - before, count, before === 0 && points.length === Math.max(delimiter, 0));
    codePoint += Math.floor(insertAt / count);
    insertAt %= count;
    if (codePoint > codePointMax || (codePoint >= 0xd800 && codePoint <= 0xdfff)) fail();
    points.splice(insertAt, 0, String.fromCodePoint(codePoint));
    insertAt += 1;
  }
  return points.join('');
}

/** `a`–`z` are 0–25, `0`–`9` are 26–35; past the end is no digit. */
function digitValue(code: number): number {
  if (code >= 97 && code <= 122) return code - 97;
  if (code >= 48 && code <= 57) return code - 48 + 26;
  return fail();
}

function adapt(delta: number, count: number, isFirst: boolean): number {
  let rest = Math.floor(delta / (isFirst ? damp : 2));
  rest += Math.floor(rest / count);
  let k = 0;
  for (; rest > ((base - tMin) * tMax) / 2; k += base) rest = Math.floor(rest / (base - tMin));
  return k + Math.floor(((base - tMin + 1) * rest) / (rest + skew));
}
