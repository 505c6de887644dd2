// What every benchmark shares: subjects measured in turn, medians, one table on stdout and one JSON file of results.

import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';

export interface Subject {
  readonly name: string;
  /** Takes one sample: of what, in which unit, is the benchmark's own affair. */
  readonly sample: () => number | Promise<number>;
}

interface Row {
  case: string;
  subject: string;
  value: number;
  unit: string;
}

const defaultRounds = 7;
// Rounds that are thrown away: the compiler is not done before.
const warmUpRounds = 2;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Nanoseconds for each of the operations that `run` says it has done. */
export async function timed(run: () => number | Promise<number>): Promise<number> {
  const start = process.hrtime.bigint();
  const operations = await run();
  return Number(process.hrtime.bigint() - start) / operations;
}

/** Samples the subjects in turn (A B C A B C …), so that what slows the machine slows all; gives each one's median. */
export async function measureInTurn(
  subjects: readonly Subject[],
  rounds: number = defaultRounds,
  warmUps: number = warmUpRounds,
): Promise<Map<string, number>> {
  const samples = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
  for (let round = -warmUps; round < rounds; round++) {
    for (const { name, sample } of subjects) {
      const value = await sample();
      if (round >= 0) samples.get(name)?.push(value);
    }
  }
  return new Map([...samples].map(([name, values]) => [name, median(values)]));
}

/** Rows and ratios of one benchmark. A ratio above 1 means that symkeep is ahead. */
export class Report {
  readonly #name: string;
  readonly #rows: Row[] = [];
  readonly #ratios: Record<string, number> = {};

  constructor(name: string) {
    this.#name = name;
  }

  add(caseName: string, subject: string, value: number, unit: string): void {
    this.#rows.push({ case: caseName, subject, value: rounded(value), unit });
  }

  addAll(caseName: string, values: ReadonlyMap<string, number>, unit: string): void {
    for (const [subject, value] of values) this.add(caseName, subject, value, unit);
  }

  ratio(what: string, value: number): void {
    this.#ratios[what] = rounded(value);
  }

  /** Prints the tables and writes `bench/results/<name>.json`. */
  publish(): void {
    const machine = `${os.cpus()[0]?.model ?? 'unknown'}, ${os.cpus().length} cores, Node ${process.versions.node}`;
    const results = { name: this.#name, machine, rows: this.#rows, ratios: this.#ratios };
    const directory = new URL('results/', import.meta.url);
    mkdirSync(directory, { recursive: true });
    writeFileSync(new URL(`${this.#name}.json`, directory), `${JSON.stringify(results, null, 2)}\n`);
    console.log(`${this.#name}: ${machine}\n`);
    const rows = this.#rows.map((row) => [row.case, row.subject, String(row.value), row.unit]);
    console.log(tableOf(['case', 'subject', 'value', 'unit'], rows));
    console.log(
      tableOf(
        ['ratio', ''],
        Object.entries(this.#ratios).map(([what, value]) => [what, `${value}×`]),
      ),
    );
  }
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => cell.padEnd(widths[i]!)).join('  ');
  return `${[line(head), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(line)].join('\n')}\n`;
}

function rounded(value: number): number {
  return Number(value.toPrecision(value >= 1000 ? 6 : 3));
}
