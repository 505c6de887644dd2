import { createHash } from 'node:crypto';
import {
  canonicalIdOf,
  gnuId,
  goId,
  htlhashId,
  idKeyOf,
  kindOf,
  parseExecutableId,
  rawIdOf,
  SymkeepError,
} from '@symkeep/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const goText = 'dCpPNbUmDjVFyIBOaR7E/Dc2J4zBkTjRvqJ1g1Wfp/xk9f5Qv3o_Vv6kHxPGEZ/Bt1dYQY5a1sSvWQe1ZCt';
const gnuText = 'c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80';

function codeOf(text: string): string {
  try {
    return parseExecutableId(text);
  } catch (error) {
    return error instanceof SymkeepError ? error.code : String(error);
  }
}

describe('executable IDs', () => {
  it.each([
    [gnuText, `gnu:${gnuText}`],
    [gnuText.toUpperCase(), `gnu:${gnuText}`],
    [`gnu:${gnuText}`, `gnu:${gnuText}`],
    ['gnu:0123456789abcdef', 'gnu:0123456789abcdef'],
    ['htlhash:CAF6E5907166AC76EEF618E5F7F59CD9', 'htlhash:caf6e5907166ac76eef618e5f7f59cd9'],
    [`go:${Buffer.from(goText).toString('base64url')}`, `go:${Buffer.from(goText).toString('base64url')}`],
  ])('%s is %s', (text, id) => {
    expect(parseExecutableId(text)).toBe(id);
  });

  it.each([
    ['empty', ''],
    ['kind alone', 'gnu:'],
    ['unknown kind', 'md5:0123456789abcdef'],
    ['kind in upper case', `GNU:${gnuText}`],
    ['not hex', 'gnu:0123456789abcdeg'],
    ['odd number of digits', `gnu:${gnuText}0`],
    ['7 bytes', 'gnu:01234567890123'],
    ['65 bytes', `gnu:${'ab'.repeat(65)}`],
    ['space', ` ${gnuText}`],
    ['all zero', `gnu:${'0'.repeat(40)}`],
    ['all ff', `gnu:${'f'.repeat(40)}`],
    ['unknown kernel', `htlhash:${'f'.repeat(31)}d`],
    ['htlhash of 15 bytes', 'htlhash:caf6e5907166ac76eef618e5f7f59c'],
    [
      'GNU ID derived from a redacted Go ID',
      `gnu:${createHash('sha256').update('redacted').digest('hex').slice(0, 40)}`,
    ],
    ['the same as Go 1.24 and later derive it', 'gnu:b78919aff001d8366249403a2544fba2d833084f'],
    ['redacted Go ID', `go:${Buffer.from('redacted').toString('base64url')}`],
    ['Go ID with an empty part', `go:${Buffer.from('a//c/d').toString('base64url')}`],
    ['Go ID of five parts', `go:${Buffer.from('a/b/c/d/e').toString('base64url')}`],
    ['padded base64', `go:${Buffer.from('a/b/c/dd').toString('base64')}`],
    ['base64 with unused bits set', 'go:YS9iL2MvZR'],
    ['not base64url', 'go:a b'],
    ['too long', `go:${'A'.repeat(2000)}`],
    ['line break', `${gnuText}\n`],
  ])('%s is refused', (_, text) => {
    expect(codeOf(text)).toBe('invalid_argument');
  });

  it('parses its own text to itself, and never two texts that differ by more than case to one', () => {
    const bytes = fc
      .uint8Array({ minLength: 8, maxLength: 64 })
      .map((data) => Buffer.from(data).toString('hex'));
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        fc.pre(codeOf(a) !== 'invalid_argument' && codeOf(b) !== 'invalid_argument');
        const [idA, idB] = [parseExecutableId(a), parseExecutableId(b)];
        expect(parseExecutableId(idA)).toBe(idA);
        expect(idA === idB).toBe(a === b);
      }),
    );
  });

  it('never throws anything but invalid_argument', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        const code = codeOf(text);
        expect(code === 'invalid_argument' || /^(gnu|htlhash|go):/.test(code)).toBe(true);
      }),
    );
  });

  it('gives back the raw text of the note', () => {
    expect(rawIdOf(goId(goText))).toBe(goText);
    expect(rawIdOf(gnuId(gnuText))).toBe(gnuText);
    expect([goId(goText), gnuId(gnuText)].map(kindOf)).toEqual(['go', 'gnu']);
  });

  it('has the GNU ID as canonical, else the hash of the file', () => {
    const htlhash = htlhashId('caf6e5907166ac76eef618e5f7f59cd9');
    expect(canonicalIdOf({ htlhash, gnu: gnuId(gnuText) })).toBe(`gnu:${gnuText}`);
    expect(canonicalIdOf({ htlhash, go: goId(goText) })).toBe(htlhash);
  });
});

