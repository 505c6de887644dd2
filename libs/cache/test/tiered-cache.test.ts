import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  Absences,
  type Loaded,
  ManualClock,
  StoreUnavailable,
  TieredCache,
  type TieredCacheOptions,
} from '../src/index.ts';

interface Value {
  readonly text: string;
  readonly generation: number;
}
interface Key {
  readonly id: string;
  readonly address: bigint;
  readonly generation: number;
}

const keyBytes = 8;
const outage = new StoreUnavailable('unreachable', 'away');
const key = (id: string, address = 0n, generation = 0): Key => ({ id, address, generation });
const bytesOf = ({ id }: Key): Uint8Array => Buffer.from(id.padEnd(keyBytes, '\0'));
const textOf = (loaded: Loaded<Value>) =>
  loaded === null || loaded instanceof StoreUnavailable ? loaded : loaded.text;

let clock: ManualClock;
/** What is behind: by "id@address"; a load reads it when it begins and answers when released. */
let behind: Map<string, Value>;
let loads: Key[][];
let away: boolean;
let held: (() => void)[] | undefined;

async function load(keys: readonly Key[]): Promise<readonly Loaded<Value>[]> {
  loads.push([...keys]);
  const read = keys.map(({ id, address }) => (away ? outage : (behind.get(`${id}@${address}`) ?? null)));
  if (held !== undefined) await new Promise<void>((resolve) => held!.push(resolve));
  return read;
}

function open(options: Partial<TieredCacheOptions<Key, Value>> = {}): TieredCache<Key, Value> {
  const plain = {
    clock,
    keyBytes,
    entriesMax: 100,
    keyOf: bytesOf,
    addressOf: ({ address }: Key) => address,
    load,
  };
  return new TieredCache<Key, Value>({ ...plain, ...options });
}

function put(id: string, text: string, generation = 0, address = 0n): void {
  behind.set(`${id}@${address}`, { text, generation });
}

/** Lets every load that has begun answer. */
async function release(): Promise<void> {
  for (const answer of held!.splice(0)) answer();
  await turn();
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  clock = new ManualClock();
  behind = new Map();
  loads = [];
  away = false;
  held = undefined;
  for (const id of ['a', 'b', 'c', 'd']) put(id, id.toUpperCase());
});

test('what was read otherwise is a hit, ends an absence, and is listed by its last use', async () => {
  const absences = new Absences({ clock, keyBytes, addressed: true, entriesMax: 8, lifetimeMs: 60_000 });
  const cache = open({ absences });
  expect(await cache.get(key('new'))).toBeNull();
  for (const id of ['new', 'b', 'c']) cache.put(key(id), { text: `${id} before`, generation: 0 });
  expect(textOf(await cache.get(key('new')))).toBe('new before');
  expect(cache.values().map(({ text }) => text)).toEqual(['b before', 'c before', 'new before']);
  cache.invalidate(key('b'));
  expect(textOf(await cache.get(key('b')))).toBe('B');
  expect(loads).toHaveLength(2);
});

