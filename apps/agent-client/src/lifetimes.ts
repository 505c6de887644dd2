// How long each tier of the agent keeps what it holds, and what the agent believes of others: checked at every start, so
// that no combination can lose what is in use.
import { checkLifetimes, type Lifetimes } from '@symkeep/cache';

/** First lifetime of an absence, and the longest that one found again and again gets. */
export const absenceMs = 60_000;
export const absenceMaxMs = 600_000;

const files = 'mapped files of this host';
const store = 'symbol server';
const absence = { by: 'age', ms: absenceMaxMs, extendedByUse: false } as const;

export const agentLifetimes: Lifetimes = {
  tiers: [
    // A file stays what it is for as long as a process has it mapped.
    { name: files, holds: 'facts', leaves: [], asks: null },
    { name: store, holds: 'facts', leaves: [], asks: null },
    { name: 'records of the agent', holds: 'facts', leaves: [{ by: 'capacity' }], asks: store },
    { name: 'frames of the agent', holds: 'facts', leaves: [{ by: 'capacity' }], asks: store },
    { name: 'unknown IDs', holds: 'absences', leaves: [absence], cancelledByEvent: true },
    { name: 'addresses without symbols yet', holds: 'absences', leaves: [absence], cancelledByEvent: true },
  ],
  memories: [{ name: 'reported marks', sender: files, receiver: store, ms: null, endsWithEpoch: true }],
};

/** Throws `IllegalLifetimes`. */
export function declareLifetimes(): void {
  checkLifetimes(agentLifetimes);
}
