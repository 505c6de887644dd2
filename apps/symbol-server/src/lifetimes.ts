// How long each tier of the server keeps what it holds: checked at every start, so that no combination can lose what is in
// use. The server keeps no absences (what the store does not have is asked of it each time), and remembers of nobody that
// it has been told something.
import { checkLifetimes, type FactTier, type Lifetimes } from '@symkeep/cache';

const store = 'store';

function processCache(name: string): FactTier {
  return { name, holds: 'facts', leaves: [{ by: 'capacity' }], asks: store };
}

export const serverLifetimes: Lifetimes = {
  tiers: [
    // No EXPIRE on a fact, `noeviction`, and an epoch that says when it was lost all the same.
    { name: store, holds: 'facts', leaves: [], asks: null },
    processCache('records of the process'),
    processCache('frames of the process that agents reported'),
    processCache('symbol tables of the process'),
    processCache('pages of the process'),
  ],
  memories: [],
};

/** Throws `IllegalLifetimes`. */
export function declareLifetimes(): void {
  checkLifetimes(serverLifetimes);
}
