// symkeep-agent scan: one pass over this host, and what it found.
import { defineCommand } from '@symkeep/options';
import { canonicalIdOf, formatAddress } from '@symkeep/protocol';
import { nodeFiles } from '../discovery/host-files.ts';
import { type Pass, problems } from '../discovery/live-file.ts';
import { ProcessScanner } from '../discovery/process-scanner.ts';
import { Inventory, type LiveExecutable } from '../inventory.ts';
import { hostOptions, outputOptions } from '../options.ts';

export const scanCommand = defineCommand({
  name: 'scan',
  describe: 'one pass over this host: a line for each executable that a process has mapped',
  options: { ...hostOptions, ...outputOptions },
  more: 'Each line: ID, machine, processes, path. A summary goes to stderr.',
  run: async ({ proc, sys, json }) => {
    const scanner = new ProcessScanner({ files: nodeFiles, proc, sys });
    const pass = await scanner.scan();
    const inventory = new Inventory();
    inventory.apply(pass);
    const processes = processesByKey(pass, inventory);
    const rows = [...inventory.values()].sort((a, b) => (a.executable.name < b.executable.name ? -1 : 1));
    for (const live of rows) {
      process.stdout.write(`${(json ? jsonOf : textOf)(live, processes.get(live.key) ?? 0)}\n`);
    }
    process.stderr.write(`${summaryOf(pass, inventory)}\n`);
    return 0;
  },
});

function processesByKey({ appeared }: Pass, inventory: Inventory): Map<string, number> {
  const keys = new Map([...inventory.files()].map(([identity, { key }]) => [identity, key]));
  const processes = new Map<string, number>();
  for (const file of appeared) {
    const key = keys.get(file.identity) ?? '';
    processes.set(key, (processes.get(key) ?? 0) + file.processes);
  }
  return processes;
}

function textOf({ executable: { ids, name, arch } }: LiveExecutable, processes: number): string {
  return `${canonicalIdOf(ids).padEnd(44)} ${arch.padEnd(7)} ${String(processes).padStart(5)} ${name}`;
}

function jsonOf({ executable, files }: LiveExecutable, processes: number): string {
  const { ids, name, arch, type, size, load } = executable;
  return JSON.stringify({
    ...{ id: canonicalIdOf(ids), ids, name, arch, type, size },
    load: load.map((segment) => segment.map(formatAddress)),
    ...{ processes, files },
  });
}

function summaryOf({ processes, problems: counts }: Pass, { size }: Inventory): string {
  const left = problems
    .filter((problem) => counts[problem] > 0)
    .map((problem) => `${problem} ${counts[problem]}`);
  return `${processes} processes, ${size} executables${left.length === 0 ? '' : `; not read: ${left.join(', ')}`}`;
}
