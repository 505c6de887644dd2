// What an executable's symbols are made from: the set of files that were brought for it, and the rule by which such
// sets join and rank. A set only grows, so that neither order nor repetition of uploads matters; what an admin takes out
// stays in it, marked. The symbol table is a function of the set.
import { type ExecutableId, type Quality, qualityRank } from '@symkeep/protocol';

/** Least trusted first: the rank is the index. Who can only read a file of a host is trusted less than who built it. */
export const trusts = ['agent', 'upstream', 'ci', 'admin'] as const;
export type Trust = (typeof trusts)[number];

/** An executable holds code; a debug file only describes it, so its table needs the executable's segments as well. */
export type SourceKind = 'executable' | 'debug';

/** Files kept in mind per executable: stripped, full and debug file of each trust, and some that were mended. */
export const sourcesMax = 16;
/** Tables that a rollback may return to. */
export const tablesMax = 8;
/** Executables that wait for one dwz file; those of one package share one. */
export const dependentsMax = 1_024;

/** One file. What it is, is read from its bytes; only `trust` and `at` say how it came. */
export interface Source {
  /** SHA-256 of the file, hex: its name in the blob store too. */
  readonly digest: string;
  readonly bytes: number;
  readonly kind: SourceKind;
  readonly quality: Quality;
  /** Bytes of code that its symbols cover, as far as its sections say; breaks ties of trust and quality. */
  readonly covered: number;
  readonly trust: Trust;
  /** When it first came, Unix milliseconds by the store's clock. */
  readonly at: number;
  /** Build ID of the dwz file that it refers to, hex. */
  readonly alt?: string;
  /** Its bytes are no longer in the blob store: its table is. */
  readonly dropped?: true;
  /** Why an admin, or an extraction that it broke, took it out. */
  readonly quarantined?: string;
}

/** A table that was made from sources of the set. */
export interface TableVersion {
  readonly digest: string;
  /** Generation under which it was first given out; 0 if it never was. */
  readonly generation: number;
  /** Version of the table format. */
  readonly format: number;
  readonly quality: Quality;
  /** Digests of the sources it was made from, best first. */
  readonly from: readonly string[];
  /** Something that it should have been made from could not be read. */
  readonly partial?: true;
  readonly at: number;
}

/** What came of making the table of a set. */
export interface Attempt {
  /** Of the set. */
  readonly version: number;
  readonly format: number;
  /** Why there is no table of it. */
  readonly failure?: { readonly code: string; readonly message: string; readonly mayPass: boolean };
  readonly at: number;
}

export interface SourceSet {
  /** Grows with each change, by the store's clock: a table made from an older set never replaces one from a newer. */
  readonly version: number;
  readonly sources: readonly Source[];
  /** Newest first. */
  readonly tables: readonly TableVersion[];
  /** Digest of the table that an admin wants, whatever else comes. */
  readonly pinned?: string;
  /** The last; none follows if it is of this version. */
  readonly attempt?: Attempt;
  /** Executables whose tables lack what a file of this set holds (dwz), and are to be made again when one comes. */
  readonly dependents?: readonly ExecutableId[];
}

export const emptySet: SourceSet = { version: 0, sources: [], tables: [] };

/** Best first: trust, then quality, then bytes of code covered; the digest makes it a total order. */
export function compareSources(a: Source, b: Source): number {
  return (
    trusts.indexOf(b.trust) - trusts.indexOf(a.trust) ||
    qualityRank(b.quality) - qualityRank(a.quality) ||
    b.covered - a.covered ||
    (a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : 0)
  );
}

/** What a table is to be made from, best first. */
export function usableSources({ sources }: SourceSet): Source[] {
  return sources
    .filter(({ quarantined, dropped }) => quarantined === undefined && !dropped)
    .sort(compareSources);
}

/**
 * The set with a file that came; the same set if it says nothing new. One file that came twice has the higher trust of
 * both. Over `sourcesMax` the worst leave.
 */
export function withSource(set: SourceSet, source: Source, now: number): SourceSet {
  const known = set.sources.find(({ digest }) => digest === source.digest);
  const joined = known === undefined ? source : joinSources(known, source);
  if (joined === known) return set;
  const sources = [...set.sources.filter((one) => one !== known), joined]
    .sort(compareSources)
    .slice(0, sourcesMax);
  if (!sources.includes(joined)) return set;
  return { ...set, sources, version: Math.max(set.version + 1, now) };
}

