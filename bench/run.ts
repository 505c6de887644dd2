// `npm run bench -- [name…]`: runs the benchmarks named, or all. Every file beside this one, but for the report, is one;
// each gets a process of its own, so that none inherits another's heap and compiled code.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const directory = new URL('.', import.meta.url);
const shared = new Set(['run', 'report']);

const names = readdirSync(directory)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => basename(file, '.ts'))
  .filter((name) => !shared.has(name));
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(', ')}; there are: ${names.join(', ')}`);
  process.exit(2);
}
const failed = (asked.length > 0 ? asked : names).filter((name) => {
  const file = fileURLToPath(new URL(`${name}.ts`, directory));
  return spawnSync(process.execPath, ['--expose-gc', file], { stdio: 'inherit' }).status !== 0;
});
if (failed.length > 0) {
  console.error(`failed: ${failed.join(', ')}`);
  process.exit(1);
}
