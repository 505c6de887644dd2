// Makes the table file of each part of a plan, and one table of all. What cannot be read is left out and said.
import { rm } from 'node:fs/promises';
import { type EpochSample, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, gnuId } from '@symkeep/protocol';
import { type BlobStore, debugFileKey, tableKey } from '../blobs/blob-store.ts';
import {
  type ElfFiles,
  type ExtractedTable,
  ExtractionFailure,
  type Extractor,
} from '../extraction/index.ts';
import { dependentsMax, type SourceSet, usableSources } from '../sources/source-set.ts';
import type { Sources } from '../sources/sources.ts';
import { filesOf, type Part } from './plan.ts';
import { JobFailure } from './queue.ts';

/** A child that ends for no reason that it says may have been ended by the kernel, for others' sake. */
const crashesMax = 2;
/** Digits of a digest that tell files of one executable apart, for people. */
const shortDigest = 12;

export interface Trouble {
  readonly code: string;
  readonly message: string;
  readonly mayPass: boolean;
}

export interface DerivedTable {
  readonly table: ExtractedTable;
  /** The file form; whoever gets it removes it. */
  readonly path: string;
  readonly from: readonly string[];
  /** What is missing in it, and why. */
  readonly troubles: readonly Trouble[];
}

interface MadePart {
  readonly part: Part;
  readonly path: string;
  readonly table: ExtractedTable;
}

export interface PartExtractionDeps {
  readonly blobs: BlobStore;
  readonly extractor: Extractor;
  readonly sources: Sources;
}

export class PartExtraction {
  readonly #deps: PartExtractionDeps;
  readonly #id: ExecutableId;
  readonly #sample: EpochSample;
  readonly #troubles: Trouble[] = [];
  readonly #paths: string[] = [];

  constructor(deps: PartExtractionDeps, id: ExecutableId, sample: EpochSample) {
    this.#deps = deps;
    this.#id = id;
    this.#sample = sample;
  }

  /** Throws `JobFailure` if there is no table, and `unavailable` where files cannot be had now. */
  async derive(parts: readonly Part[], progress: (done: number) => Promise<void>): Promise<DerivedTable> {
    const made: MadePart[] = [];
    try {
      for (const [index, part] of parts.entries()) {
        const one = await this.#make(part);
        if (one !== undefined) made.push(one);
        await progress((index + 1) / (parts.length + 1));
      }
      const [best] = made;
      if (best === undefined) throw this.#failure();
      const { path, table } = made.length === 1 ? best : await this.#fill(made);
      this.#paths.splice(this.#paths.indexOf(path), 1);
      const from = [...new Set(made.flatMap(({ part }) => filesOf(part)))];
      return { table, path, from, troubles: this.#troubles };
    } finally {
      for (const path of this.#paths) await rm(path, { force: true });
    }
  }

  async #make(part: Part): Promise<MadePart | undefined> {
    const path = await this.#staged();
    const made = part.kind === 'table' ? await this.#copyTable(part, path) : await this.#extract(part, path);
    if (made === undefined) return undefined;
    this.#noteDamage(part, made);
    return made.ranges > 0 ? { part, path, table: made } : undefined;
  }

  async #extract(part: Part & { kind: 'image' }, path: string): Promise<ExtractedTable | undefined> {
    const alternate = await this.#alternateOf(part);
    const { executable, debug } = part;
    const keys = [executable, debug].map((source) => source && debugFileKey(this.#id, source.digest));
    const outcome = await this.#withFiles([...keys, alternate?.key], async ([ours, theirs, alt]) => {
      const files: ElfFiles = {
        executable: (ours ?? theirs)!,
        debug: ours && theirs,
        alternate: alt,
        search: false,
      };
      let made = await this.#deps.extractor.extract(files, path);
      for (let crashes = 1; crashes < crashesMax && hasCrashed(made); crashes++)
        made = await this.#deps.extractor.extract(files, path);
      return made;
    });
    if (!(outcome instanceof ExtractionFailure))
      return outcome ?? this.#note(part, 'missing_file', 'is gone');
    const { code, message } = outcome;
    if (code === 'unreadable') throw new JobFailure('unavailable', message, true);
    const mayPass = code === 'crashed' || code === 'timeout';
    return this.#note(part, mayPass || code === 'out_of_memory' ? code : 'malformed', message, mayPass);
  }

