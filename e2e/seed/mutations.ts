// Each mechanism switched off, in the code that ships or between servers and store, and a case that must then fail.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { StoreFaults } from './store-faults.ts';

export interface Mutation {
  readonly mechanism: string;
  /** The case that fails without it. */
  readonly breaks: string;
  /** One place in one module, as `mutate.ts` changes it. */
  readonly change?: { readonly file: string; readonly from: string; readonly to: string };
  readonly faults?: StoreFaults;
}

export const mutations: readonly Mutation[] = [
  {
    mechanism: 'refresh on use: the place among the used',
    breaks: 'used entries stay',
    change: {
      file: 'cache/src/lru.ts',
      from: '    rows[at] = tick;\n    table.touch(row);\n',
      to: '    rows[at] = tick;\n',
    },
  },
  {
    mechanism: 'refresh on use: the lifetime',
    breaks: 'used entries stay',
    change: {
      file: 'cache/src/lru.ts',
      from: '    rows[at] = tick;\n    table.touch(row);\n',
      to: '    table.touch(row);\n',
    },
  },
  {
    mechanism: 'epoch',
    breaks: 'a failover that loses 3 s of writes',
    faults: { freezesEpoch: true },
  },
  { mechanism: 'epoch', breaks: 'two stores behind one address', faults: { freezesEpoch: true } },
  {
    mechanism: 'witness (the identity of each master)',
    breaks: 'a failover that loses 3 s of writes',
    faults: { hidesIdentity: true },
  },
  {
    mechanism: 'witness (the identity of each master)',
    breaks: 'Redis killed, a second of writes lost',
    faults: { hidesIdentity: true },
  },
  {
    mechanism: 'generation guard',
    breaks: 'a load overtaken by a change',
    change: { file: 'cache/src/tiered-cache.ts', from: 'else if (!isFresh)', to: 'else if (false)' },
  },
  {
    mechanism: 'absolute lifetime of absences',
    breaks: 'a hot unknown without its event',
    change: {
      file: 'cache/src/absences.ts',
      from: 'this.#overdueTicks(row) < 0) {\n      this.#hits++;\n      return true;',
      to: 'this.#overdueTicks(row) < 0) {\n      this.cancel(key, offset, lo, hi);\n      this.add(key, offset, lo, hi);\n      return true;',
    },
  },
  {
    mechanism: 'ambiguity',
    breaks: 'two files with one GNU ID',
    change: { file: 'protocol/src/record.ts', from: 'layouts.length === layoutsMax,', to: 'false,' },
  },
];

/** Runs the case without the mechanism, in a process of its own: 1 and what the assertion said if it fails as it must. */
export function runWithout({
  breaks,
  change,
  faults = {},
}: Mutation): Promise<{ code: number | null; said: string }> {
  const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const hook = change === undefined ? [] : ['--import', file('mutate.ts')];
  const child = spawn(process.execPath, [...hook, file('run-case.ts'), breaks], {
    env: {
      ...process.env,
      FAULTS: JSON.stringify(faults),
      ...(change === undefined ? {} : { MUTATION: JSON.stringify(change) }),
    },
  });
  let said = '';
  child.stderr.on('data', (text) => {
    said += String(text);
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, said })));
}
