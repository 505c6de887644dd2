import { copyFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EpochSample, ManualClock, MemoryStore, StoreUnavailable, SystemClock } from '@symkeep/cache';
import { type ExecutableRecord, FRAME_STATUS, gnuId } from '@symkeep/protocol';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { debugFileKey, tableKey } from '../../src/blobs/blob-store.ts';
import { DirectoryStore } from '../../src/blobs/directory-store.ts';
import { type Catalog, createCatalog, StoredRecord } from '../../src/catalog/index.ts';
import { Extractor } from '../../src/extraction/index.ts';
import { Symbolizer } from '../../src/jobs/symbolize.ts';
import type { Source, SourceSet } from '../../src/sources/source-set.ts';
import { MemoryJobs } from '../memory-jobs.ts';
import { buildProgram, gccAvailable, type SmallProgram, sha256Of } from './small-program.ts';

const systemClock = new SystemClock();
let directory: string;
let program: SmallProgram;
let extractor: Extractor;
let clock: ManualClock;
let store: MemoryStore;
let catalog: Catalog;
let blobs: DirectoryStore;
let jobs: MemoryJobs;
let symbolizer: Symbolizer;

beforeAll(() => {
  if (!gccAvailable) return;
  directory = mkdtempSync(join(tmpdir(), 'symkeep-symbolize-'));
  program = buildProgram(directory);
  extractor = new Extractor({ clock: systemClock, children: 2 });
});

afterAll(async () => {
  await extractor?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true });
});

beforeEach(async () => {
  if (!gccAvailable) return;
  clock = new ManualClock();
  store = new MemoryStore({ clock });
  catalog = createCatalog({ store, clock, cacheBytes: 4 * 2 ** 20 });
  await catalog.start();
  blobs = new DirectoryStore(mkdtempSync(join(directory, 'blobs-')), systemClock);
  jobs = new MemoryJobs();
  symbolizer = symbolizerWith(extractor);
});

afterEach(async () => {
  const stopped = catalog?.stop();
  await clock?.advance(60_000);
  await stopped;
});

function symbolizerWith(its: Extractor): Symbolizer {
  return new Symbolizer({ catalog, blobs, extractor: its, jobs, clock, log: pino({ level: 'silent' }) });
}

function sample(): EpochSample {
  const taken = catalog.epoch.sample();
  if (taken instanceof StoreUnavailable) throw taken;
  return taken;
}

const kinds = {
  full: { kind: 'executable', quality: 'dwarf' },
  stripped: { kind: 'executable', quality: 'dynsym' },
  debug: { kind: 'debug', quality: 'dwarf' },
} as const;

/** Keeps a file as an upload does; returns its digest. */
async function bring(
  path: string,
  what: Omit<Source, 'digest' | 'bytes' | 'at'>,
  id = program.id,
): Promise<string> {
  const digest = sha256Of(path);
  const copy = join(directory, `copy-${digest}`);
  copyFileSync(path, copy);
  await blobs.keepFile(debugFileKey(id, digest), copy);
  const changed = await catalog.sources.add(id, { digest, bytes: statSync(path).size, ...what }, sample());
  if (changed instanceof StoreUnavailable) throw changed;
  await clock.advance(1_000);
  return digest;
}

function bringFile(file: keyof typeof kinds, trust: Source['trust'] = 'ci'): Promise<string> {
  return bring(program[file], { ...kinds[file], covered: 1, trust });
}

async function run(id = program.id, isLast = true): Promise<void> {
  await symbolizer.run({ data: { id }, isLast, progress: async () => undefined });
  await clock.advance(1_000);
}

async function record(id = program.id): Promise<ExecutableRecord> {
  const outcome = await catalog.executables.refresh(id);
  if (!(outcome instanceof StoredRecord)) throw new Error(`${id} is ${outcome}`);
  return outcome.record;
}

async function setOf(id = program.id): Promise<SourceSet> {
  const set = await catalog.sources.read(id);
  if (set instanceof StoreUnavailable) throw set;
  return set;
}

/** Names at a function's first instruction, innermost first, with the line. */
async function framesIn(name: string): Promise<string[]> {
  const addresses = [program.addressOf(name)];
  const [outcome] = await catalog.frames.lookup([{ id: program.id, addresses }]);
  const [at] = outcome!.at;
  if (at!.status !== FRAME_STATUS.resolved) return [`status ${at!.status}`];
  return at!.frames.map((frame) => `${frame.function}${frame.line > 0 ? ` ${frame.line > 0}` : ''}`);
}

