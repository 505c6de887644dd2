import { decode, type Encoding, type ExecutableRecord, encode, htlhashId, recordOf } from '@symkeep/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StoredRecord } from '../src/catalog/index.ts';
import { type LookupItem, listReply, lookupReply } from '../src/http/splice.ts';

const record = fc
  .record({ hash: fc.uint8Array({ minLength: 16, maxLength: 16 }), name: fc.string(), size: fc.maxSafeNat() })
  .filter(({ hash }) => hash[0] !== 0 && hash[0] !== 0xff)
  .map(({ hash, name, size }) => {
    const ids = { htlhash: htlhashId(Buffer.from(hash).toString('hex')) };
    return recordOf({ ids, name, size, arch: 'x86_64', type: 'dyn', load: [] }, 1_700_000_000_000);
  });
const error = fc.constantFrom('not_found', 'unavailable', 'erased', 'invalid_argument');
const item = fc.oneof<fc.Arbitrary<ExecutableRecord | string>[]>(record, error);

// As it was in the store: bytes only.
function stored(one: ExecutableRecord): StoredRecord {
  return StoredRecord.read(encode(one, 'msgpack'));
}

describe.each<Encoding>(['json', 'msgpack'])('replies spliced in %s', (encoding) => {
  it('say what an encoder would have said', () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 40 }), (items) => {
        const results = items.map((one) =>
          typeof one === 'string' ? { error: { code: one } } : { record: one },
        );
        const spliced = items.map((one) => (typeof one === 'string' ? one : stored(one)) as LookupItem);
        const plain = decode(encode({ results }, encoding), encoding);
        expect(decode(lookupReply(spliced, encoding), encoding)).toEqual(plain);
      }),
    );
  });

  it('of lists as well', () => {
    const cursor = fc.option(fc.string());
    fc.assert(
      fc.property(fc.array(record, { maxLength: 40 }), cursor, (items, nextCursor) => {
        const plain = decode(encode({ items, nextCursor }, encoding), encoding);
        expect(decode(listReply(items.map(stored), nextCursor, encoding), encoding)).toEqual(plain);
      }),
    );
  });
});
