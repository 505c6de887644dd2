// What server and agent declare of their caches is legal, and what loses facts in the field would not be.
import {
  checkLifetimes,
  type FactTier,
  IllegalLifetimes,
  type Leaving,
  type Lifetimes,
} from '@symkeep/cache';
import { expect, it } from 'vitest';
import { agentLifetimes } from '../../agent-client/src/index.ts';
import { serverLifetimes } from '../src/lifetimes.ts';

const hourMs = 3_600_000;

/** The same with another way for things to leave one tier. */
function changed(lifetimes: Lifetimes, name: string, leaves: readonly Leaving[]): Lifetimes {
  const tiers = lifetimes.tiers.map((tier) => (tier.name === name ? { ...tier, leaves } : tier));
  expect(tiers).not.toEqual(lifetimes.tiers);
  return { ...lifetimes, tiers };
}

function faultsOf(lifetimes: Lifetimes): string[] {
  try {
    checkLifetimes(lifetimes);
    return [];
  } catch (error) {
    if (error instanceof IllegalLifetimes) return error.violations.map(({ fault }) => fault);
    throw error;
  }
}

it('what both declare is legal, with and without an idle lifetime', () => {
  expect([serverLifetimes, agentLifetimes(), agentLifetimes(hourMs)].map(faultsOf)).toEqual([[], [], []]);
});

it('a cache whose facts end an hour after insertion would be refused at the start (P#244)', () => {
  const aged = [{ by: 'age', ms: hourMs, extendedByUse: false }] as const;
  for (const [lifetimes, name] of [
    [agentLifetimes(), 'records of the agent'],
    [serverLifetimes, 'records of the process'],
  ] as const)
    expect(faultsOf(changed(lifetimes, name, aged))).toEqual(['fact_expires']);
});

it('a store that evicts would be refused: its caches have nobody else to ask, and agents believe that it keeps all', () => {
  const evicts = [{ by: 'capacity' }] as const;
  const caches = serverLifetimes.tiers.filter(
    (tier): tier is FactTier => tier.holds === 'facts' && tier.asks !== null,
  );
  expect(faultsOf(changed(serverLifetimes, 'store', evicts))).toEqual([
    'fact_not_reloaded',
    ...caches.map(() => 'fact_not_reloaded'),
  ]);
  expect(faultsOf(changed(agentLifetimes(), 'symbol server', evicts))).toContain('memory_outlives_receiver');
});

it('marks that outlive the epoch would be refused (P#248 b)', () => {
  const lasting = agentLifetimes().memories.map((memory) => ({ ...memory, endsWithEpoch: false }));
  expect(faultsOf({ ...agentLifetimes(), memories: lasting })).toEqual(['memory_outlives_epoch']);
});

it('absences that use prolongs would be refused', () => {
  const prolonged = [{ by: 'age', ms: 60_000, extendedByUse: true }] as const;
  expect(faultsOf(changed(agentLifetimes(), 'unknown IDs', prolonged))).toEqual(['absence_extended_by_use']);
});
