// Every message at its limits: what is just within is taken, what is just beyond is refused, by a code and with the place.
import {
  addressesMax,
  checkRequest,
  decode,
  encode,
  framesLookupRequest,
  framesMax,
  framesReportRequest,
  isAddress,
  itemsMax,
  lookupRequest,
  nameLengthMax,
  parseAddress,
  parseCheckItem,
  parseFrameItem,
  parseFramesLookupItem,
  parseIdItem,
  parseMessage,
  parseReportItem,
  reportRequest,
  SymkeepError,
  segmentsMax,
  textLengthMax,
} from '@symkeep/protocol';
import { describe, expect, it } from 'vitest';
import { goBytesMax } from '../src/ids.ts';
import { valuesMax } from '../src/msgpack-scan.ts';

const gnu = 'c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80';
const htlhash = 'caf6e5907166ac76eef618e5f7f59cd9';
const goText = 'dCpPNbUmDjVFyIBOaR7E/Dc2J4zBkTjRvqJ1g1Wfp/xk9f5Qv3o_Vv6kHxPGEZ/Bt1dYQY5a1sSvWQe1ZCt';
const agent = { host: 'h', version: '1' };
const item = { ids: { gnu, htlhash }, name: '/usr/bin/bash', arch: 'x86_64', type: 'dyn', size: 1, load: [] };
const frame = { id: gnu, address: '0x1000', function: 'main' };

/** `taken`, or the code of the refusal. */
function verdictOf(run: () => unknown): string {
  try {
    run();
    return 'taken';
  } catch (error) {
    if (error instanceof SymkeepError) return error.code;
    throw error;
  }
}

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SymkeepError) return error.message;
    throw error;
  }
  return expect.unreachable('not refused');
}

const many = (count: number) => new Array<unknown>(count).fill(0);

describe('limits of a request', () => {
  it.each([
    ['IDs of a lookup', itemsMax, (count: number) => parseMessage(lookupRequest, { ids: many(count) })],
    [
      'items of a check',
      itemsMax,
      (count: number) => parseMessage(checkRequest, { executables: many(count) }),
    ],
    [
      'items of a report',
      itemsMax,
      (count: number) => parseMessage(reportRequest, { agent, executables: many(count) }),
    ],
    [
      'requests for frames',
      itemsMax,
      (count: number) => parseMessage(framesLookupRequest, { requests: many(count) }),
    ],
    [
      'reported frames',
      framesMax,
      (count: number) => parseMessage(framesReportRequest, { frames: many(count) }),
    ],
    [
      'addresses of a request',
      addressesMax,
      (count: number) => parseFramesLookupItem({ id: gnu, addresses: many(count) }),
    ],
    [
      'segments',
      segmentsMax,
      (count: number) => parseReportItem({ ...item, load: new Array(count).fill(['0x0', 1]) }),
    ],
  ])('%s: %i, and none more', (_, most, parse) => {
    expect(verdictOf(() => parse(most))).toBe('taken');
    expect(verdictOf(() => parse(most + 1))).toBe('too_large');
  });

  it.each([
    [
      'the name of a host',
      255,
      (length: number) =>
        parseMessage(reportRequest, { agent: { ...agent, host: 'h'.repeat(length) }, executables: [] }),
    ],
    ['a path', nameLengthMax, (length: number) => parseReportItem({ ...item, name: 'n'.repeat(length) })],
    [
      'the name of a function',
      textLengthMax,
      (length: number) => parseFrameItem({ ...frame, function: 'f'.repeat(length) }),
    ],
    ['a GNU build ID', 64, (bytes: number) => parseIdItem('ab'.repeat(bytes))],
    [
      'a Go build ID',
      goBytesMax,
      (bytes: number) =>
        parseIdItem(`go:${Buffer.from(`${'a'.repeat(bytes - 6)}/b/c/d`).toString('base64url')}`),
    ],
    ['a safe integer', Number.MAX_SAFE_INTEGER, (size: number) => parseReportItem({ ...item, size })],
  ])('%s: %i, and no more', (_, most, parse) => {
    expect(verdictOf(() => parse(most))).toBe('taken');
    expect(verdictOf(() => parse(most + 1))).toBe('invalid_argument');
  });

  it.each(['json', 'msgpack'] as const)(
    'values in a body of %s, counted before it is decoded',
    (encoding) => {
      // An array and its elements.
      const most = encode(many(valuesMax - 1), encoding);
      expect((decode(most, encoding) as unknown[]).length).toBe(valuesMax - 1);
      expect(verdictOf(() => decode(encode(many(valuesMax + 1), encoding), encoding))).toBe(
        'invalid_argument',
      );
    },
  );

  it('brackets in a string are no values', () => {
    const text = `${'[,:{"\\'.repeat(valuesMax / 2)}`;
    expect(decode(encode(text, 'json'), 'json')).toBe(text);
  });
});

