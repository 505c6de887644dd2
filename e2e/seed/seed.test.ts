import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { cases } from './cases.ts';
import { cacheExecutables, executables, type Outcome, replayDesigns, replayOurs } from './history.ts';
import { hour } from './world.ts';

describe('seed: two days of a host with 20,000 executables and a cache of 4,096', () => {
  let byDesign: Map<string, Outcome>;
  const outcomeOf = (part: string) => [...byDesign.values()].find(({ design }) => design.includes(part))!;

  beforeAll(() => {
    byDesign = new Map(replayDesigns().map((outcome) => [outcome.design, outcome]));
  });

  it('loses names for hours with mismatched lifetimes (P#244)', () => {
    const { longestNamelessMs, nameless } = outcomeOf('P#244');
    expect(longestNamelessMs).toBeGreaterThan(4 * hour);
    expect(longestNamelessMs).toBeLessThan(6 * hour);
    expect(nameless).toBeGreaterThan(100_000);
  });

  it('flickers once an hour when a miss is healed a report later (P#248 a)', () => {
    const { flickered, longestNamelessMs } = outcomeOf('P#248 a');
    expect(flickered).toBeGreaterThan(100);
    expect(longestNamelessMs).toBe(0);
  });

  it('sticks without names for ever when told once (P#248 b)', () => {
    const { lost, longestNamelessMs } = outcomeOf('P#248 b');
    expect(longestNamelessMs).toBeGreaterThan(46 * hour);
    expect(lost).toBeGreaterThan(1_000);
  });

  it('drops what a bounded receiver evicts (P#250)', () => {
    const { nameless, entries } = outcomeOf('P#250');
    expect(nameless).toBeGreaterThan(1_000);
    expect(entries).toBeGreaterThan(executables);
  });

  it('still loses names with every other proposal but the one without bounds', () => {
    for (const part of ['told every 10 min', 'on both sides'])
      expect(outcomeOf(part).nameless).toBeGreaterThan(1_000);
    expect(outcomeOf('no bounds')).toMatchObject({ nameless: 0, entries: 2 * executables });
  });

  it('names every sample with symkeep, within its bound', async () => {
    const ours = await replayOurs();
    expect(ours.outOfName).toEqual([]);
    expect(ours).toMatchObject({ nameless: 0, lost: 0, flickered: 0, answeredLive: 0 });
    expect(ours.entriesMax).toBeLessThanOrEqual(cacheExecutables);
    // Told once, and checked once a day.
    expect(ours.sent).toBe(executables);
  });
});

describe('seed: faults, whole again within two cycles', () => {
  it.each(Object.entries(cases))('%s', async (_, run) => {
    await run({});
  });
});

/** Each mechanism switched off, in the code that ships or between servers and store, and a case that must then fail. */
const mutations = [
  {
    mechanism: 'refresh on use',
    breaks: 'used entries stay',
    change: { file: 'cache/src/lru.ts', from: '    rows[at] = tick;\n    table.touch(row);\n', to: '' },
  },
  { mechanism: 'epoch', breaks: 'a failover that loses 3 s of writes', faults: { freezesEpoch: true } },
  { mechanism: 'epoch', breaks: 'two stores behind one address', faults: { freezesEpoch: true } },
  {
    mechanism: 'identity of the nodes',
    breaks: 'a failover that loses 3 s of writes',
    faults: { hidesIdentity: true },
  },
  {
    mechanism: 'guard against overtaken loads',
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
    mechanism: 'ambiguous IDs',
    breaks: 'two files with one GNU ID',
    change: { file: 'protocol/src/record.ts', from: 'layouts.length === layoutsMax,', to: 'false,' },
  },
] as const;

describe('seed: mutations', () => {
  it.each(mutations)('without $mechanism, "$breaks" fails', async (mutation) => {
    const env = {
      FAULTS: JSON.stringify('faults' in mutation ? mutation.faults : {}),
      ...('change' in mutation ? { MUTATION: JSON.stringify(mutation.change) } : {}),
    };
    const { code, said } = await runCase(mutation.breaks, env);
    expect([code, said]).toEqual([1, expect.any(String)]);
  });
});

function runCase(
  name: string,
  env: Readonly<Record<string, string>>,
): Promise<{ code: number | null; said: string }> {
  const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const hook = 'MUTATION' in env ? ['--import', file('mutate.ts')] : [];
  const child = spawn(process.execPath, [...hook, file('run-case.ts'), name], {
    env: { ...process.env, ...env },
  });
  let said = '';
  child.stderr.on('data', (text) => {
    said += String(text);
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, said })));
}
