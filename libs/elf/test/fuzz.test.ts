// A short run of what `npm run fuzz` does for longer.
import { fuzzSuite } from '../../../tools/fuzz/suite.ts';
import { elfTargets } from './fuzz-targets.ts';

const [headers, contents] = elfTargets;

fuzzSuite(headers!, 50_000, [
  ...['damaged', 'identified', 'limit', 'malformed', 'not_elf', 'truncated', 'unsupported'],
]);
fuzzSuite(contents!, 20_000, ['absent', 'limit', 'malformed', 'not_elf', 'read', 'truncated', 'unsupported']);
