// Two statements of the journal on one executable become one. In the life of one store the later says all that the earlier
// did. But a store that lost everything begins anew, and what is reported to it then says less. Records, sets of sources
// and agents' frames only grow: so a later statement that lacks something is one of a store that had lost it.
import { decode, encode } from '@symkeep/protocol';
import { FrameWindow } from '../catalog/frame-window.ts';
import { StoredRecord } from '../catalog/stored-record.ts';
import { withEarlier } from '../catalog/with-earlier.ts';
import { isContinued, joinedSets, type SourceSet } from '../sources/source-set.ts';
import type { JournalEntry } from './journal.ts';

export function joinEntries(earlier: JournalEntry, later: JournalEntry): JournalEntry {
  const { id } = later;
  const sources = earlier.sources && later.sources ? joinSets(earlier.sources, later.sources) : null;
  return {
    id,
    record: joinRecords(earlier, later),
    frames: joinFrames(earlier.frames, later.frames),
    sources: sources ?? later.sources ?? earlier.sources,
  };
}

// Symbols may be taken back, by a set that says so.
function joinRecords(earlier: JournalEntry, later: JournalEntry): Uint8Array {
  if (isSame(earlier.record, later.record)) return later.record;
  const [before, now] = [earlier, later].map(({ record }) => StoredRecord.read(record).record);
  const isKept =
    later.sources !== null &&
    (earlier.sources === null || isContinued(setIn(earlier.sources), setIn(later.sources)));
  const joined = withEarlier(now!, before!, isKept ? now!.symbols : undefined);
  return joined === now ? later.record : StoredRecord.of(joined).wire;
}

function joinFrames(earlier: JournalEntry['frames'], later: JournalEntry['frames']): JournalEntry['frames'] {
  if (earlier.length === 0) return later;
  const joined = new Map(earlier);
  for (const [window, value] of later) {
    const before = joined.get(window);
    joined.set(window, before === undefined ? value : joinWindows(before, value));
  }
  return [...joined];
}

/** Windows of agents' frames, as stored. */
export function joinWindows(earlier: Uint8Array, later: Uint8Array): Uint8Array {
  if (isSame(earlier, later)) return later;
  const [before, now] = [earlier, later].map((wire) => FrameWindow.read(wire, 0));
  return now!.joinedWith(before!)?.wire ?? later;
}

/** Sets of sources, as stored. */
export function joinSets(earlier: Uint8Array, later: Uint8Array): Uint8Array {
  if (isSame(earlier, later)) return later;
  const now = setIn(later);
  const joined = joinedSets(setIn(earlier), now);
  return joined === now ? later : encode(joined, 'msgpack');
}

function setIn(bytes: Uint8Array): SourceSet {
  return decode(bytes, 'msgpack') as SourceSet;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
