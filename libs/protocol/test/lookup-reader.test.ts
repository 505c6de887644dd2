import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decode,
  encode,
  idKeyBytes,
  idKeyOf,
  itemsMax,
  LookupReader,
  lookupRequest,
  parseIdItem,
  parseMessage,
} from '../src/index.ts';

const reader = new LookupReader();
const hex = (bytesMin: number, bytesMax: number) =>
  fc
    .uint8Array({ minLength: bytesMin, maxLength: bytesMax })
    .map((bytes) => Buffer.from(bytes).toString('hex'))
    .chain((text) => fc.constantFrom(text, text.toUpperCase()));
const goText = fc
  .stringMatching(/^[A-Za-z0-9_-]{1,20}$/)
  .map((part) => `go:${Buffer.from(`${part}/${part}/${part}/${part}`).toString('base64url')}`);
const validText = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constantFrom('', 'gnu:'), hex(8, 64)).map((parts) => parts.join('')) },
  { weight: 3, arbitrary: hex(16, 16).map((text) => `htlhash:${text}`) },
  goText,
);
const anyText = fc.oneof(
  { weight: 6, arbitrary: validText },
  hex(0, 70),
  fc.string({ maxLength: 60 }),
  fc.constantFrom(
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4',
    'B68919AFF001D8366249403A2544FBA2D833084F',
    '4976e6500ffe27c99db6bfc5dabb045d27ccf7b0',
    'gnu:00000000000000000000',
    'f'.repeat(40),
    `htlhash:${'f'.repeat(31)}d`,
    'gnu:abc',
    'htlhash:1234567890abcdef',
    'GNU:1234567890abcdef',
    'gnu:gnu:1234567890abcdef',
  ),
);

/** The keys of the general path, or undefined if it would complain about anything. */
function keysOf(body: Uint8Array): Buffer | undefined {
  try {
    const { ids } = parseMessage(lookupRequest, decode(body, 'msgpack'));
    return Buffer.concat(ids.map((id) => idKeyOf(parseIdItem(id))));
  } catch {
    return undefined;
  }
}

function expectEqualToGeneralPath(body: Uint8Array): void {
  const expected = keysOf(body);
  const count = reader.read(body);
  if (count < 0) return;
  expect(expected).toBeDefined();
  expect(Buffer.from(reader.keys.subarray(0, count * idKeyBytes)).equals(expected!)).toBe(true);
}

describe('LookupReader', () => {
  it('reads every clean lookup to the keys and IDs of the general path', () => {
    fc.assert(
      fc.property(fc.array(validText, { maxLength: 40 }), (ids) => {
        const body = encode({ ids }, 'msgpack');
        const expected = keysOf(body);
        fc.pre(expected !== undefined);
        expect(reader.read(body)).toBe(ids.length);
        expect(Buffer.from(reader.keys.subarray(0, ids.length * idKeyBytes)).equals(expected!)).toBe(true);
        for (const [index, id] of ids.entries()) expect(reader.idAt(index)).toBe(parseIdItem(id));
      }),
      { numRuns: 2_000 },
    );
  });

  it('accepts nothing that the general path would complain about', () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 20 }), (ids) => {
        const body = encode({ ids }, 'msgpack');
        expectEqualToGeneralPath(body);
        if (keysOf(body) === undefined) expect(reader.read(body)).toBe(-1);
      }),
      { numRuns: 2_000 },
    );
  });

  it('agrees with the general path on bytes that were cut, changed or prolonged', () => {
    const damage = fc.record({
      cut: fc.nat(400),
      at: fc.nat(400),
      byte: fc.nat(255),
      tail: fc.uint8Array({ maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(validText, { maxLength: 6 }), damage, (ids, { cut, at, byte, tail }) => {
        const body = Buffer.from(encode({ ids }, 'msgpack'));
        expectEqualToGeneralPath(body.subarray(0, cut));
        expectEqualToGeneralPath(Buffer.concat([body, tail]));
        const changed = Buffer.from(body);
        changed[at % changed.length] = byte;
        expectEqualToGeneralPath(changed);
      }),
      { numRuns: 5_000 },
    );
  });

  it('leaves a batch over the limit to the general path', () => {
    const ids = (count: number) =>
      Array.from({ length: count }, (_, index) => (index + 1).toString(16).padStart(40, 'a'));
    expect(reader.read(encode({ ids: ids(itemsMax) }, 'msgpack'))).toBe(itemsMax);
    expect(reader.read(encode({ ids: ids(itemsMax + 1) }, 'msgpack'))).toBe(-1);
    expect(reader.read(encode({ ids: [] }, 'msgpack'))).toBe(0);
  });

  it('reads from a view into a larger buffer', () => {
    const body = encode({ ids: ['0123456789abcdef0123456789abcdef01234567'] }, 'msgpack');
    const larger = Buffer.concat([Buffer.alloc(7, 0x81), body, Buffer.alloc(9)]);
    expect(reader.read(larger.subarray(7, 7 + body.length))).toBe(1);
  });
});