  async #copyTable({ table }: Part & { kind: 'table' }, path: string): Promise<ExtractedTable | undefined> {
    const key = tableKey(this.#id, table.digest);
    const outcome = await this.#deps.blobs.withFile(key, (file) => this.#deps.extractor.fill([file], path));
    if (outcome instanceof ExtractionFailure || outcome === null) {
      const why = outcome?.message ?? 'is gone';
      return this.#trouble('missing_table', `table ${table.digest.slice(0, shortDigest)}: ${why}`);
    }
    return outcome;
  }

  async #fill(made: readonly MadePart[]): Promise<{ path: string; table: ExtractedTable }> {
    const path = await this.#staged();
    const outcome = await this.#deps.extractor.fill(
      made.map((one) => one.path),
      path,
    );
    if (!(outcome instanceof ExtractionFailure)) return { path, table: outcome };
    // Their code does not lie at the same addresses: the best one alone is right.
    this.#trouble('other_image', `the best file stands alone: ${outcome.message}`);
    return made[0]!;
  }

  // The dwz file that a debug file refers to has a set of its own, under its own build ID.
  async #alternateOf({ executable, debug }: Part & { kind: 'image' }): Promise<{ key: string } | undefined> {
    const alt = (debug ?? executable)?.alt;
    if (alt === undefined) return undefined;
    const id = gnuId(alt);
    const changed = await this.#deps.sources.change(id, (set) => this.#waitingFor(set), this.#sample);
    if (changed instanceof StoreUnavailable) throw changed;
    const [file] = usableSources(changed.after);
    return file === undefined ? undefined : { key: debugFileKey(id, file.digest) };
  }

  #waitingFor(set: SourceSet): SourceSet {
    const { dependents = [] } = set;
    if (usableSources(set).length > 0 || dependents.includes(this.#id)) return set;
    return { ...set, dependents: [...dependents, this.#id].slice(-dependentsMax) };
  }

  // All files at once as local ones; undefined keys stay undefined. Null if one is not there.
  async #withFiles<T>(
    keys: readonly (string | undefined)[],
    use: (paths: readonly (string | undefined)[]) => Promise<T>,
    paths: readonly (string | undefined)[] = [],
  ): Promise<T | null> {
    if (paths.length === keys.length) return use(paths);
    const key = keys[paths.length];
    if (key === undefined) return this.#withFiles(keys, use, [...paths, undefined]);
    return this.#deps.blobs.withFile(key, (path) => this.#withFiles(keys, use, [...paths, path]));
  }

  async #staged(): Promise<string> {
    const path = await this.#deps.blobs.stagingPath();
    this.#paths.push(path);
    return path;
  }

  #noteDamage(part: Part, { missingAlternate, damage }: ExtractedTable): void {
    if (missingAlternate !== undefined)
      this.#trouble('missing_alt', `the dwz file gnu:${missingAlternate} is not here`);
    for (const { source, code, message } of damage) this.#note(part, code, `${source}: ${message}`);
  }

  #note(part: Part, code: string, message: string, mayPass = false): undefined {
    const files = filesOf(part).map((digest) => digest.slice(0, shortDigest));
    return this.#trouble(code, `file ${files.join(' with ')}: ${message}`, mayPass);
  }

  #trouble(code: string, message: string, mayPass = false): undefined {
    this.#troubles.push({ code, message, mayPass });
  }

  #failure(): JobFailure {
    const [first] = this.#troubles;
    if (first === undefined) return new JobFailure('no_symbols', 'nothing in its files names code', false);
    const mayPass = this.#troubles.some((trouble) => trouble.mayPass);
    return new JobFailure(first.code, this.#troubles.map(({ message }) => message).join('; '), mayPass);
  }
}

function hasCrashed(outcome: ExtractedTable | ExtractionFailure): boolean {
  return outcome instanceof ExtractionFailure && outcome.code === 'crashed';
}
