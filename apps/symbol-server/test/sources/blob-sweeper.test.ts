// What is cleared from the blob store, and above all what is not.
import { createHash } from 'node:crypto';
import { mkdtempSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EpochSample, ManualClock, MemoryStore, shardCount } from '@symkeep/cache';
import { type ExecutableId, gnuId } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { debugFileKey, tableKey } from '../../src/blobs/blob-store.ts';
import { DirectoryStore } from '../../src/blobs/directory-store.ts';
import { type Catalog, createCatalog } from '../../src/catalog/index.ts';
import { Lease } from '../../src/jobs/lease.ts';
import { BlobSweeper, orphanMsMin, type Swept } from '../../src/sources/blob-sweeper.ts';
import type { Source, SourceSet } from '../../src/sources/source-set.ts';

const hourMs = 3_600_000;
const id = gnuId('ab'.repeat(20));
const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

let clock: ManualClock;
let store: MemoryStore;
let catalog: Catalog;
let place: string;
let blobs: DirectoryStore;

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore({ clock });
  catalog = createCatalog({ store, clock, cacheBytes: 4 * 2 ** 20 });
  await catalog.epoch.check();
  place = mkdtempSync(join(tmpdir(), 'blobs-'));
  blobs = new DirectoryStore(place, clock);
});

function sweep(retain: 'keep' | 'drop' = 'keep'): Promise<Swept> {
  const lease = new Lease(store, 'sweeper', 60_000);
  return new BlobSweeper({
    store,
    catalog,
    blobs,
    lease,
    retain,
    clock,
    log: pino({ level: 'silent' }),
  }).pass();
}

/** Keeps a file as of now, by the clock of the test. */
async function keep(text: string, of: ExecutableId = id): Promise<string> {
  const key = debugFileKey(of, digestOf(text));
  await blobs.keepBytes(key, Buffer.from(text));
  utimesSync(join(place, key), clock.wall() / 1_000, clock.wall() / 1_000);
  return key;
}

function sourceOf(text: string, more: Partial<Source> = {}): Source {
  return {
    ...{
      digest: digestOf(text),
      bytes: text.length,
      kind: 'debug',
      quality: 'dwarf',
      covered: 9,
      trust: 'ci',
    },
    ...{ at: 0, ...more },
  } as Source;
}

async function change(next: (set: SourceSet) => SourceSet): Promise<SourceSet> {
  const changed = await catalog.sources.change(id, next, catalog.epoch.sample() as EpochSample);
  return (changed as { after: SourceSet }).after;
}

const add = (...sources: Source[]) =>
  change((set) => ({ ...set, version: set.version + 1, sources: [...set.sources, ...sources] }));

async function files(): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of blobs.list('executables/')) keys.push(key);
  return keys;
}

describe('a file that no set names', () => {
  it('goes once it is older than an upload may take', async () => {
    await sweep();
    await clock.advance(hourMs);
    const orphan = await keep('orphan');
    const named = await keep('named');
    await add(sourceOf('named'));
    expect(await sweep()).toEqual({ files: 2, orphans: 0, dropped: 0 });
    await clock.advance(orphanMsMin + 1);
    expect(await sweep()).toEqual({ files: 2, orphans: 1, dropped: 0 });
    expect(await files()).toEqual([named]);
    expect(await blobs.read(orphan)).toBeNull();
  });

  it('stays if it is put again meanwhile', async () => {
    await sweep();
    await clock.advance(hourMs);
    await keep('orphan');
    await clock.advance(orphanMsMin + 1);
    await keep('orphan');
    expect(await sweep()).toMatchObject({ orphans: 0 });
  });

  it('stays if the store may have lost its set', async () => {
    await sweep();
    await clock.advance(hourMs);
    await keep('named');
    await add(sourceOf('named'));
    store.flush(Array.from({ length: shardCount }, (_, shard) => shard));
    await catalog.epoch.check();
    for (let hours = 0; hours < 48; hours++) {
      await clock.advance(hourMs);
      expect(await sweep()).toMatchObject({ files: 1, orphans: 0 });
    }
    // What is orphaned in the new epoch goes.
    await keep('later');
    await clock.advance(orphanMsMin + 1);
    expect(await sweep()).toMatchObject({ files: 2, orphans: 1 });
    expect(await files()).toHaveLength(1);
  });

  it('stays while the store is away', async () => {
    await sweep();
    await clock.advance(hourMs);
    await keep('orphan');
    await clock.advance(orphanMsMin + 1);
    store.down(0);
    await expect(sweep()).rejects.toThrow();
    expect(await files()).toHaveLength(1);
  });
});

describe('a debug file', () => {
  const table = (from: readonly string[], more: object = {}) => ({
    ...{ digest: digestOf('table'), generation: 1, format: symbolTableVersion, quality: 'dwarf', at: 0 },
    from: from.map(digestOf),
    ...more,
  });
  const extracted = (from: readonly string[], more: object = {}) =>
    change(
      (set) =>
        ({
          ...set,
          tables: [table(from, more)],
          attempt: { version: set.version, format: symbolTableVersion, at: 0 },
        }) as SourceSet,
    );

  beforeEach(async () => {
    await keep('debug');
    await keep('stripped');
    await add(sourceOf('debug'), sourceOf('stripped', { kind: 'executable', quality: 'dynsym' }));
    await blobs.keepBytes(tableKey(id, digestOf('table')), Buffer.from('table'));
  });

  it('is kept by default', async () => {
    await extracted(['debug', 'stripped']);
    expect(await sweep('keep')).toMatchObject({ files: 2, dropped: 0 });
  });

  it('goes once its table has all of it; its executable stays for another', async () => {
    const before = await extracted(['debug', 'stripped']);
    expect(await sweep('drop')).toMatchObject({ files: 2, dropped: 1 });
    expect(await files()).toEqual([debugFileKey(id, digestOf('stripped')), tableKey(id, digestOf('table'))]);
    const after = (await catalog.sources.read(id)) as SourceSet;
    expect(after.version).toBe(before.version);
    expect(after.sources.map(({ dropped }) => dropped)).toEqual([true, undefined]);
    expect(await sweep('drop')).toMatchObject({ files: 1, dropped: 0 });
  });

  it.each<[string, () => Promise<unknown>]>([
    ['before there is a table', async () => undefined],
    ['of which the table lacks something', () => extracted(['debug', 'stripped'], { partial: true })],
    ['that the table was not made from', () => extracted(['stripped'])],
    ['whose table is in an older format', () => extracted(['debug'], { format: symbolTableVersion - 1 })],
    [
      'whose table is not in the archive',
      async () => {
        await extracted(['debug', 'stripped']);
        await blobs.remove(tableKey(id, digestOf('table')));
      },
    ],
    [
      'beside which another came',
      async () => {
        await extracted(['debug', 'stripped']);
        await add(sourceOf('other'));
      },
    ],
    [
      'to which others refer',
      async () => {
        await change((set) => ({ ...set, sources: set.sources.map((one) => ({ ...one, covered: 0 })) }));
        await extracted(['debug', 'stripped']);
      },
    ],
  ])('%s stays', async (_name, arrange) => {
    await arrange();
    expect(await sweep('drop')).toMatchObject({ dropped: 0 });
    expect((await files()).filter((key) => key.includes('/files/'))).toHaveLength(2);
  });
});
