import { type EpochSample, ManualClock, MemoryStore, StoreUnavailable } from '@symkeep/cache';
import { decode, gnuId } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { sourcesAt } from '../src/catalog/keys.ts';
import { emptySet, type Source, type SourceSet } from '../src/sources/source-set.ts';
import { type SetChange, Sources } from '../src/sources/sources.ts';

const id = gnuId('c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80');

function sourceOf(file: number, over: Partial<Source> = {}): Omit<Source, 'at'> {
  const digest = file.toString(16).padStart(64, '0');
  return {
    digest,
    bytes: 5_000_000_000 + file,
    kind: 'debug',
    quality: 'dwarf',
    covered: file,
    trust: 'ci',
    ...over,
  };
}

let clock: ManualClock;
let store: MemoryStore;
let sources: Sources;
let confirmed: number[];
const sample: EpochSample = {
  epoch: 'e',
  confirm: (shard) => void confirmed.push(shard),
  outage: () => null,
};

async function changed(outcome: Promise<SetChange | StoreUnavailable>): Promise<SetChange> {
  const change = await outcome;
  if (change instanceof StoreUnavailable) throw change;
  return change;
}

beforeEach(() => {
  clock = new ManualClock();
  store = new MemoryStore({ clock, nodes: 3 });
  sources = new Sources(store);
  confirmed = [];
});

describe('Sources', () => {
  it('keeps what was added, with the time of the store', async () => {
    expect(await sources.read(id)).toBe(emptySet);
    const { before, after } = await changed(sources.add(id, sourceOf(1), sample));
    expect(before).toBe(emptySet);
    expect(after.sources).toEqual([{ ...sourceOf(1), at: Math.floor(clock.wall()) }]);
    expect(await sources.read(id)).toEqual(after);
    expect(confirmed).toEqual([sourcesAt(id).shard]);
  });

  it('is plain MessagePack in the store', async () => {
    const { after } = await changed(sources.add(id, sourceOf(1), sample));
    const [bytes] = await store.get([sourcesAt(id)]);
    expect(decode(bytes as Uint8Array, 'msgpack')).toEqual(after);
  });

  it('changes nothing when the same comes again, and grows in version when not', async () => {
    const first = await changed(sources.add(id, sourceOf(1), sample));
    await clock.advance(10);
    const again = await changed(sources.add(id, sourceOf(1), sample));
    expect(again.after).toBe(again.before);
    const other = await changed(sources.add(id, sourceOf(2), sample));
    expect(other.after.version).toBeGreaterThan(first.after.version);
  });

  it('loses no file of many writers at once', async () => {
    const writers = Array.from({ length: 8 }, () => new Sources(store));
    await Promise.all(writers.map((writer, file) => changed(writer.add(id, sourceOf(file), sample))));
    const set = (await sources.read(id)) as SourceSet;
    expect(set.sources.map(({ covered }) => covered).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('of a store that is away is an outage, never an empty set', async () => {
    await changed(sources.add(id, sourceOf(1), sample));
    for (let node = 0; node < 3; node++) store.down(node);
    expect(await sources.read(id)).toBeInstanceOf(StoreUnavailable);
    expect(await sources.add(id, sourceOf(2), sample)).toBeInstanceOf(StoreUnavailable);
  });
});
