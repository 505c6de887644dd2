// Hostile symbol tables: a short run of what `npm run fuzz` does for longer, and bytes that never were one.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fuzzSuite } from '../../../tools/fuzz/suite.ts';
import { decodePage, mergeRanges, openSymbolTable, SymbolsError, writeSymbolTable } from '../src/index.ts';
import { tableTargets } from './fuzz-tables.ts';
import { tableOf, testRanges } from './tables.ts';

for (const target of tableTargets) fuzzSuite(target, 5_000, ['malformed', 'read', 'truncated']);

it('arbitrary bytes are never a page or a header', () => {
  const [ranges = []] = fc.sample(testRanges, { numRuns: 1, seed: 3 });
  const table = openSymbolTable(writeSymbolTable(mergeRanges([tableOf('dwarf', 0n, ranges)])).header);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      expect(() => openSymbolTable(bytes)).toThrow(SymbolsError);
      expect(() => decodePage(table, 0, bytes)).toThrow(SymbolsError);
    }),
    { numRuns: 5_000 },
  );
});
