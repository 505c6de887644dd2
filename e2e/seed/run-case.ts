// Runs one case in a process of its own: exits 0 if all is whole, 1 with the assertion that says what is not.
import { AssertionError } from 'node:assert';
import { faultCases } from './faults.ts';
import { mechanismCases } from './mechanisms.ts';

const cases = { ...faultCases, ...mechanismCases };
const name = process.argv[2] ?? '';
const run = cases[name];
if (run === undefined) {
  process.stderr.write(`no such case; there are:\n${Object.keys(cases).join('\n')}\n`);
  process.exit(2);
}
try {
  await run(JSON.parse(process.env.FAULTS ?? '{}'));
} catch (error) {
  process.stderr.write(`${error instanceof AssertionError ? error.message : (error as Error).stack}\n`);
  process.exit(error instanceof AssertionError ? 1 : 3);
}
