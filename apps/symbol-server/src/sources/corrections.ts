// What an admin changes in a set: which table is to be given out, and which files are not to be believed. Each is a change
// of the set under a new version, so the table follows as from any other, and later uploads go on from there.
import { SymkeepError } from '@symkeep/protocol';
import { type Source, type SourceSet, type TableVersion, touched, usableSources } from './source-set.ts';

/** Whatever else comes, this table is given out; null: the one that follows from the files. */
export function withPin(set: SourceSet, digest: string | null, now: number): SourceSet {
  const { pinned, ...unpinned } = set;
  if (digest === null) return pinned === undefined ? set : touched(unpinned, now);
  if (pinned === digest) return set;
  tableIn(set, digest);
  return touched({ ...unpinned, pinned: digest }, now);
}

/** A file is not believed any more, for a reason; null: it is again. */
export function withQuarantine(
  set: SourceSet,
  digest: string,
  reason: string | null,
  now: number,
): SourceSet {
  const found = set.sources.find((source) => source.digest === digest);
  if (found === undefined) throw new SymkeepError('not_found', `there is no file ${digest} of it`);
  const { quarantined, ...free } = found;
  if ((reason ?? undefined) === quarantined) return set;
  const marked: Source = reason === null ? free : { ...free, quarantined: reason };
  return touched({ ...set, sources: set.sources.map((source) => (source === found ? marked : source)) }, now);
}

/**
 * Back to an earlier table, the one before `current` if none is named: the files that it was not made from are
 * quarantined, so that better ones that come later count again.
 */
export function rolledBack(
  set: SourceSet,
  current: string | undefined,
  digest: string | undefined,
  now: number,
): SourceSet {
  const table = digest === undefined ? tableBefore(set, current) : tableIn(set, digest);
  const usable = usableSources(set).map((source) => source.digest);
  const isLost = (one: string) => {
    const source = set.sources.find((known) => known.digest === one);
    return source === undefined || source.quarantined !== undefined;
  };
  if (table.from.some(isLost))
    throw new SymkeepError(
      'conflict',
      `files that ${table.digest} was made from are quarantined: pin it instead`,
    );
  const later = usable.filter((one) => !table.from.includes(one));
  if (later.length === 0 && set.pinned === undefined)
    throw new SymkeepError('conflict', `no file has come since ${table.digest} was made`);
  const reason = `rolled back to ${table.digest}`;
  const sources = set.sources.map((source) =>
    later.includes(source.digest) ? { ...source, quarantined: reason } : source,
  );
  const { pinned: _, ...unpinned } = set;
  return touched({ ...unpinned, sources }, now);
}

function tableIn({ tables }: SourceSet, digest: string): TableVersion {
  const table = tables.find((one) => one.digest === digest);
  if (table === undefined) throw new SymkeepError('not_found', `there is no table ${digest} of it`);
  return table;
}

function tableBefore({ tables }: SourceSet, current: string | undefined): TableVersion {
  const at = tables.findIndex(({ digest }) => digest === current);
  const table = tables[at + 1];
  if (table === undefined || at < 0)
    throw new SymkeepError('conflict', 'there is no earlier table to go back to');
  return table;
}
