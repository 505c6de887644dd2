// The journal and what a store that lost everything becomes again, on a store in memory and blobs in a directory.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EpochSample, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, unseenRecordOf } from '@symkeep/protocol';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Archivist } from '../src/archive/archivist.ts';
import { eraseBlobs } from '../src/archive/erasures.ts';
import {
  decodeSegment,
  encodeSegment,
  JournalDamage,
  type JournalEntry,
  joinedEntries,
  segmentKeys,
  writeSegment,
} from '../src/archive/journal.ts';
import { rebuild } from '../src/archive/rebuild.ts';
import type { BlobStore } from '../src/blobs/blob-store.ts';
import { DirectoryStore } from '../src/blobs/directory-store.ts';
import { StoredRecord } from '../src/catalog/stored-record.ts';
import { Lease } from '../src/jobs/lease.ts';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let folder: string;
let blobs: BlobStore;
let server: AppUnderTest;
let archivist: Archivist;
let troubles: Error[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'symkeep-archive-'));
  server = await startApp();
  blobs = new DirectoryStore(folder, server.clock);
  troubles = [];
  archivist = archivistOf(server);
});

afterEach(() => {
  expect(troubles).toEqual([]);
  rmSync(folder, { recursive: true });
});

function archivistOf({ store, clock, deps }: AppUnderTest): Archivist {
  const onTrouble = (error: Error) => troubles.push(error);
  const lease = new Lease(store, 'archivist', 60_000);
  return new Archivist({ store, clock, blobs, lease, epoch: deps.catalog.epoch, onTrouble });
}

function executable(n: number) {
  const hex = n.toString(16).padStart(2, '0');
  return {
    ...bash,
    ids: { gnu: `ab${hex}`.repeat(10), htlhash: `cd${hex}`.repeat(8) },
    name: `/opt/app-${n}`,
  };
}

function idOf(n: number): string {
  return `gnu:${executable(n).ids.gnu}`;
}

async function recordOf(from: AppUnderTest, id: string): Promise<Record<string, unknown>> {
  return messageOf(await from.get(`/v1/executables/${id}`));
}

function sampleOf({ deps }: AppUnderTest): EpochSample {
  const sample = deps.catalog.epoch.sample();
  if (sample instanceof StoreUnavailable) throw sample;
  return sample;
}

async function rebuildInto(target: AppUnderTest) {
  const { store, clock, deps } = target;
  const done = rebuild({ store, clock, blobs, catalog: deps.catalog, onProgress: () => undefined });
  await clock.advance(2_500);
  return done;
}

describe('a journal segment', () => {
  const entry: JournalEntry = {
    id: bashId as ExecutableId,
    record: Uint8Array.of(0x80),
    frames: [['2f', Uint8Array.of(1, 2)]],
    sources: null,
  };
  const head = { epoch: 'e', cursor: [1, 2, 3] };

  it('comes back as it was written', () => {
    expect(decodeSegment('k', encodeSegment(head, [entry, { ...entry, sources: Uint8Array.of(9) }]))).toEqual(
      {
        head,
        entries: [
          { ...entry, record: Buffer.of(0x80), frames: [['2f', Buffer.of(1, 2)]] },
          { ...entry, record: Buffer.of(0x80), frames: [['2f', Buffer.of(1, 2)]], sources: Buffer.of(9) },
        ],
      },
    );
  });

  it('that is damaged in any byte is a typed error, never another content', () => {
    const whole = encodeSegment(head, [entry]);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(whole);
        damaged[at]! ^= flip;
        expect(() => decodeSegment('k', damaged)).toThrow(JournalDamage);
        expect(() => decodeSegment('k', whole.subarray(0, at))).toThrow(JournalDamage);
      }),
    );
  });

  it('is joined with the others, executable by executable, in as many parts as it takes', async () => {
    const recordNamed = (name: string) =>
      StoredRecord.of({ ...unseenRecordOf(bashId as ExecutableId, 1), names: [name] }).wire;
    const named = (name: string) => ({ ...entry, record: recordNamed(name) });
    const others = Array.from({ length: 20 }, (_, n) => ({ ...entry, id: idOf(n) as ExecutableId }));
    await writeSegment(blobs, 1_000, head, [named('/a'), ...others, named('/b')]);
    await writeSegment(blobs, 2_000, head, [named('/c')]);
    for (const partBytes of [1, 100, 1_000_000]) {
      const joined = new Map<string, JournalEntry>();
      let count = 0;
      for await (const one of joinedEntries(blobs, await segmentKeys(blobs), partBytes)) {
        joined.set(one.id, one);
        count++;
      }
      expect([count, joined.size]).toEqual([21, 21]);
      expect(joined.get(others[7]!.id)).toMatchObject({ record: Buffer.of(0x80) });
      expect(StoredRecord.read(joined.get(bashId)!.record).record.names).toEqual(['/a', '/b', '/c']);
    }
  });
});

