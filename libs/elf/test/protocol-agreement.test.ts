// The reader of files and the protocol each know which IDs identify nothing, since the one must not carry the other's
// schemas along. They must know the same: what an agent finds in a file is what the server takes.
import { gnuId, goId, SymkeepError } from '@symkeep/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bytesSource, gnuIdsOfGoId, identify } from '../src/index.ts';
import { imageOfNotes, note } from './image.ts';

const unknownKernels = [`${'f'.repeat(31)}d`, `${'f'.repeat(15)}d`.repeat(2)];
const gnuIds = fc.oneof(
  fc.uint8Array({ maxLength: 70 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  fc.tuple(fc.constantFrom('00', 'ff', '01'), fc.nat(70)).map(([byte, length]) => byte.repeat(length)),
  fc.constantFrom(...unknownKernels, ...['', 'redacted', 'a/b/c/d'].flatMap(gnuIdsOfGoId)),
);
const part = fc.stringMatching(/^[ !-~]{0,90}$/);
const goIds = fc.oneof(
  fc.constantFrom('', 'redacted', 'a/b/c/d', 'a/b/c', '/b/c/d', 'a/b/c/d/', 'a/b/c/d\n', 'ä/b/c/d'),
  fc.array(part, { minLength: 3, maxLength: 5 }).map((parts) => parts.join('/')),
  fc.integer({ min: 240, max: 260 }).map((length) => `${'a'.repeat(length - 6)}/b/c/d`),
);

function isTaken(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    if (error instanceof SymkeepError) return false;
    throw error;
  }
}

it('a GNU build ID identifies a file exactly if it is an ID of the protocol', () => {
  fc.assert(
    fc.property(gnuIds, (hex) => {
      const { gnu } = identify(bytesSource(imageOfNotes(note('GNU', 3, Buffer.from(hex, 'hex')))));
      expect(gnu).toBe(isTaken(() => gnuId(hex)) ? hex : undefined);
    }),
    { numRuns: 2_000 },
  );
});

it('a Go build ID identifies a file exactly if it is an ID of the protocol', () => {
  fc.assert(
    fc.property(goIds, (text) => {
      const { go } = identify(bytesSource(imageOfNotes(note('Go', 4, Buffer.from(text, 'latin1')))));
      expect(go).toBe(isTaken(() => goId(text)) ? text : undefined);
    }),
    { numRuns: 2_000 },
  );
});
