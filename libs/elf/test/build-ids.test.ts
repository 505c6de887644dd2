import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesSource, debugIdOf, htlhashOf, identify, kernelFileIdOf } from '../src/index.ts';
import { imageOfNotes, note } from './image.ts';

const gnu = (hex: string) => note('GNU', 3, Buffer.from(hex, 'hex'));
const go = (text: string) => note('Go', 4, Buffer.from(text, 'latin1'));
const identifyNotes = (...notes: Uint8Array[]) => identify(bytesSource(imageOfNotes(...notes)));
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 40);

describe('htlhash', () => {
  it('has the vector of the OpenTelemetry profiler', () => {
    const bytes = Buffer.from('7f454c460001020304', 'hex');
    expect(htlhashOf(bytesSource(bytes))).toBe('caf6e5907166ac76eef618e5f7f59cd9');
  });

  it.each([0, 1, 4_095, 4_096, 4_097, 8_191, 8_192, 8_193, 20_000])(
    'of %i bytes is that of both ends',
    (size) => {
      const bytes = Uint8Array.from({ length: size }, (_, index) => index * 7 + (index >> 8));
      const length = Buffer.from(BigInt(size).toString(16).padStart(16, '0'), 'hex');
      const ends = Buffer.concat([bytes.slice(0, 4_096), bytes.slice(Math.max(0, size - 4_096)), length]);
      expect(htlhashOf(bytesSource(bytes))).toBe(
        createHash('sha256').update(ends).digest('hex').slice(0, 32),
      );
    },
  );
});

describe('IDs derived from a GNU build ID', () => {
  it('kernel file ID has the vector of the profiler', () => {
    expect(kernelFileIdOf('f8e1cf0f60558098edaec164ac7749df')).toBe('026a2d6a60ee6b4eb8ec85adf2e76f4d');
    expect(kernelFileIdOf('F8E1CF0F60558098EDAEC164AC7749DF')).toBe('026a2d6a60ee6b4eb8ec85adf2e76f4d');
  });

  it('FNV-128a of nothing and of one letter, from the published test vectors', () => {
    expect(kernelFileIdOf('')).toBe('6c62272e07bb014262b821756295c58d');
    expect(kernelFileIdOf('a')).toBe('d228cb696f1a8caf78912b704e4a8964');
  });

  it('debug ID swaps the first three fields in little-endian files', () => {
    expect(debugIdOf('8cece444412f92499369d6b9a059577c07183b5b')).toBe('44E4EC8C2F4149929369D6B9A059577C0');
    expect(debugIdOf('8cece444412f92499369d6b9a059577c07183b5b', false)).toBe(
      '8CECE444412F92499369D6B9A059577C0',
    );
    expect(debugIdOf('0102030405060708')).toBe('0403020106050807000000000000000000'.slice(0, 33));
  });
});

describe('what is no ID', () => {
  it.each([
    ['00'.repeat(20), 'placeholder'],
    ['ff'.repeat(20), 'placeholder'],
    ['00'.repeat(8), 'placeholder'],
    [`${'f'.repeat(15)}d${'f'.repeat(15)}d`, 'placeholder'],
    [`${'f'.repeat(31)}d`, 'placeholder'],
    ['', 'too_short'],
    ['01020304050607', 'too_short'],
    ['ab'.repeat(65), 'too_long'],
    [sha256('redacted'), 'shared_go_origin'],
  ])('GNU %s: %s', (hex, reason) => {
    const { gnu: id, rejected } = identifyNotes(gnu(hex));
    expect(id).toBeUndefined();
    expect(rejected).toEqual([{ kind: 'gnu', value: hex, reason }]);
  });

  it.each([
    'redacted',
    '',
    'a/b',
    'a/b/c',
    'a/b/c/d/e',
    'a//c/d',
    'a/b/c/',
    'a b/c/d/e',
    'a/b/c/d\n',
    'ä/b/c/d',
  ])('Go %j', (text) => {
    const { go: id, rejected } = identifyNotes(go(text));
    expect(id).toBeUndefined();
    expect(rejected).toEqual([{ kind: 'go', value: text, reason: 'not_go_form' }]);
  });

  it('an over-long Go ID, of which only the start is kept', () => {
    const { rejected } = identifyNotes(go(`${'a'.repeat(5_000)}/b/c/d`));
    expect(rejected).toMatchObject([{ kind: 'go', reason: 'too_long' }]);
    expect(rejected[0]!.value.length).toBeLessThan(300);
  });

  const invert = (hex: string) =>
    Buffer.from(Buffer.from(hex, 'hex').map((byte) => byte ^ 0xff)).toString('hex');
  const mark = (hex: string) =>
    (Number.parseInt(hex.slice(0, 2), 16) ^ 1).toString(16).padStart(2, '0') + hex.slice(2);

  it.each([sha256, (text: string) => mark(sha256(text)), (text: string) => invert(sha256(text))])(
    'a GNU ID derived from a Go ID is good exactly if that is (tool chain %#)',
    (derive) => {
      const good = 'Zr9Bg/kNbgd/FXpAO/WLx1d';
      expect(identifyNotes(go(good), gnu(derive(good)))).toMatchObject({
        go: good,
        gnu: derive(good),
        rejected: [],
      });
      for (const shared of ['redacted', 'internal', '']) {
        const identity = identifyNotes(gnu(derive(shared)), go(shared));
        expect(identity).not.toHaveProperty('gnu');
        expect(identity.rejected.map(({ reason }) => reason)).toEqual(['not_go_form', 'shared_go_origin']);
      }
    },
  );

  it('a second, different ID: the first holds', () => {
    const { gnu: id, rejected } = identifyNotes(
      gnu('11'.repeat(20)),
      gnu('11'.repeat(20)),
      gnu('22'.repeat(20)),
    );
    expect(id).toBe('11'.repeat(20));
    expect(rejected).toEqual([{ kind: 'gnu', value: '22'.repeat(20), reason: 'conflicting' }]);
  });

  it('a placeholder before a good ID does not hide it', () => {
    expect(identifyNotes(gnu('00'.repeat(20)), gnu('22'.repeat(20))).gnu).toBe('22'.repeat(20));
  });

  it('notes of the right name or type alone', () => {
    const desc = Buffer.alloc(20, 7);
    const { rejected, ...ids } = identifyNotes(
      note('GNU', 5, desc),
      note('Xen', 3, desc),
      note('Go', 3, desc),
    );
    expect(ids).not.toHaveProperty('gnu');
    expect(rejected).toEqual([]);
  });

  it('a thousand bad IDs are reported as a few', () => {
    const many = Array.from({ length: 1_000 }, (_, index) => gnu(index.toString(16).padStart(6, '0')));
    expect(identifyNotes(...many).rejected).toHaveLength(16);
  });
});

it('any digest of 8 to 64 bytes is found, wherever it stands among other notes', () => {
  const noise = fc
    .tuple(
      fc.constantFrom('stapsdt', 'LLVM', 'GNU', ''),
      fc.integer({ min: 5, max: 900 }),
      fc.uint8Array({ maxLength: 90 }),
    )
    .map(([name, type, desc]) => note(name, type, desc));
  const digest = fc.uint8Array({ minLength: 8, maxLength: 64 }).filter((bytes) => new Set(bytes).size > 2);
  fc.assert(
    fc.property(
      fc.array(noise, { maxLength: 6 }),
      digest,
      fc.array(noise, { maxLength: 6 }),
      (before, id, after) => {
        const found = identifyNotes(...before, note('GNU', 3, id), ...after);
        expect(found.gnu).toBe(Buffer.from(id).toString('hex'));
      },
    ),
  );
});