describe('the archivist', () => {
  it('states everything once, then only what changed', async () => {
    await server.post('/v1/executables', reportOf(bash, executable(1)));
    await archivist.advance();
    expect(archivist.counts).toMatchObject({ fullPasses: 1, entries: 2 });
    await archivist.advance();
    expect(archivist.counts).toMatchObject({ fullPasses: 1, entries: 2 });
    await server.post('/v1/executables', reportOf(executable(2)));
    await archivist.advance();
    expect(archivist.counts).toMatchObject({ fullPasses: 1, entries: 3 });
  });

  it('goes on where the last one stopped', async () => {
    await server.post('/v1/executables', reportOf(bash));
    await archivist.advance();
    await server.post('/v1/executables', reportOf(executable(1)));
    const next = archivistOf(server);
    await next.advance();
    expect(next.counts.segments).toBe(0);
    await archivist.stop();
    await server.post('/v1/executables', reportOf(executable(2)));
    await next.advance();
    expect([archivist.counts.entries, next.counts]).toMatchObject([2, { fullPasses: 0, entries: 1 }]);
  });

  it('begins anew in another epoch', async () => {
    await server.post('/v1/executables', reportOf(bash, executable(1)));
    await archivist.advance();
    server.store.restart(0);
    await server.clock.advance(1_000);
    await archivist.advance();
    expect(archivist.counts).toMatchObject({ fullPasses: 2, entries: 4 });
  });

  it('loses nothing by an outage of the store', async () => {
    await server.post('/v1/executables', reportOf(bash));
    server.store.down(0);
    await archivist.advance();
    expect(archivist.counts.segments).toBe(0);
    server.store.up(0);
    await archivist.advance();
    expect(archivist.counts.entries).toBe(1);
  });

  it('counts what the blob store refuses, says so, and tries again', async () => {
    await server.post('/v1/executables', reportOf(bash));
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const usual = blobs;
    blobs = new DirectoryStore(join(file, 'blobs'), server.clock);
    const unlucky = archivistOf(server);
    blobs = usual;
    await unlucky.advance();
    await unlucky.advance();
    expect([unlucky.counts.failures, unlucky.counts.entries]).toEqual([2, 0]);
    expect(troubles.splice(0).map(({ message }) => message)).toEqual(
      Array(2).fill(expect.stringContaining(file)),
    );
  });

  it('folds what piled up, without what was erased', async () => {
    await server.post('/v1/executables', reportOf(bash, executable(1), executable(2)));
    await archivist.advance();
    for (let n = 0; n < 5; n++) {
      await server.post('/v1/executables', reportOf({ ...bash, name: `/bin/name-${n}` }));
      await archivist.advance();
    }
    await eraseBlobs(blobs, idOf(1) as ExecutableId, 1);
    const before = (await segmentKeys(blobs)).length;
    await archivist.compact(true);
    expect([before, (await segmentKeys(blobs)).length]).toEqual([6, 1]);
    const ids: string[] = [];
    for await (const { id } of joinedEntries(blobs, await segmentKeys(blobs))) ids.push(id);
    expect(ids.sort()).toEqual([bashId, idOf(2)].sort());
    await archivist.stop();
    const next = archivistOf(server);
    await next.advance();
    expect(next.counts).toMatchObject({ fullPasses: 0, entries: 0 });
  });

  it('folds at once when something was erased', async () => {
    await server.post('/v1/executables', reportOf(bash, executable(1)));
    await archivist.advance();
    await server.app.request(`/v1/executables/${bashId}`, { method: 'DELETE' });
    await eraseBlobs(blobs, bashId as ExecutableId, 1);
    await archivist.advance();
    expect(archivist.counts.compactions).toBe(1);
    const text = await Promise.all(
      (await segmentKeys(blobs)).map(async (key) =>
        JSON.stringify(decodeSegment(key, (await blobs.read(key))!)),
      ),
    );
    expect(text.join()).not.toContain(bashId);
  });
});

