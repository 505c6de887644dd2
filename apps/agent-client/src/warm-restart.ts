// Reading and keeping the snapshot: never in the way of the agent's work. What cannot be read is counted by reason and
// left aside, and the agent starts as if there were none.
import type { Log } from './log.ts';
import {
  decodeSnapshot,
  encodeSnapshot,
  type Snapshot,
  SnapshotError,
  type SnapshotFault,
} from './snapshot.ts';
import type { SnapshotPlace } from './snapshot-file.ts';

export interface SnapshotCounts {
  written: number;
  writeFailures: number;
  restored: number;
  readonly ignored: Record<SnapshotFault | 'unreadable', number>;
}

export function noSnapshotCounts(): SnapshotCounts {
  return {
    written: 0,
    writeFailures: 0,
    restored: 0,
    ignored: { corrupt: 0, version: 0, foreign: 0, unreadable: 0 },
  };
}

/** The snapshot of this host, if there is one that can be used. */
export async function restoreSnapshot(
  place: SnapshotPlace,
  host: string,
  counts: SnapshotCounts,
  log: Log,
): Promise<Snapshot | undefined> {
  try {
    const bytes = await place.read();
    if (bytes === undefined) return undefined;
    const snapshot = decodeSnapshot(bytes, host);
    counts.restored++;
    return snapshot;
  } catch (error) {
    const reason = error instanceof SnapshotError ? error.fault : 'unreadable';
    counts.ignored[reason]++;
    log.warn('the snapshot is left aside', { reason, error });
    return undefined;
  }
}

export async function keepSnapshot(
  place: SnapshotPlace,
  snapshot: Snapshot,
  counts: SnapshotCounts,
  log: Log,
): Promise<void> {
  try {
    await place.write(encodeSnapshot(snapshot));
    counts.written++;
  } catch (error) {
    counts.writeFailures++;
    log.warn('the snapshot could not be kept', { error });
  }
}
