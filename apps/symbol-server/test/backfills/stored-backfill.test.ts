// The stored form of a backfill (docs/formats.md).
import { readFileSync } from 'node:fs';
import { decode, encode } from '@symkeep/protocol';
import { expect, it } from 'vitest';
import { startedBackfill } from '../../src/backfills/backfill.ts';

const started = startedBackfill(
  { id: '00', filter: { state: 'failed' }, source: 'stored', priority: 5, rate: 100, total: 2 },
  1_767_225_600_000,
);
const formats = readFileSync(new URL('../../../../docs/formats.md', import.meta.url), 'utf8');

it('is as the page of formats shows it', () => {
  const hex = Buffer.from(encode(started, 'msgpack')).toString('hex');
  expect(formats).toContain(`\`${hex}\``);
  expect(decode(Buffer.from(hex, 'hex'), 'msgpack')).toEqual(started);
});