describe('a rebuild', () => {
  it('brings back records, aliases and frames as they were', async () => {
    await server.post(
      '/v1/executables',
      reportOf(bash, ...Array.from({ length: 250 }, (_, n) => executable(n))),
    );
    await server.post('/v1/frames', { frames: [{ id: bashId, address: '0x2f010', function: 'main' }] });
    const before = await recordOf(server, bashId);
    await archivist.advance();
    const empty = await startApp();
    const done = await rebuildInto(empty);
    expect(done).toEqual({ records: 251, frameWindows: 1, tables: 0, tombstones: 0, missingTables: 0 });
    expect(await recordOf(empty, bashId)).toEqual(before);
    expect(await recordOf(empty, `htlhash:${bash.ids.htlhash}`)).toEqual(before);
    const frames = await messageOf(await empty.get(`/v1/executables/${bashId}/frames/0x2f010`));
    expect(frames).toMatchObject({ status: 0, frames: [{ function: 'main' }] });
    const found = await messageOf<{ items: unknown[] }>(await empty.get('/v1/executables?name=app-177'));
    expect(found.items).toHaveLength(1);
    expect(await rebuildInto(empty)).toMatchObject({ records: 251 });
    expect(await recordOf(empty, bashId)).toEqual(before);
  });

  it('brings back what the store had before a loss, though the journal has gone on since', async () => {
    const { clock, deps } = server;
    await server.post('/v1/executables', reportOf(bash, executable(1)));
    const frame = { id: bashId, function: 'main', file: '/a.c', line: 3 };
    await server.post('/v1/frames', { frames: [{ ...frame, address: '0x2f010' }] });
    const id = bashId as ExecutableId;
    const source = {
      digest: '11'.repeat(32),
      bytes: 9,
      kind: 'debug',
      quality: 'dwarf',
      covered: 7,
    } as const;
    await deps.catalog.sources.add(id, { ...source, trust: 'ci' }, sampleOf(server));
    await archivist.advance();
    const before = await recordOf(server, bashId);

    const second = await startApp();
    await second.clock.advance(clock.wall() - second.clock.wall() + 86_400_000);
    const archivistOfSecond = archivistOf(second);
    await second.post('/v1/executables', reportOf({ ...bash, name: '/opt/bash' }));
    await second.post('/v1/frames', { frames: [{ ...frame, address: '0x2f020' }] });
    const other = { ...source, digest: '22'.repeat(32), trust: 'agent' } as const;
    await second.deps.catalog.sources.add(id, other, sampleOf(second));
    await archivistOfSecond.advance();
    await archivistOfSecond.compact(true);

    // Into the store that has some of it, and into an empty one.
    for (const target of [second, await startApp()]) {
      await rebuildInto(target);
      await target.clock.advance(1_000);
      expect(await recordOf(target, bashId)).toMatchObject({
        names: expect.arrayContaining(['/usr/bin/bash', '/opt/bash']),
        firstSeen: before.firstSeen,
      });
      for (const address of ['0x2f010', '0x2f020']) {
        const found = await messageOf(await target.get(`/v1/executables/${bashId}/frames/${address}`));
        expect(found).toMatchObject({ status: 0, frames: [{ function: 'main' }] });
      }
      const set = await target.deps.catalog.sources.read(id);
      expect(set).toMatchObject({ sources: [source, other] });
      expect((await target.get(`/v1/executables/${idOf(1)}`)).status).toBe(200);
    }
  });

  it('joins what agents reported meanwhile', async () => {
    await server.post('/v1/executables', reportOf(bash));
    await archivist.advance();
    const empty = await startApp();
    await empty.post('/v1/executables', reportOf({ ...bash, name: '/opt/bash' }));
    await rebuildInto(empty);
    expect((await recordOf(empty, bashId)).names).toEqual(
      expect.arrayContaining(['/usr/bin/bash', '/opt/bash']),
    );
  });

  it('brings back no executable that was erased, and refuses reports of it', async () => {
    await server.post('/v1/executables', reportOf(bash));
    await archivist.advance();
    await eraseBlobs(blobs, bashId as ExecutableId, 1);
    const empty = await startApp();
    expect(await rebuildInto(empty)).toMatchObject({ records: 0, tombstones: 1 });
    expect((await empty.get(`/v1/executables/${bashId}`)).status).toBe(410);
  });

  it('answers unavailable for what is not there yet, until it ends', async () => {
    await server.post('/v1/executables', reportOf(bash));
    await archivist.advance();
    const empty = await startApp();
    const { store, clock, deps } = empty;
    const done = rebuild({ store, clock, blobs, catalog: deps.catalog, onProgress: () => undefined });
    await clock.advance(2_000);
    expect((await empty.get(`/v1/executables/${bashId}`)).status).toBe(503);
    const { results } = await messageOf<{ results: { status: number[] }[] }>(
      await empty.post('/v1/frames/lookup', { requests: [{ id: bashId, addresses: [1] }] }),
    );
    expect(results[0]!.status).toEqual([4]);
    await clock.advance(500);
    await done;
    await clock.advance(1_000);
    expect((await empty.get(`/v1/executables/${bashId}`)).status).toBe(200);
    expect((await empty.get(`/v1/executables/${idOf(1)}`)).status).toBe(404);
  });

  it('that dies leaves a flag that ends by itself', async () => {
    await server.deps.catalog.rebuilding.raise(30_000);
    await server.clock.advance(1_000);
    expect((await server.get(`/v1/executables/${bashId}`)).status).toBe(503);
    await server.clock.advance(30_000);
    expect((await server.get(`/v1/executables/${bashId}`)).status).toBe(404);
  });
});
