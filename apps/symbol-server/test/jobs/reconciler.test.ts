import { type EpochSample, ManualClock, MemoryStore, StoreUnavailable } from '@symkeep/cache';
import { gnuId } from '@symkeep/protocol';
import { none, symbolTableVersion, writeSymbolTable } from '@symkeep/symbols';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Catalog, createCatalog } from '../../src/catalog/index.ts';
import { tableAt } from '../../src/catalog/keys.ts';
import { Lease } from '../../src/jobs/lease.ts';
import { Reconciler } from '../../src/jobs/reconciler.ts';
import { type Attempt, type SourceSet, withAttempt } from '../../src/sources/source-set.ts';
import { MemoryJobs } from '../memory-jobs.ts';

const id = gnuId('c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80');
const file = '1'.repeat(64);
/** Nothing that is on its way counts as lost before this has passed. */
const graceMs = 15_000;
const hourMs = 3_600_000;
const table = writeSymbolTable({
  ...{ imageBase: 0n, sources: ['symtab'], files: [] },
  starts: Float64Array.of(16, 32),
  location: Int32Array.of(0, none),
  locations: {
    ...{ function: Int32Array.of(0), file: Int32Array.of(none), parent: Int32Array.of(none) },
    ...{ line: Uint32Array.of(0), column: Uint32Array.of(0), source: Uint8Array.of(0) },
  },
  functions: { name: ['main'], startLine: Uint32Array.of(0) },
});

let clock: ManualClock;
let store: MemoryStore;
let catalog: Catalog;
let jobs: MemoryJobs;
let reconciler: Reconciler;

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore({ clock });
  catalog = createCatalog({ store, clock, cacheBytes: 2 ** 20, epochEveryMs: 60_000 });
  await catalog.start();
  jobs = new MemoryJobs();
  reconciler = reconcilerWith(new Lease(store, 'reconciler', 60_000));
});

afterEach(async () => {
  const stopped = Promise.all([reconciler.stop(), catalog.stop()]);
  await clock.advance(60_000);
  await stopped;
});

function reconcilerWith(lease: Lease): Reconciler {
  return new Reconciler({ store, catalog, jobs, lease, clock, log: pino({ level: 'silent' }) });
}

function sample(): EpochSample {
  const taken = catalog.epoch.sample();
  if (taken instanceof StoreUnavailable) throw taken;
  return taken;
}

/** A file came, and its record says `queued`, as the server leaves it. */
async function queued(): Promise<SourceSet> {
  const facts = { bytes: 1, kind: 'executable', quality: 'symtab', covered: 1, trust: 'ci' } as const;
  const changed = await catalog.sources.add(id, { digest: file, ...facts }, sample());
  if (changed instanceof StoreUnavailable) throw changed;
  await catalog.states.queued(id, changed.after.version, sample());
  return changed.after;
}

async function attempted(set: SourceSet, outcome: Partial<Attempt> = {}, hasTable = false): Promise<void> {
  const attempt = { version: set.version, format: symbolTableVersion, at: set.version, ...outcome };
  const made = { digest: table.digest, generation: 1, format: attempt.format, from: [file], at: 1 };
  await catalog.sources.change(
    id,
    (current) => withAttempt(current, attempt, hasTable ? { ...made, quality: 'symtab' } : undefined),
    sample(),
  );
}

/** The table was made and is given out. */
async function ready(outcome: Partial<Attempt> = {}): Promise<SourceSet> {
  const set = await queued();
  const bytes = Buffer.concat([table.header, ...table.pages]);
  const { digest } = table;
  await catalog.tables.write({ id, digest }, async (start, end) => bytes.subarray(start, end), sample());
  const summary = {
    digest,
    quality: 'symtab',
    functions: 1,
    ranges: 1,
    bytes: 1,
    sources: ['symtab'],
  } as const;
  await catalog.states.ready(id, summary, set.version, sample());
  await attempted(set, outcome, true);
  return set;
}

/** IDs that a pass asks jobs for. */
async function asked(): Promise<string[]> {
  jobs.asked.clear();
  await reconciler.pass();
  return [...jobs.asked.values()].map((one) => one.id);
}