// A file that was dropped and comes again is there again; one that was taken out stays out.
function joinSources(known: Source, again: Source): Source {
  const trust = trusts.indexOf(again.trust) > trusts.indexOf(known.trust) ? again.trust : known.trust;
  if (trust === known.trust && known.dropped === undefined) return known;
  const { dropped: _, ...kept } = known;
  return { ...kept, trust };
}

/** Whether a later set has grown from an earlier one: if not, the store had lost that. */
export function isContinued(earlier: SourceSet, later: SourceSet): boolean {
  const has = (all: readonly { digest: string }[], max: number, { digest }: { digest: string }) =>
    all.length === max || all.some((one) => one.digest === digest);
  return (
    earlier.sources.every((source) => has(later.sources, sourcesMax, source)) &&
    earlier.tables.every((table) => has(later.tables, tablesMax, table))
  );
}

/**
 * The set of a store that had lost everything, joined with the one of before; the same set if that has nothing more. What
 * was taken out in either stays out. Its table is to be made again, of all.
 */
export function joinedSets(earlier: SourceSet, later: SourceSet): SourceSet {
  if (isContinued(earlier, later)) return later;
  const version = Math.max(earlier.version, later.version) + 1;
  const before = new Map(earlier.sources.map((source) => [source.digest, source]));
  const own = later.sources.map((source) => asBefore(source, before.get(source.digest)));
  const lost = earlier.sources.filter(({ digest }) => !own.some((source) => source.digest === digest));
  const sources = [...own, ...lost].sort(compareSources).slice(0, sourcesMax);
  const tables = [...new Map([...earlier.tables, ...later.tables].map((one) => [one.digest, one])).values()]
    .sort((a, b) => b.at - a.at)
    .slice(0, tablesMax);
  const pinned = later.pinned ?? earlier.pinned;
  const dependents = [...new Set([...(earlier.dependents ?? []), ...(later.dependents ?? [])])];
  return {
    ...{ version, sources, tables },
    ...(pinned === undefined ? {} : { pinned }),
    ...(dependents.length === 0 ? {} : { dependents: dependents.slice(0, dependentsMax) }),
  };
}

// Of one file: the higher trust, and the verdict that either has. Whether its bytes are there, the later knows.
function asBefore(now: Source, before: Source | undefined): Source {
  if (before === undefined) return now;
  const trust = trusts.indexOf(before.trust) > trusts.indexOf(now.trust) ? before.trust : now.trust;
  const quarantined = now.quarantined ?? before.quarantined;
  return { ...now, trust, ...(quarantined === undefined ? {} : { quarantined }) };
}

/**
 * The set with a file that an admin wants instead of the others of its kind, whatever they are: these are taken out, and
 * an earlier verdict on the file itself is lifted.
 */
export function replacedBy(set: SourceSet, source: Source, now: number): SourceSet {
  const sources = set.sources.map((one) => {
    if (one.digest === source.digest) {
      const { quarantined: _, ...lifted } = one;
      return lifted;
    }
    const isRival = one.kind === source.kind && one.quarantined === undefined;
    return isRival ? { ...one, quarantined: `replaced by ${source.digest}` } : one;
  });
  const cleared = { ...set, sources, version: Math.max(set.version + 1, now) };
  return withSource(cleared, source, now);
}

/**
 * Whether a file would make the table better: whether it would rank before all others of its kind. Worse is kept out,
 * so that it neither costs room nor work.
 */
export function wouldImprove(
  set: SourceSet,
  offered: Pick<Source, 'kind' | 'quality' | 'covered' | 'trust'>,
): boolean {
  const rivals = set.sources.filter(
    ({ kind, quarantined }) => kind === offered.kind && quarantined === undefined,
  );
  const candidate: Source = { digest: '', bytes: 0, at: 0, ...offered };
  return rivals.every((rival) => compareSources(candidate, { ...rival, digest: '' }) < 0);
}

/** The set under a version that grows: its table is to be made again. */
export function touched(set: SourceSet, now: number): SourceSet {
  return { ...set, version: Math.max(set.version + 1, now) };
}

/** The set with what came of an attempt, and its table. What was erased meanwhile stays empty. */
export function withAttempt(set: SourceSet, attempt: Attempt, table?: TableVersion): SourceSet {
  if (set.version === 0) return set;
  const tables =
    table === undefined
      ? set.tables
      : [table, ...set.tables.filter(({ digest }) => digest !== table.digest)].slice(0, tablesMax);
  const isLater = set.attempt === undefined || set.attempt.version <= attempt.version;
  return { ...set, tables, ...(isLater ? { attempt } : {}) };
}