describe.skipIf(!gccAvailable)('a table', () => {
  it('is made of a file that came before anyone reported the executable', async () => {
    await bringFile('full');
    await run();
    const { symbols, id } = await record();
    expect(id).toBe(program.id);
    expect(symbols).toMatchObject({ state: 'ready', quality: 'dwarf' });
    expect(symbols.reason).toBeUndefined();
    expect(await framesIn('inner')).toEqual(['twice true', 'inner true']);
    const set = await setOf();
    expect(set.tables).toMatchObject([{ digest: symbols.digest, format: 1, from: [sha256Of(program.full)] }]);
    expect(await blobs.info(tableKey(program.id, symbols.digest!))).not.toBeNull();
  });

  it('ends the demand for it', async () => {
    const { demand } = catalog;
    demand.note(program.id, 7);
    await demand.flush();
    await bringFile('stripped');
    expect(await demand.of([program.id])).toEqual([7]);
    await run();
    expect(await demand.of([program.id])).toEqual([0]);
  });

  it('becomes better with a better file, and stays so when a worse one comes again', async () => {
    await bringFile('stripped');
    await run();
    const first = await record();
    expect(first.symbols).toMatchObject({ state: 'ready', quality: 'dynsym' });
    expect([await framesIn('exported'), await framesIn('inner')]).toEqual([['exported'], ['status 1']]);
    await bringFile('debug');
    await run();
    const second = await record();
    expect(second.symbols).toMatchObject({ state: 'ready', quality: 'dwarf' });
    expect(second.generation).toBeGreaterThan(first.generation);
    expect([await framesIn('exported'), await framesIn('inner')]).toEqual([
      ['exported true'],
      ['twice true', 'inner true'],
    ]);
    await bringFile('stripped');
    await run();
    expect(await record()).toMatchObject({ generation: second.generation, symbols: second.symbols });
  });

  it('of an executable and its debug file is the one of the whole file', async () => {
    await bringFile('debug');
    await bringFile('stripped');
    await run();
    const { digest } = (await record()).symbols;
    const { from } = (await setOf()).tables[0]!;
    expect(from).toEqual([sha256Of(program.debug), sha256Of(program.stripped)]);
    const whole = join(directory, 'whole-table');
    const table = await extractor.extract({ executable: program.full, search: false }, whole);
    expect(digest).toBe((table as { digest: string }).digest);
  });

  it('does not depend on the order in which files came', async () => {
    const digests: (string | undefined)[] = [];
    for (const order of [['stripped', 'debug', 'full'] as const, ['full', 'debug', 'stripped'] as const]) {
      for (const file of order) {
        await bringFile(file);
        await run();
      }
      digests.push((await record()).symbols.digest);
      await catalog.erasure.erase(program.id, sample());
      store.flush();
      await catalog.epoch.check();
    }
    expect(digests[0]).toBe(digests[1]);
  });

  it('has what the more trusted file says, and the rest from others', async () => {
    await bringFile('full', 'agent');
    const other = join(directory, 'other-quality');
    copyFileSync(program.full, other);
    writeFileSync(other, 'tail', { flag: 'a' });
    await bring(other, { kind: 'executable', quality: 'symtab', covered: 1, trust: 'admin' });
    await run();
    const set = await setOf();
    expect(set.tables[0]!.from).toEqual([sha256Of(other), sha256Of(program.full)]);
  });

  it('is made of the other files when one breaks its extraction, and its record says so', async () => {
    await bringFile('stripped');
    const broken = join(directory, 'broken');
    writeFileSync(broken, 'no ELF file');
    await bring(broken, { kind: 'executable', quality: 'dwarf', covered: 9, trust: 'admin' });
    await run();
    const { symbols } = await record();
    expect(symbols).toMatchObject({ state: 'ready', quality: 'dynsym' });
    expect(symbols.reason).toMatch(new RegExp(`^malformed: file ${sha256Of(broken).slice(0, 12)}: `));
    expect((await setOf()).sources.every(({ quarantined }) => quarantined === undefined)).toBe(true);
  });

  it('is made again without what an admin takes out, and withdrawn when nothing is left', async () => {
    await bringFile('stripped');
    const debug = await bringFile('debug');
    await run();
    const take = async (digest: string) => {
      const quarantine = (source: Source) =>
        source.digest === digest ? { ...source, quarantined: 'bad' } : source;
      await catalog.sources.change(
        program.id,
        (set, now) => ({
          ...set,
          sources: set.sources.map(quarantine),
          version: Math.max(set.version + 1, now),
        }),
        sample(),
      );
      await run();
    };
    await take(debug);
    expect((await record()).symbols).toMatchObject({ state: 'ready', quality: 'dynsym' });
    await take(sha256Of(program.stripped));
    expect((await record()).symbols).toMatchObject({ state: 'none', quality: 'none' });
  });

  it('keeps what a dropped file said', async () => {
    await bringFile('stripped');
    const debug = await bringFile('debug');
    await run();
    const { digest } = (await record()).symbols;
    const drop = (source: Source): Source =>
      source.digest === debug ? { ...source, dropped: true } : source;
    await catalog.sources.change(program.id, (set) => ({ ...set, sources: set.sources.map(drop) }), sample());
    await blobs.remove(debugFileKey(program.id, debug));
    const other = join(directory, 'stripped-again');
    copyFileSync(program.stripped, other);
    writeFileSync(other, 'tail', { flag: 'a' });
    await bring(other, { kind: 'executable', quality: 'dynsym', covered: 2, trust: 'ci' });
    await run();
    expect((await setOf()).tables[0]!.from).toContain(debug);
    expect((await record()).symbols).toMatchObject({ state: 'ready', quality: 'dwarf', digest });
  });

  it('leaves nothing in the staging directory', async () => {
    await bringFile('stripped');
    await bringFile('full');
    await run();
    expect(readdirSync(join(blobs.place, '.staging'))).toEqual([]);
  });
});

