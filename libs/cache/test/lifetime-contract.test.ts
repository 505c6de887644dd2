import { describe, expect, test } from 'vitest';
import {
  type AbsenceTier,
  checkLifetimes,
  type FactTier,
  IllegalLifetimes,
  type LifetimeFault,
  type Lifetimes,
  type LifetimeViolation,
  type Memory,
} from '../src/index.ts';

const hourMs = 3_600_000;

const host: FactTier = { name: 'host files', holds: 'facts', leaves: [], asks: null };
const agent: FactTier = { name: 'agent', holds: 'facts', leaves: [{ by: 'capacity' }], asks: 'server' };
const server: FactTier = { name: 'server', holds: 'facts', leaves: [{ by: 'capacity' }], asks: 'store' };
const store: FactTier = { name: 'store', holds: 'facts', leaves: [], asks: null };
const unknown: AbsenceTier = {
  name: 'absences',
  holds: 'absences',
  leaves: [{ by: 'age', ms: 60_000, extendedByUse: false }, { by: 'capacity' }],
  cancelledByEvent: true,
};
const reported: Memory = {
  name: 'reported',
  sender: 'host files',
  receiver: 'store',
  ms: null,
  endsWithEpoch: true,
};
const legal: Lifetimes = { tiers: [host, agent, server, store, unknown], memories: [reported] };

function violationsOf(lifetimes: Lifetimes): readonly LifetimeViolation[] {
  try {
    checkLifetimes(lifetimes);
    return [];
  } catch (error) {
    if (error instanceof IllegalLifetimes) return error.violations;
    throw error;
  }
}

function faultsOf(change: Partial<Lifetimes>): readonly LifetimeFault[] {
  return violationsOf({ ...legal, ...change }).map(({ fault }) => fault);
}

const withTier = (tier: FactTier | AbsenceTier) => ({
  tiers: [...legal.tiers.filter(({ name }) => name !== tier.name), tier],
});

test('symkeep’s own tiers are legal', () => {
  expect(() => checkLifetimes(legal)).not.toThrow();
  expect(faultsOf(withTier({ ...agent, leaves: [{ by: 'capacity' }, { by: 'idle', ms: hourMs }] }))).toEqual(
    [],
  );
});

test('the design that lost metadata after an hour is refused, in words', () => {
  const old: Lifetimes = {
    tiers: [
      {
        name: 'ELF info cache',
        holds: 'facts',
        leaves: [{ by: 'capacity' }, { by: 'idle', ms: 6 * hourMs }],
        asks: 'host files',
      },
      host,
      {
        name: 'executables cache',
        holds: 'facts',
        leaves: [{ by: 'age', ms: hourMs, extendedByUse: false }, { by: 'capacity' }],
        asks: null,
      },
    ],
    memories: [
      {
        name: 'known to the ELF info cache',
        sender: 'ELF info cache',
        receiver: 'executables cache',
        ms: 6 * hourMs,
        endsWithEpoch: false,
      },
    ],
  };
  expect(violationsOf(old).map(({ fault, subject }) => [fault, subject])).toEqual([
    ['fact_expires', 'executables cache'],
    ['fact_not_reloaded', 'executables cache'],
    ['memory_outlives_receiver', 'known to the ELF info cache'],
  ]);
  expect(() => checkLifetimes(old)).toThrow(
    '"known to the ELF info cache" remembers for 6 h that "executables cache" has what it was sent, but "executables cache" drops it 1 h after insertion, evicts when full and does not ask "ELF info cache" on a miss: for up to 5 h what is in use is missing there',
  );
});

test('the proposals to mend it by lifetimes alone are refused too', () => {
  const receiver = (leaves: FactTier['leaves']): FactTier => ({
    name: 'receiver',
    holds: 'facts',
    leaves,
    asks: null,
  });
  const told: Memory = {
    name: 'told',
    sender: 'host files',
    receiver: 'receiver',
    ms: hourMs,
    endsWithEpoch: true,
  };
  const faults = (leaves: FactTier['leaves'], ms: number | null = hourMs) =>
    violationsOf({ tiers: [host, receiver(leaves)], memories: [{ ...told, ms }] }).map(({ fault }) => fault);
  const age = (extendedByUse: boolean) => ({ by: 'age', ms: hourMs, extendedByUse }) as const;
  expect(faults([age(false)], hourMs)).toContain('memory_outlives_receiver');
  expect(faults([age(false)], hourMs / 12)).toContain('memory_outlives_receiver');
  expect(faults([age(true)])).toContain('fact_expires');
  expect(faults([{ by: 'capacity' }], null)).toEqual(['fact_not_reloaded', 'memory_outlives_receiver']);
});

