// How long each tier of the agent keeps what it holds, and what the agent believes of others: checked at every start, so
// that no combination can lose what is in use.
import { checkLifetimes, type Leaving, type Lifetimes } from '@symkeep/cache';

/** First lifetime of an absence, and the longest that one found again and again gets. */
export const absenceMs = 60_000;
export const absenceMaxMs = 600_000;

const files = 'mapped files of this host';
const store = 'symbol server';
const absence = { by: 'age', ms: absenceMaxMs, extendedByUse: false } as const;

/** `cacheIdleMs`: after how long an unused record leaves the cache, if at all. */
export function agentLifetimes(cacheIdleMs?: number): Lifetimes {
  const leaves: readonly Leaving[] = [
    { by: 'capacity' },
    ...(cacheIdleMs === undefined ? [] : [{ by: 'idle', ms: cacheIdleMs } as const]),
  ];
  return {
    tiers: [
      // A file stays what it is for as long as a process has it mapped.
      { name: files, holds: 'facts', leaves: [], asks: null },
      { name: store, holds: 'facts', leaves: [], asks: null },
      { name: 'records of the agent', holds: 'facts', leaves, asks: store },
      { name: 'frames of the agent', holds: 'facts', leaves, asks: store },
      { name: 'unknown IDs', holds: 'absences', leaves: [absence], cancelledByEvent: true },
      { name: 'addresses without symbols yet', holds: 'absences', leaves: [absence], cancelledByEvent: true },
    ],
    memories: [{ name: 'reported marks', sender: files, receiver: store, ms: null, endsWithEpoch: true }],
  };
}

/** Throws `IllegalLifetimes`. */
export function declareLifetimes(cacheIdleMs?: number): void {
  checkLifetimes(agentLifetimes(cacheIdleMs));
}