describe('a miss', () => {
  test('is loaded, and is a hit from then on', async () => {
    const cache = open();
    expect(textOf(await cache.get(key('a')))).toBe('A');
    expect(textOf(await cache.get(key('a')))).toBe('A');
    expect(loads).toHaveLength(1);
    expect(cache.hit(bytesOf(key('a')))?.text).toBe('A');
    const row = Buffer.concat([Buffer.from('xx'), bytesOf(key('a'))]);
    expect(cache.hit(row, 2)?.text).toBe('A');
    expect(cache.hit(bytesOf(key('b')))).toBeUndefined();
  });

  test('joins the others in one load, each key once, results in order', async () => {
    const cache = open();
    await cache.get(key('b'));
    const many = cache.getMany(['a', 'b', 'a', 'zz', 'c'].map((id) => key(id)));
    const one = cache.get(key('c'));
    expect((await many).map(textOf)).toEqual(['A', 'B', 'A', null, 'C']);
    expect(textOf(await one)).toBe('C');
    expect(loads.map((batch) => batch.map(({ id }) => id))).toEqual([['b'], ['a', 'zz', 'c']]);
    expect(cache.metrics()).toMatchObject({ loads: 2, loadedKeys: 4, coalesced: 2, pending: 0 });
  });

  test('of one key at another address is another', async () => {
    const cache = open();
    const far = 0xffff_ffff_8000_0001n;
    put('a', 'near', 0, 1n);
    put('a', 'far', 0, far);
    expect((await cache.getMany([key('a', 1n), key('a', far), key('a')])).map(textOf)).toEqual([
      'near',
      'far',
      'A',
    ]);
    expect(cache.hit(bytesOf(key('a')), 0, 0x8000_0001 | 0, -1)?.text).toBe('far');
  });

  test('that has the hash of another by chance is loaded for itself', async () => {
    // In the hash the upper word, times this constant, meets the lower one.
    const colliding = (1n << 32n) | 0x9e3779b1n;
    put('a', 'zero', 0, 0n);
    put('a', 'colliding', 0, colliding);
    const cache = open();
    const found = await cache.getMany([key('a', 0n), key('a', colliding), key('a', 0n)]);
    expect(found.map(textOf)).toEqual(['zero', 'colliding', 'zero']);
    expect(cache.metrics()).toMatchObject({ pending: 0, size: 2 });
  });

  test('waits for its load however often it is asked for meanwhile', async () => {
    held = [];
    const cache = open();
    const first = cache.get(key('a'));
    await turn();
    const later = cache.get(key('a'));
    await release();
    expect([textOf(await first), textOf(await later), loads.length]).toEqual(['A', 'A', 1]);
  });

  test('waits for the batch to fill or for its time', async () => {
    const cache = open({ batchMax: 2, batchMs: 5 });
    const three = cache.getMany([key('a'), key('b'), key('c')]);
    await turn();
    expect(loads.map((batch) => batch.length)).toEqual([2]);
    // That of the third; the first two no longer wait for theirs.
    expect(clock.pendingTimers).toBe(1);
    clock.advanceSync(4);
    expect(loads).toHaveLength(1);
    clock.advanceSync(1);
    expect((await three).map(textOf)).toEqual(['A', 'B', 'C']);
    expect(loads.map((batch) => batch.length)).toEqual([2, 1]);
    expect(clock.pendingTimers).toBe(0);
  });

  test('is answered at once when too much is waiting', async () => {
    held = [];
    const cache = open({ pendingMax: 2 });
    const waiting = cache.getMany([key('a'), key('b')]);
    expect(await cache.get(key('c'))).toMatchObject({ reason: 'overloaded' });
    expect(cache.metrics()).toMatchObject({ overloads: 1, pending: 2 });
    await turn();
    await release();
    await waiting;
    held = undefined;
    expect(textOf(await cache.get(key('c')))).toBe('C');
  });
});

describe('an outage', () => {
  test('is passed on and never kept, and what is cached is served throughout', async () => {
    const absences = new Absences({ clock, keyBytes, addressed: true, entriesMax: 10 });
    const cache = open({ absences });
    await cache.get(key('a'));
    away = true;
    expect((await cache.getMany([key('a'), key('b')])).map(textOf)).toEqual(['A', outage]);
    expect(absences.size).toBe(0);
    away = false;
    expect(textOf(await cache.get(key('b')))).toBe('B');
    expect(cache.metrics()).toMatchObject({ outages: 1 });
  });

  test('of the load itself rejects all who wait, and the next ask loads anew', async () => {
    let fails = true;
    const cache = open({ load: (keys) => (fails ? Promise.reject(new Error('broken')) : load(keys)) });
    const asked = [cache.get(key('a')), cache.getMany([key('a'), key('b')])];
    await expect(Promise.allSettled(asked)).resolves.toMatchObject([
      { status: 'rejected' },
      { status: 'rejected' },
    ]);
    fails = false;
    expect(textOf(await cache.get(key('a')))).toBe('A');
    expect(cache.metrics()).toMatchObject({ failedLoads: 1, pending: 0 });
  });

  test('of one that answers too little is an error, not an absence', async () => {
    const cache = open({ load: async () => [] });
    await expect(cache.get(key('a'))).rejects.toThrow('1 keys loaded 0 values');
  });
});

describe('an absence', () => {
  const absencesOf = () =>
    new Absences({ clock, keyBytes, addressed: true, entriesMax: 10, lifetimeMs: 1_000, jitter: 0 });

  test('is kept for its lifetime, not extended by use', async () => {
    const cache = open({ absences: absencesOf() });
    expect(await cache.get(key('zz'))).toBeNull();
    for (let i = 0; i < 9; i++) {
      clock.advanceSync(100);
      expect(await cache.get(key('zz'))).toBeNull();
    }
    expect(cache.hit(bytesOf(key('zz')))).toBeNull();
    expect(loads).toHaveLength(1);
    put('zz', 'found');
    clock.advanceSync(100);
    expect(textOf(await cache.get(key('zz')))).toBe('found');
    expect(textOf(cache.hit(bytesOf(key('zz'))) ?? null)).toBe('found');
  });

  test('ends at once with an invalidation', async () => {
    const cache = open({ absences: absencesOf() });
    await cache.get(key('zz'));
    put('zz', 'found');
    cache.invalidate(key('zz'));
    expect(textOf(await cache.get(key('zz')))).toBe('found');
  });

  test('is loaded each time where absences are not kept', async () => {
    const cache = open();
    await cache.getMany([key('zz')]);
    await cache.getMany([key('zz')]);
    expect(loads).toHaveLength(2);
  });
});

