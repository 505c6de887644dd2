// The record of a store that had lost everything, joined with the one of before: what was reported since lacks what the
// earlier had, so that says what its symbols are.
import { type ExecutableRecord, mergeRecords, sameFacts } from '@symkeep/protocol';

/** `now` itself if the earlier record has nothing that it lacks; else one that is newer than both. */
export function withEarlier(
  now: ExecutableRecord,
  earlier: ExecutableRecord,
  symbols = now.symbols.state === 'ready' ? now.symbols : earlier.symbols,
): ExecutableRecord {
  const joined = { ...mergeRecords(now, earlier), symbols };
  if (sameFacts(joined, now) && joined.firstSeen === now.firstSeen) return now;
  const version = Math.max(now.version, earlier.version) + 1;
  const generation = Math.max(now.generation, earlier.generation) + 1;
  return { ...joined, version, generation };
}
