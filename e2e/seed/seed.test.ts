// The seed cases of docs/seed-cases.md, whose figures must be those that are measured here.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { faultCases } from './faults.ts';
import { designRow, faultRow, mutationRow } from './figures.ts';
import { cacheExecutables, executables, type Outcome, replayDesigns, replayOurs } from './history.ts';
import { mechanismCases } from './mechanisms.ts';
import { mutations, runWithout } from './mutations.ts';
import { hour, serverCacheBytes } from './world.ts';

const page = readFileSync(new URL('../../docs/seed-cases.md', import.meta.url), 'utf8');

describe('seed: two days of a host with 20,000 executables and a cache of 4,096', () => {
  let byDesign: Map<string, Outcome>;
  const outcomeOf = (part: string) => [...byDesign.values()].find(({ design }) => design.includes(part))!;

  beforeAll(() => {
    byDesign = new Map(replayDesigns().map((outcome) => [outcome.design, outcome]));
  });

  it('gives the figures of the page', () => {
    for (const outcome of byDesign.values()) expect(page).toContain(designRow(outcome));
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
    const { nameless, remembered, held } = outcomeOf('P#250');
    expect(nameless).toBeGreaterThan(1_000);
    expect([remembered, held]).toEqual([executables, cacheExecutables]);
  });

  it('still loses names with every other proposal but the one without bounds', () => {
    for (const part of ['told every 10 min', 'on both sides'])
      expect(outcomeOf(part).nameless).toBeGreaterThan(1_000);
    for (const part of ['told every 10 min, room for all', 'on both sides, room for all'])
      expect(outcomeOf(part).nameless).toBeGreaterThan(1_000);
    expect(outcomeOf('no bounds')).toMatchObject({ nameless: 0, remembered: executables, held: executables });
  });

  it('names every sample with symkeep, within its bound', { timeout: 900_000 }, async () => {
    const ours = await replayOurs();
    expect(ours.outOfName).toEqual([]);
    expect(ours).toMatchObject({ nameless: 0, lost: 0, flickered: 0, answeredLive: 0 });
    expect(ours.held).toBeLessThanOrEqual(cacheExecutables);
    expect(ours.serverBytesMax).toBeLessThanOrEqual(serverCacheBytes);
    // Told once, and checked once a day.
    expect([ours.sent, ours.remembered]).toEqual([executables, executables]);
    expect(page).toContain(designRow(ours));
  });
});

describe('seed: faults, whole again within two cycles', () => {
  it.each(Object.entries(faultCases))('%s', async (fault, run) => {
    expect(page).toContain(faultRow(fault, await run({})));
  });
});

describe('seed: what each mechanism is for', () => {
  it.each(Object.entries(mechanismCases))('%s', (_, run) => run({}));
});

describe('seed: mutations', () => {
  it.each(mutations)('without $mechanism, "$breaks" fails', async (mutation) => {
    expect(page).toContain(mutationRow(mutation));
    const { code, said } = await runWithout(mutation);
    expect([code, said]).toEqual([1, expect.any(String)]);
  });
});