describe('an invalidation', () => {
  for (const [what, absent] of [
    ['value', false],
    ['absence', true],
  ] as const) {
    test(`keeps a ${what} that was read before it from being installed`, async () => {
      if (absent) behind.delete('a@0');
      held = [];
      const cache = open({ absences: new Absences({ clock, keyBytes, addressed: true, entriesMax: 10 }) });
      const old = cache.get(key('a'));
      await turn();
      put('a', 'new');
      cache.invalidate(key('a'));
      await release();
      expect(textOf(await old)).toBe(absent ? null : 'A');
      expect(cache.hit(bytesOf(key('a')))).toBeUndefined();
      expect(cache.metrics()).toMatchObject({ stalePopulatesRefused: 1, invalidations: 1 });
    });
  }

  test('lets who asks after it see what a load begun after it brings', async () => {
    held = [];
    const cache = open();
    const old = cache.get(key('a'));
    await turn();
    put('a', 'new');
    cache.invalidate(key('a'));
    const fresh = cache.get(key('a'));
    await turn();
    expect(loads).toHaveLength(2);
    await release();
    expect([textOf(await old), textOf(await fresh)]).toEqual(['A', 'new']);
    expect(cache.hit(bytesOf(key('a')))?.text).toBe('new');
    expect(cache.metrics().pending).toBe(0);
  });

  test('leaves other keys alone', async () => {
    held = [];
    const cache = open();
    const both = cache.getMany([key('a'), key('b')]);
    await turn();
    cache.invalidate(key('a'));
    await release();
    await both;
    expect(cache.hit(bytesOf(key('b')))?.text).toBe('B');
  });

  test('of everything drops everything, what is being loaded too', async () => {
    held = [];
    const absences = new Absences({ clock, keyBytes, addressed: true, entriesMax: 10 });
    const cache = open({ absences });
    const first = cache.getMany([key('a'), key('zz')]);
    await turn();
    await release();
    await first;
    const loading = cache.get(key('b'));
    await turn();
    cache.dropAll();
    await release();
    await loading;
    for (const id of ['a', 'b', 'zz']) expect(cache.hit(bytesOf(key(id)))).toBeUndefined();
    expect(cache.metrics()).toMatchObject({ drops: 1, stalePopulatesRefused: 1, size: 0 });
  });
});

describe('a generation', () => {
  const isCurrent = (value: Value, { generation }: Key): boolean => value.generation >= generation;

  test('newer than the entry makes it a miss', async () => {
    const cache = open({ isCurrent });
    await cache.get(key('a'));
    put('a', 'A2', 2);
    expect(textOf(await cache.get(key('a')))).toBe('A');
    expect(textOf(await cache.get(key('a', 0n, 2)))).toBe('A2');
    expect(textOf(await cache.get(key('a', 0n, 1)))).toBe('A2');
    expect(cache.metrics()).toMatchObject({ loads: 2, outdated: 1 });
  });

  test('newer than what a flight brings is loaded again', async () => {
    held = [];
    const cache = open({ isCurrent });
    const old = cache.get(key('a'));
    await turn();
    put('a', 'A2', 2);
    const fresh = cache.get(key('a', 0n, 2));
    await release();
    expect(textOf(await old)).toBe('A');
    await release();
    expect(textOf(await fresh)).toBe('A2');
  });
});

test('whatever the order of reads, writes and loads, nobody sees a value older than at the time of asking', async () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('ask' as const), id: fc.constantFrom('a', 'b', 'c') }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('write' as const), id: fc.constantFrom('a', 'b', 'c') }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const), id: fc.nat({ max: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), id: fc.constant('') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('turn' as const), id: fc.constant('') }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      behind = new Map();
      held = [];
      const cache = open({ entriesMax: 2 });
      const versions: Record<string, number> = { a: 0, b: 0, c: 0 };
      for (const id of Object.keys(versions)) put(id, '0');
      const asked: Promise<void>[] = [];
      for (const { do: what, id } of steps) {
        if (what === 'ask') {
          const least = versions[id]!;
          const check = (loaded: Loaded<Value>): void =>
            expect(Number(textOf(loaded))).toBeGreaterThanOrEqual(least);
          asked.push(cache.get(key(id)).then(check));
        } else if (what === 'write') {
          put(id, String(++versions[id]!));
          cache.invalidate(key(id));
        } else if (what === 'answer') {
          held.splice(Number(id), 1)[0]?.();
        } else if (what === 'drop') {
          for (const each of Object.keys(versions)) put(each, String(++versions[each]!));
          cache.dropAll();
        } else await turn();
      }
      for (let i = 0; i < 3; i++) {
        await turn();
        await release();
      }
      await Promise.all(asked);
      const { hits, misses, inserted, evicted, expired, removed, size, pending } = cache.metrics();
      expect(inserted - evicted - expired - removed).toBe(size);
      expect(hits + misses).toBe(asked.length);
      expect(pending).toBe(0);
    }),
    { numRuns: 300 },
  );
});
