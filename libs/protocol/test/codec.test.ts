import {
  decode,
  encode,
  FRAME_STATUS,
  FramesReplyBuilder,
  readFrameColumns,
  SymkeepError,
  scanMessagePack,
} from '@symkeep/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.integer(),
    fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;

describe('the codec', () => {
  it('gives back what went in, in both encodings', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(decode(encode(value, 'json'), 'json')).toEqual(value);
        expect(decode(encode(value, 'msgpack'), 'msgpack')).toEqual(value);
      }),
    );
  });

  it('writes integers as integers and addresses as uint64', () => {
    const bytes = encode(
      { at: 1_790_000_000_000, address: 0xffff_ffff_8100_0000n, gone: undefined },
      'msgpack',
    );
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '82a26174d3000001a0c4506c00a761646472657373cfffffffff81000000',
    );
    expect(Buffer.from(encode({ address: 0xffff_ffff_8100_0000n }, 'json')).toString()).toBe(
      '{"address":"0xffffffff81000000"}',
    );
  });

  it.each([
    ['empty', ''],
    ['two values', '0102'],
    ['array of four billion', 'ddffffffff'],
    ['map of four billion', 'dfffffffff'],
    ['string beyond the end', 'd9ff61'],
    ['binary beyond the end', 'c6ffffffff'],
    ['cut length field', 'de00'],
    ['extension type', 'd40000'],
    ['timestamp extension', 'd6ff00000000'],
    ['unused type', 'c1'],
    ['cut integer', 'cf00'],
    ['nesting', `${'91'.repeat(40)}00`],
    ['deep nesting', '91'.repeat(1_000_000)],
  ])('refuses %s', (_, hex) => {
    expect(() => decode(Buffer.from(hex, 'hex'), 'msgpack')).toThrow(SymkeepError);
  });

  it('accepts exactly what is whole: no truncation and no byte more', () => {
    fc.assert(
      fc.property(values, fc.nat(), (value, cut) => {
        const bytes = encode(value, 'msgpack');
        scanMessagePack(bytes);
        expect(() => scanMessagePack(bytes.subarray(0, cut % bytes.length))).toThrow(SymkeepError);
        expect(() => scanMessagePack(Buffer.concat([bytes, Buffer.of(0xc0)]))).toThrow(SymkeepError);
      }),
    );
  });

  it('never throws anything but its own error on arbitrary bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom('json' as const, 'msgpack' as const),
        (bytes, encoding) => {
          try {
            decode(bytes, encoding);
          } catch (error) {
            expect(error).toBeInstanceOf(SymkeepError);
          }
        },
      ),
      { numRuns: 20_000 },
    );
  });

  it('names the code and status of every error, and reads it back', () => {
    const error = new SymkeepError('too_large', 'over 8 MiB', { details: { max: 8 } });
    expect(error.status).toBe(413);
    expect(SymkeepError.fromBody(error.body(), 413)).toMatchObject({
      code: 'too_large',
      message: 'over 8 MiB',
    });
    expect(SymkeepError.fromBody('<html>', 502).code).toBe('unavailable');
    expect(SymkeepError.from(new TypeError('x')).code).toBe('internal');
  });
});

describe('columnar frames', () => {
  const frame = { function: 'f()', rawName: '_Z1fv', file: 'a.c', line: 7, column: 3, startLine: 5 };
  it('come back as rows, with strings shared over results', () => {
    const builder = new FramesReplyBuilder();
    const at = [
      {
        status: FRAME_STATUS.resolved,
        source: 'dwarf' as const,
        frames: [frame, { ...frame, function: 'g()', rawName: '' }],
      },
      { status: FRAME_STATUS.symbolsNotReady, source: 'none' as const, frames: [] },
      { status: FRAME_STATUS.resolved, source: 'agent' as const, frames: [frame] },
    ];
    builder.add('a', 'gnu:a', 7, at);
    builder.add('b', 'gnu:b', 8, at);
    builder.addError('c', { code: 'invalid_argument', message: 'no' });
    const { strings, results } = builder.reply;
    expect(strings).toEqual(['', 'f()', '_Z1fv', 'a.c', 'g()']);
    expect(results[0]!.frameCounts).toEqual([2, 0, 1]);
    expect(readFrameColumns(strings, results[1]!)).toEqual(at);
    expect(results[2]).toMatchObject({ id: 'c', status: [], error: { code: 'invalid_argument' } });
  });
});
