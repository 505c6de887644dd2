// A short run of what `npm run fuzz` does for longer.
import { fuzzSuite } from '../../../tools/fuzz/suite.ts';
import { imageTarget } from './fuzz-images.ts';

fuzzSuite(imageTarget, 1_000, [
  ...['damaged', 'limit', 'malformed', 'not_elf', 'read', 'truncated', 'unsupported'],
]);