describe('refused', () => {
  const cases: readonly [string, Partial<Lifetimes>, readonly LifetimeFault[]][] = [
    [
      'a memory that no epoch ends',
      { memories: [{ ...reported, endsWithEpoch: false }] },
      ['memory_outlives_epoch'],
    ],
    [
      'a memory of a tier that evicts and asks another',
      { memories: [{ ...reported, receiver: 'server' }] },
      ['memory_outlives_receiver'],
    ],
    [
      'a cache that asks only caches',
      withTier({ ...server, asks: 'agent' }),
      ['fact_not_reloaded', 'fact_not_reloaded'],
    ],
    ['a cache that asks itself', withTier({ ...agent, asks: 'agent' }), ['fact_not_reloaded']],
    [
      'a tier that is not declared',
      withTier({ ...server, asks: 'archive' }),
      ['unknown_tier', 'fact_not_reloaded', 'fact_not_reloaded'],
    ],
    ['a memory of nobody', { memories: [{ ...reported, receiver: 'archive' }] }, ['unknown_tier']],
    ['two tiers of one name', { tiers: [...legal.tiers, agent] }, ['duplicate_tier']],
    [
      'a store that expires facts',
      withTier({ ...store, leaves: [{ by: 'idle', ms: 1 }] }),
      ['fact_not_reloaded', 'fact_not_reloaded', 'fact_not_reloaded', 'memory_outlives_receiver'],
    ],
    [
      'an absence for ever',
      withTier({ ...unknown, leaves: [{ by: 'capacity' }] }),
      ['absence_without_lifetime'],
    ],
    [
      'an absence that use extends',
      withTier({ ...unknown, leaves: [{ by: 'age', ms: 60_000, extendedByUse: true }] }),
      ['absence_extended_by_use'],
    ],
    [
      'an absence that no upload ends',
      withTier({ ...unknown, cancelledByEvent: false }),
      ['absence_not_cancelled'],
    ],
  ];
  for (const [what, change, faults] of cases) {
    test(what, () => expect([...faultsOf(change)].sort()).toEqual([...faults].sort()));
  }
});

test('a memory of a tier that evicts is legal if that tier asks the sender again', () => {
  expect(
    faultsOf({ memories: [{ ...reported, sender: 'server', receiver: 'agent', endsWithEpoch: false }] }),
  ).toEqual([]);
});

test('a refusal says for how long something in use would be missing, by the shortest of the ways it leaves', () => {
  const told: Memory = { ...reported, name: 'told', receiver: 'receiver', ms: 6 * hourMs };
  const said = (leaves: FactTier['leaves'], ms: number | null = told.ms): string => {
    const receiver: FactTier = { name: 'receiver', holds: 'facts', leaves, asks: null };
    const violations = violationsOf({ tiers: [host, receiver], memories: [{ ...told, ms }] });
    return violations.find(({ subject }) => subject === 'told')?.message ?? '';
  };
  const idle = (ms: number) => ({ by: 'idle', ms }) as const;
  expect(said([idle(2 * hourMs), { by: 'age', ms: hourMs, extendedByUse: true }])).toBe(
    '"told" remembers for 6 h that "receiver" has what it was sent, but "receiver" drops what was unused for 2 h, drops it 1 h after its last use and does not ask "host files" on a miss: for up to 5 h what is in use is missing there',
  );
  for (const [leaves, ms] of [
    [[idle(90_000)], null],
    [[{ by: 'capacity' }], 6 * hourMs],
    [[idle(6 * hourMs)], 6 * hourMs],
  ] as const)
    expect(said(leaves, ms)).toMatch(/: what has left stays missing there until the belief ends$/);
  expect(said([idle(90_000)], null)).toContain('remembers as long as it runs that');
  expect(said([idle(1_500)])).toContain('drops what was unused for 1500 ms');
});