describe('an item of a report', () => {
  it('gives the IDs in their text form, whatever form they came in', () => {
    const ids = { gnu: `gnu:${gnu}`, htlhash, go: `go:${Buffer.from(goText).toString('base64url')}` };
    for (const sent of [
      { gnu, htlhash, go: goText },
      {
        gnu: gnu.toUpperCase(),
        htlhash: htlhash.toUpperCase(),
        go: Buffer.from(goText).toString('base64url'),
      },
      { gnu: `gnu:${gnu}`, htlhash: `htlhash:${htlhash}`, go: ids.go },
    ])
      expect(parseReportItem({ ...item, ids: sent }).ids).toEqual({ ...ids, htlhash: `htlhash:${htlhash}` });
  });

  it.each([
    ['an all-zero GNU ID', { gnu: '0'.repeat(40) }],
    ['the GNU ID of all redacted Go programs', { gnu: 'b78919aff001d8366249403a2544fba2d833084f' }],
    ['an empty GNU ID', { gnu: '' }],
    ['a redacted Go ID', { go: 'redacted' }],
    ['an empty Go ID', { go: '' }],
  ])('with %s is known by its hash: the ID is true of that file, and no key', (_, ids) => {
    expect(parseReportItem({ ...item, ids: { htlhash, ...ids } }).ids).toEqual({
      htlhash: `htlhash:${htlhash}`,
    });
  });

  it.each([
    ['no htlhash', { ids: { gnu } }],
    ['a placeholder as htlhash', { ids: { htlhash: `${'f'.repeat(31)}d` } }],
    ['a malformed GNU ID', { ids: { htlhash, gnu: 'xyz' } }],
    ['a NUL in its name', { name: 'a\0b' }],
    ['a negative size', { size: -1 }],
    ['half a byte', { size: 0.5 }],
    ['a segment of one number', { load: [[1]] }],
    ['a negative address', { load: [[-1, 1]] }],
  ])('with %s is refused', (_, change) => {
    expect(verdictOf(() => parseReportItem({ ...item, ...change }))).toBe('invalid_argument');
  });

  it('may leave out all but its hash, and fields that are not known are ignored', () => {
    expect(parseReportItem({ ids: { htlhash, sha1: 'x' }, colour: 'blue' })).toEqual({
      ...{ ids: { htlhash: `htlhash:${htlhash}` }, name: '', arch: '', type: '', size: 0, load: [] },
    });
  });

  it('is refused with every mistake and its place', () => {
    const said = messageOf(() => parseReportItem({ ...item, size: 'big', arch: 7, load: [['0x0', '10']] }));
    for (const place of ['size', 'arch', 'load.0.1']) expect(said).toContain(`${place}: `);
  });
});

describe('an address', () => {
  it.each([0, 1, Number.MAX_SAFE_INTEGER, '0x0', '0xffffffffffffffff', '0xFFFFFFFF81000000', 2n ** 64n - 1n])(
    'may be %s',
    (value) => {
      expect(isAddress(value)).toBe(true);
      expect(parseFrameItem({ ...frame, address: value }).address).toBe(BigInt(value));
    },
  );

  it.each([
    -1,
    0.5,
    2 ** 53,
    '10',
    '0x',
    '0x10000000000000000',
    '0xg',
    ' 0x1',
    '0x1\n',
    2n ** 64n,
    -1n,
    null,
    true,
    [1],
  ])('may not be %s', (value) => {
    expect(isAddress(value)).toBe(false);
    expect(verdictOf(() => parseFrameItem({ ...frame, address: value }))).toBe('invalid_argument');
    if (typeof value === 'string') expect(verdictOf(() => parseAddress(value))).toBe('invalid_argument');
  });
});

describe('other items', () => {
  it('weights are as many as addresses, or none', () => {
    const addresses = ['0x1', 2];
    expect(parseFramesLookupItem({ id: gnu, addresses, weights: [1, 2] })).toEqual({
      id: `gnu:${gnu}`,
      addresses: [1n, 2n],
      weights: [1, 2],
    });
    expect(parseFramesLookupItem({ id: gnu, addresses })).toEqual({ id: `gnu:${gnu}`, addresses: [1n, 2n] });
    for (const weights of [[1], [1, 2, 3], []])
      expect(verdictOf(() => parseFramesLookupItem({ id: gnu, addresses, weights }))).toBe(
        'invalid_argument',
      );
  });

  it('a frame has a name', () => {
    expect(verdictOf(() => parseFrameItem({ ...frame, function: '' }))).toBe('invalid_argument');
    expect(parseFrameItem(frame)).toEqual({
      ...{ id: `gnu:${gnu}`, address: 0x1000n },
      frame: { function: 'main', rawName: '', file: '', line: 0, column: 0, startLine: 0 },
    });
  });

  it('a check names an ID and the generation that its sender knows', () => {
    expect(parseCheckItem({ id: gnu, generation: 0 })).toEqual({ id: `gnu:${gnu}`, generation: 0 });
    for (const wrong of [
      { id: gnu },
      { generation: 1 },
      { id: gnu, generation: -1 },
      { id: 7, generation: 1 },
      null,
      'x',
      [],
    ])
      expect(verdictOf(() => parseCheckItem(wrong))).toBe('invalid_argument');
  });

  it.each([null, undefined, 7, 'ids', [], { ids: 'x' }, { ids: { 0: gnu } }])(
    'a request that is %j is refused',
    (value) => {
      expect(verdictOf(() => parseMessage(lookupRequest, value))).toBe('invalid_argument');
    },
  );
});
