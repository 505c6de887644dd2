// What a table is made from: the parts of a set, best first. Each part is extracted for itself, so that one which breaks
// its extraction costs only itself, and fills what the ones before leave open.
import { qualityRank } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import {
  compareSources,
  type Source,
  type SourceSet,
  type TableVersion,
  usableSources,
} from '../sources/source-set.ts';

/** Extractions for one table: what a ninth file adds is not worth its time. */
const partsMax = 8;

/** Files read as one image; or a table, of files that are no longer there. */
export type Part =
  | { readonly kind: 'image'; readonly executable?: Source; readonly debug?: Source }
  | { readonly kind: 'table'; readonly table: TableVersion };

/**
 * A debug file is read with the best executable, for its segments; so an executable without debug information of its own
 * is in all of these, and not read once more for itself.
 */
export function planOf(set: SourceSet): Part[] {
  const usable = usableSources(set);
  const executable = usable.find(({ kind }) => kind === 'executable');
  const hasDebugFile = usable.some(({ kind }) => kind === 'debug');
  const ranked = usable
    .filter((source) => !(source === executable && hasDebugFile && isStripped(source)))
    .map((source): { lead: Source; part: Part } => ({ lead: source, part: imageOf(source, executable) }));
  const kept = keptTable(set);
  if (kept !== undefined) ranked.push({ lead: kept.lead, part: { kind: 'table', table: kept.table } });
  return ranked
    .sort((a, b) => compareSources(a.lead, b.lead))
    .map(({ part }) => part)
    .slice(0, partsMax);
}

function imageOf(source: Source, executable: Source | undefined): Part {
  if (source.kind === 'executable') return { kind: 'image', executable: source };
  return { kind: 'image', debug: source, ...(executable === undefined ? {} : { executable }) };
}

function isStripped({ quality }: Source): boolean {
  return qualityRank(quality) < qualityRank('dwarf');
}

// The newest table that has what dropped files said, and nothing of what was taken out.
function keptTable(set: SourceSet): { lead: Source; table: TableVersion } | undefined {
  const byDigest = new Map(set.sources.map((source) => [source.digest, source]));
  const isDropped = (digest: string) => {
    const source = byDigest.get(digest);
    return source?.dropped === true && source.quarantined === undefined;
  };
  const isClean = (digest: string) => byDigest.get(digest)?.quarantined === undefined;
  const table = set.tables.find(({ from }) => from.some(isDropped) && from.every(isClean));
  const [lead] = (table?.from ?? [])
    .map((digest) => byDigest.get(digest))
    .filter((source) => source !== undefined)
    .sort(compareSources);
  return table === undefined || lead === undefined ? undefined : { lead, table };
}

/** Digests of the files of a part, the debug file first: it is what names. */
export function filesOf(part: Part): string[] {
  if (part.kind === 'table') return [...part.table.from];
  return [part.debug, part.executable].filter((source) => source !== undefined).map(({ digest }) => digest);
}

/** A table that is there and says all that making it again could. */
export function readyTable(set: SourceSet, parts: readonly Part[]): TableVersion | undefined {
  if (set.pinned !== undefined) return set.tables.find(({ digest }) => digest === set.pinned);
  const from = [...new Set(parts.flatMap(filesOf))];
  return set.tables.find(
    (table) =>
      table.format === symbolTableVersion &&
      table.partial === undefined &&
      table.from.length === from.length &&
      table.from.every((digest, index) => digest === from[index]),
  );
}