describe('ID keys', () => {
  it('are kind, length, and 20 bytes', () => {
    const key = idKeyOf(gnuId(gnuText));
    expect(Buffer.from(key).toString('hex')).toBe(`01140000${gnuText}`);
    expect(Buffer.from(idKeyOf(htlhashId('caf6e5907166ac76eef618e5f7f59cd9'))).toString('hex')).toBe(
      '02100000caf6e5907166ac76eef618e5f7f59cd900000000',
    );
  });

  it('cut the SHA-256 of longer IDs', () => {
    const digest = createHash('sha256').update(goText).digest('hex').slice(0, 40);
    expect(Buffer.from(idKeyOf(goId(goText))).toString('hex')).toBe(`03530000${digest}`);
  });

  it('are one for two IDs only if these are one, whatever their kinds and lengths', () => {
    const hex = (bytesMin: number, bytesMax: number) =>
      fc
        .uint8Array({ minLength: bytesMin, maxLength: bytesMax })
        .map((bytes) => Buffer.from(bytes).toString('hex'));
    // Bytes that recur, so that IDs of one kind are often the start of those of another.
    const shared = fc.constantFrom(
      '01'.repeat(8),
      '01'.repeat(16),
      '01'.repeat(20),
      '01'.repeat(21),
      `${'01'.repeat(16)}00000000`,
    );
    const part = fc.stringMatching(/^[a-c]{1,3}$/);
    const id = fc.oneof(
      fc.oneof(hex(8, 64), shared).map((text) => `gnu:${text}`),
      fc.oneof(hex(16, 16), fc.constant('01'.repeat(16))).map((text) => `htlhash:${text}`),
      fc.tuple(part, part, part, part).map((parts) => goId(parts.join('/')) as string),
    );
    const keyOf = (text: string) => Buffer.from(idKeyOf(parseExecutableId(text))).toString('hex');
    fc.assert(
      fc.property(id, id, (a, b) => {
        fc.pre(codeOf(a) !== 'invalid_argument' && codeOf(b) !== 'invalid_argument');
        expect(keyOf(a) === keyOf(b)).toBe(a === b);
      }),
      { numRuns: 2_000 },
    );
  });

  it('of an ID of 21 bytes or more never pass for one of 20 bytes', () => {
    const long = idKeyOf(gnuId('ab'.repeat(32)));
    const digest = Buffer.from(long.subarray(4)).toString('hex');
    expect(Buffer.compare(idKeyOf(gnuId(digest)), long)).not.toBe(0);
  });

  it('are written where they are asked for, and nowhere else', () => {
    for (const id of [gnuId('0123456789abcdef'), gnuId('ab'.repeat(32)), goId(goText)]) {
      const into = new Uint8Array(40).fill(0xee);
      idKeyOf(id, into, 8);
      expect(into.subarray(8, 32)).toEqual(idKeyOf(id));
      expect([...into.subarray(0, 8), ...into.subarray(32)].every((byte) => byte === 0xee)).toBe(true);
    }
  });

  it('tell apart IDs that padding would make equal', () => {
    const short = idKeyOf(gnuId('0123456789abcdef'));
    const long = idKeyOf(gnuId('0123456789abcdef0000'));
    expect(Buffer.compare(short, long)).not.toBe(0);
  });
});