describe.skipIf(!gccAvailable)('a job that fails', () => {
  it('says why in the record, and is not tried again before another file comes', async () => {
    const broken = join(directory, 'broken-alone');
    writeFileSync(broken, 'no ELF file at all');
    await bring(broken, { kind: 'executable', quality: 'dwarf', covered: 9, trust: 'ci' });
    await expect(run()).rejects.toMatchObject({ code: 'malformed', mayPass: false });
    expect((await record()).symbols).toMatchObject({
      state: 'failed',
      reason: expect.stringMatching(/^malformed: /),
    });
    const { attempt, version } = await setOf();
    expect(attempt).toMatchObject({ version, failure: { code: 'malformed', mayPass: false } });
    await bringFile('full');
    await run();
    expect((await record()).symbols.state).toBe('ready');
  });

  it('leaves a record ready that is', async () => {
    await bringFile('full');
    await run();
    const before = await record();
    await catalog.sources.change(
      program.id,
      (set) => ({ ...set, pinned: '0'.repeat(64), version: set.version + 1 }),
      sample(),
    );
    await expect(run()).rejects.toMatchObject({ code: 'missing_table' });
    const { symbols, generation } = await record();
    expect(symbols).toEqual({ ...before.symbols, reason: expect.stringMatching(/^missing_table: /) });
    expect(generation).toBe(before.generation);
  });

  it('as an outage does, leaves everything as it was and may pass', async () => {
    await bringFile('full');
    const away = symbolizerWith(extractor);
    store.down(0);
    await expect(
      away.run({ data: { id: program.id }, isLast: false, progress: async () => undefined }),
    ).rejects.toMatchObject({ code: 'unavailable', mayPass: true });
    store.up(0);
    await run();
    expect((await record()).symbols.state).toBe('ready');
  });

  it('for a child that ended by itself is tried once more at once, then later', async () => {
    await bringFile('full');
    const dying = new Extractor({ clock: systemClock, program: new URL('dying-child.ts', import.meta.url) });
    symbolizer = symbolizerWith(dying);
    await expect(run(program.id, false)).rejects.toMatchObject({ code: 'crashed', mayPass: true });
    expect(dying.metrics().childrenStarted).toBe(2);
    expect((await record()).symbols).toMatchObject({
      state: 'queued',
      reason: expect.stringMatching(/^crashed: /),
    });
    await dying.stop();
    symbolizer = symbolizerWith(extractor);
    await run();
    expect((await record()).symbols.state).toBe('ready');
  });
});

describe.skipIf(!gccAvailable)('a job that was overtaken', () => {
  it('undoes nothing of what follows from a later set', async () => {
    await bringFile('stripped');
    const old = await setOf();
    await bringFile('debug');
    await run();
    const after = await record();
    const { digest } = after.symbols;
    const { status } = (await catalog.states.ready(
      program.id,
      { digest: '1'.repeat(64), quality: 'dynsym', functions: 1, ranges: 1, bytes: 1, sources: ['dynsym'] },
      old.version,
      sample(),
    )) as { status: string };
    expect(status).toBe('kept');
    await catalog.states.failed(program.id, old.version, 'malformed: old', sample());
    expect((await record()).symbols).toMatchObject({ state: 'ready', digest });
    expect((await record()).symbols.reason).toBeUndefined();
  });

  it('by an erasure brings nothing back', async () => {
    await bringFile('full');
    const set = await setOf();
    await catalog.states.queued(program.id, set.version, sample());
    await catalog.erasure.erase(program.id, sample());
    await run();
    await catalog.states.running(program.id, set.version, sample());
    expect(await catalog.executables.refresh(program.id)).toBe('erased');
    expect((await setOf()).version).toBe(0);
  });
});

describe.skipIf(!gccAvailable)('a dwz file', () => {
  const alt = gnuId('ab'.repeat(20));

  it('that is not here is named, and its coming makes the tables again', async () => {
    await bring(program.full, { ...kinds.full, covered: 1, trust: 'ci', alt: 'ab'.repeat(20) });
    await run();
    expect((await setOf(alt)).dependents).toEqual([program.id]);
    const before = await setOf();
    await bring(program.debug, { ...kinds.debug, covered: 0, trust: 'ci' }, alt);
    await run(alt);
    const after = await setOf();
    expect(after.version).toBeGreaterThan(before.version);
    expect([...jobs.asked.values()]).toEqual([{ id: program.id, set: after }]);
    expect((await setOf(alt)).dependents).toEqual([]);
  });
});
