// docs/cache.md names a test for each difference from the reference: it must exist.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const page = readFileSync(new URL('../../../docs/cache.md', import.meta.url), 'utf8');
const folder = new URL('./', import.meta.url);
const suites = readdirSync(folder)
  .filter((name) => /^lru.*\.test\.ts$/.test(name) && name !== 'lru-differences.test.ts')
  .map((name) => readFileSync(new URL(name, folder), 'utf8'))
  .join('\n');

const rows = page
  .slice(page.indexOf('| | go-freelru |'), page.indexOf('Buckets are chains'))
  .split('\n')
  .slice(2)
  .filter((line) => line.startsWith('|'));

it.each(rows.map((row) => [row.split('|')[1]!.trim(), row]))('%s: is tested as the page says', (_, row) => {
  const tests = [
    ...row
      .split('|')
      .at(-2)!
      .matchAll(/`([^`]+)`/g),
  ].map((match) => match[1]!);
  expect(tests.length).toBeGreaterThan(0);
  expect(tests.filter((title) => !suites.includes(`'${title}`))).toEqual([]);
});
