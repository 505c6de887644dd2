// What is known of one executable, and the rule by which two accounts of it become one. The rule is commutative,
// associative and idempotent: reports may come in any order and any number of times, and less never overwrites more.
import { isDeepStrictEqual } from 'node:util';
import type { ExecutableId, FileIds } from './ids.ts';
import { canonicalIdOf, kindOf, rawIdOf } from './ids.ts';
import { cleanName, countNames, fileNameOf, mergeNames, type Names } from './names.ts';

/** One GNU ID has many files (stripped, `.debug`, patched copies); beyond this many they are no longer told apart. */
export const aliasesMax = 16;
/** Two layouts prove that an ID is ambiguous; more prove nothing further. */
const layoutsMax = 2;

export const symbolStates = ['none', 'wanted', 'queued', 'running', 'ready', 'failed'] as const;
export type SymbolState = (typeof symbolStates)[number];
/** Worst first: the rank is the index. */
export const qualities = ['none', 'dynsym', 'symtab', 'gopclntab', 'dwarf'] as const;
export type Quality = (typeof qualities)[number];

/** What is known of an executable's symbols; `functions`, `ranges` and `bytes` are those of its symbol table. */
export interface SymbolsSummary {
  readonly state: SymbolState;
  readonly quality: Quality;
  readonly functions: number;
  readonly ranges: number;
  readonly bytes: number;
  readonly sources: readonly string[];
  /** SHA-256 of the symbol table in use, hex; only in state `ready`. */
  readonly digest?: string;
  /** `<code>: <message>` of a failure; in state `ready`, what the table lacks, or why there is no newer one. */
  readonly reason?: string;
  /** Version of the set of sources that this follows from: what follows from an older set never replaces it. */
  readonly setVersion?: number;
}

export const noSymbols: SymbolsSummary = {
  state: 'none',
  quality: 'none',
  functions: 0,
  ranges: 0,
  bytes: 0,
  sources: [],
};

/** A record as it is stored and sent (docs/formats.md). IDs under `ids` are without their kind; Go IDs as base64url. */
export interface ExecutableRecord {
  readonly id: ExecutableId;
  readonly ids: {
    readonly gnu?: string;
    readonly htlhash: readonly string[];
    readonly go: readonly string[];
  };
  /** Two files with this GNU ID differ in where their code is mapped: only their htlhashes tell them apart. */
  readonly ambiguous: boolean;
  /** Last component of the best name, `""` if none is known. */
  readonly fileName: string;
  /** Paths under which hosts saw it, best first, at most `namesMax`. */
  readonly names: readonly string[];
  readonly nameCount: number;
  readonly nameSketch?: string;
  /** Machine as in `identify`, `""` if unknown. */
  readonly arch: string;
  readonly type: string;
  /** File size in bytes; of several files the largest. */
  readonly size: number;
  /** The distinct `layoutOf` its executable segments, at most two. */
  readonly layouts: readonly string[];
  /** RFC 3339, by the store's clock; `lastSeen` is true to the day. */
  readonly firstSeen: string;
  readonly lastSeen: string;
  /** Changes with every change but that of `lastSeen`. */
  readonly version: number;
  /** Changes when what is known of symbols and frames changes. */
  readonly generation: number;
  readonly symbols: SymbolsSummary;
  /** Whether agents reported single frames of it. */
  readonly agentFrames: boolean;
}

/** An executable as an agent reports it, after parsing. */
export interface ReportedExecutable {
  readonly ids: FileIds;
  readonly name: string;
  readonly arch: string;
  readonly type: string;
  readonly size: number;
  /** Executable PT_LOAD segments, `[vaddr, memsz]`. */
  readonly load: readonly (readonly [bigint, bigint])[];
}

/**
 * The record that one report alone makes. `at` is the store's time in Unix milliseconds. `id` is the canonical ID unless
 * that is ambiguous, when the file is kept under its htlhash.
 */
export function recordOf(
  report: ReportedExecutable,
  at: number,
  id = canonicalIdOf(report.ids),
): ExecutableRecord {
  const { ids } = report;
  const name = cleanName(report.name);
  const names = name === '' ? [] : [name];
  return {
    id,
    ids: {
      ...(ids.gnu === undefined ? {} : { gnu: rawIdOf(ids.gnu) }),
      htlhash: [rawIdOf(ids.htlhash)],
      go: ids.go === undefined ? [] : [ids.go.slice('go:'.length)],
    },
    ambiguous: false,
    fileName: fileNameOf(names),
    names,
    nameCount: names.length,
    arch: report.arch,
    type: report.type,
    size: report.size,
    layouts: report.load.length === 0 ? [] : [layoutOf(report.load)],
    firstSeen: secondOf(at),
    lastSeen: dayOf(at),
    version: at,
    generation: at,
    symbols: noSymbols,
    agentFrames: false,
  };
}

