// The figures of docs/seed-cases.md: each is the start of a row there. The test compares; `npm run seed` prints them all.
import { faultCases, type Healing } from './faults.ts';
import { type Outcome, replayDesigns, replayOurs } from './history.ts';
import { type Mutation, mutations } from './mutations.ts';
import { cycleMs, hour } from './world.ts';

const grouped = new Intl.NumberFormat('en-GB');

function row(...cells: readonly (string | number)[]): string {
  return `| ${cells.map((cell) => (typeof cell === 'number' ? grouped.format(cell) : cell)).join(' | ')} |`;
}

export function designRow(outcome: Outcome): string {
  const { design, samples, nameless, longestNamelessMs, flickered, lost, sent, remembered, held } = outcome;
  const share = `${((100 * nameless) / samples).toFixed(1)} %`;
  const longest = `${(longestNamelessMs / hour).toFixed(1)} h`;
  return row(design, nameless, share, longest, flickered, lost, sent, remembered, held);
}

export function faultRow(fault: string, { broken, wholeMs }: Healing): string {
  // A cycle lasts up to a fifth longer than it is set to.
  return row(fault, broken, `${wholeMs / 1_000} s`, Math.ceil(wholeMs / (cycleMs * 1.2)));
}

export function mutationRow({ mechanism, breaks }: Mutation): string {
  return row(mechanism, breaks);
}

if (import.meta.main) {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  for (const outcome of [...replayDesigns(), await replayOurs()]) print(designRow(outcome));
  for (const [fault, run] of Object.entries(faultCases)) print(faultRow(fault, await run({})));
  for (const mutation of mutations) print(mutationRow(mutation));
}