describe('the reconciler', () => {
  it('asks for the job of what waits for one, but not of what came just now', async () => {
    await queued();
    expect(await asked()).toEqual([]);
    await clock.advance(graceMs);
    expect(await asked()).toEqual([id]);
  });

  it('leaves alone what is done', async () => {
    await ready();
    await clock.advance(24 * hourMs);
    expect(await asked()).toEqual([]);
  });

  it('asks for tables that lag behind their set or their format', async () => {
    const set = await ready({ format: symbolTableVersion - 1 });
    await clock.advance(graceMs);
    expect(await asked()).toEqual([id]);
    await attempted(set, {}, true);
    expect(await asked()).toEqual([]);
    await catalog.sources.change(id, (its, now) => ({ ...its, version: now }), sample());
    await clock.advance(graceMs);
    expect(await asked()).toEqual([id]);
  });

  it('asks for tables of which the store lost a part', async () => {
    await ready();
    await clock.advance(graceMs);
    await store.drop([tableAt(id, table.digest)]);
    expect(await asked()).toEqual([id]);
  });

  it('tries again later what may pass, and never what will not', async () => {
    const set = await queued();
    const failure = { code: 'timeout', message: 'took long', mayPass: true };
    await catalog.states.failed(id, set.version, 'timeout: took long', sample());
    await attempted(set, { failure });
    await clock.advance(hourMs - 1);
    expect(await asked()).toEqual([]);
    await clock.advance(1);
    expect(await asked()).toEqual([id]);
    await attempted(set, { failure: { ...failure, mayPass: false } });
    await clock.advance(24 * hourMs);
    expect(await asked()).toEqual([]);
  });

  it('asks where a worker died after it had noted the outcome, before the record said it', async () => {
    const set = await queued();
    await attempted(set, { failure: { code: 'malformed', message: 'no', mayPass: false } });
    expect(await asked()).toEqual([id]);
  });

  it('looks at once, when what came before it may be lost, by schedule, and at a new epoch', async () => {
    await queued();
    await clock.advance(graceMs);
    reconciler.start();
    await clock.advance(0);
    expect(jobs.asked.size).toBe(1);
    jobs.asked.clear();
    await clock.advance(600_000);
    expect(jobs.asked.size).toBe(1);
    jobs.asked.clear();
    store.restart(0);
    await clock.advance(60_000);
    expect(jobs.asked.size).toBe(1);
  });

  it('is one at a time; another takes over when it is gone', async () => {
    await queued();
    await clock.advance(graceMs);
    expect(await new Lease(store, 'reconciler', 60_000).take()).toBe(true);
    reconciler.start();
    await clock.advance(0);
    expect(jobs.asked.size).toBe(0);
    await clock.advance(600_000);
    expect(jobs.asked.size).toBe(1);
  });
});

describe('the reconciler of a worker that starts', () => {
  it('looks once the lease of one that was killed is over', async () => {
    await new Lease(store, 'reconciler', 60_000).take();
    await queued();
    reconciler.start();
    await clock.advance(59_000);
    expect(jobs.asked.size).toBe(0);
    for (let seconds = 0; seconds < 2 * 15; seconds++) await clock.advance(1_000);
    expect([...jobs.asked.values()].map((job) => job.id)).toEqual([id]);
  });

  it('looks again after an outage', async () => {
    await queued();
    await clock.advance(graceMs);
    store.down(0);
    reconciler.start();
    await clock.advance(1_000);
    store.up(0);
    expect(jobs.asked.size).toBe(0);
    await clock.advance(graceMs);
    expect(jobs.asked.size).toBe(1);
  });
});

describe('a lease', () => {
  it('is held by one, renewed by it, and free when its time is over or it is given back', async () => {
    const [one, other] = [new Lease(store, 'x', 1_000), new Lease(store, 'x', 1_000)];
    expect([await one.take(), await other.take(), await one.take()]).toEqual([true, false, true]);
    await clock.advance(1_000);
    expect([await other.take(), await one.take()]).toEqual([true, false]);
    await other.release();
    expect(await one.take()).toBe(true);
    await other.release();
    expect(await other.take()).toBe(false);
  });
});