/** The record of an executable of which files came before any agent saw it run. */
export function unseenRecordOf(id: ExecutableId, at: number): ExecutableRecord {
  const raw = rawIdOf(id);
  return {
    id,
    ids: {
      ...(kindOf(id) === 'gnu' ? { gnu: raw } : {}),
      htlhash: kindOf(id) === 'htlhash' ? [raw] : [],
      go: [],
    },
    ...{ ambiguous: false, fileName: '', names: [], nameCount: 0, arch: '', type: '', size: 0, layouts: [] },
    ...{ firstSeen: secondOf(at), lastSeen: dayOf(at), version: at, generation: at },
    ...{ symbols: noSymbols, agentFrames: false },
  };
}

/** Joins two accounts of one executable. Both must have the same `id`. */
export function mergeRecords(a: ExecutableRecord, b: ExecutableRecord): ExecutableRecord {
  const { names, nameSketch } = mergeNames(namesOf(a), namesOf(b));
  const layouts = smallest(layoutsMax, a.layouts, b.layouts);
  const gnu = a.ids.gnu ?? b.ids.gnu;
  return {
    id: a.id,
    ids: {
      ...(gnu === undefined ? {} : { gnu }),
      htlhash: smallest(aliasesMax, a.ids.htlhash, b.ids.htlhash),
      go: smallest(aliasesMax, a.ids.go, b.ids.go),
    },
    ambiguous: kindOf(a.id) !== 'htlhash' && layouts.length === layoutsMax,
    fileName: fileNameOf(names),
    names,
    nameCount: countNames({ names, ...(nameSketch === undefined ? {} : { nameSketch }) }),
    ...(nameSketch === undefined ? {} : { nameSketch }),
    arch: more(a.arch, b.arch),
    type: more(a.type, b.type),
    size: Math.max(a.size, b.size),
    layouts,
    firstSeen: a.firstSeen < b.firstSeen ? a.firstSeen : b.firstSeen,
    lastSeen: a.lastSeen > b.lastSeen ? a.lastSeen : b.lastSeen,
    version: Math.max(a.version, b.version),
    generation: Math.max(a.generation, b.generation),
    symbols: laterSymbols(a, b),
    agentFrames: a.agentFrames || b.agentFrames,
  };
}

/** Whether two records say the same, times and versions apart: whether a merge brought something new. */
export function sameFacts(a: ExecutableRecord, b: ExecutableRecord): boolean {
  const { version, generation, firstSeen, lastSeen } = a;
  return isDeepStrictEqual(a, { ...b, version, generation, firstSeen, lastSeen });
}

/** The layout of executable segments as text: equal for two files exactly if their code is mapped alike. */
export function layoutOf(load: ReportedExecutable['load']): string {
  return [...load]
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([vaddr, memsz]) => `${vaddr.toString(16)}+${memsz.toString(16)}`)
    .join(',');
}

/** RFC 3339, whole seconds. */
export function secondOf(unixMs: number): string {
  return `${new Date(unixMs).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339, the start of the day in UTC. */
export function dayOf(unixMs: number): string {
  return `${new Date(unixMs).toISOString().slice(0, 10)}T00:00:00Z`;
}

export function qualityRank(quality: Quality): number {
  return qualities.indexOf(quality);
}

function namesOf({ names, nameSketch }: ExecutableRecord): Names {
  return nameSketch === undefined ? { names } : { names, nameSketch };
}

function smallest(count: number, a: readonly string[], b: readonly string[]): string[] {
  return [...new Set([...a, ...b])].sort().slice(0, count);
}

// "" is unknown, so anything is more; between two words the choice only has to be the same in any order.
function more(a: string, b: string): string {
  return a > b ? a : b;
}

// Symbols belong to a generation: the later one wins whole. Equal generations differ only if a store was rebuilt from
// two journals; quality, then the text, makes that a total order too.
function laterSymbols(a: ExecutableRecord, b: ExecutableRecord): SymbolsSummary {
  const order =
    a.generation - b.generation ||
    qualityRank(a.symbols.quality) - qualityRank(b.symbols.quality) ||
    (JSON.stringify(a.symbols) < JSON.stringify(b.symbols) ? -1 : 1);
  return order < 0 ? b.symbols : a.symbols;
}
