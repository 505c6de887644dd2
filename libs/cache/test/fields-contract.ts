// What every store promises of keys that hold many values.
import { expect, test } from 'vitest';
import type { Swap } from '../src/index.ts';
import { bytes, type OpenSubject, ok } from './store-contract.ts';

/** For what a real store does by its own clock. */
const patient = { timeout: 30_000 };

export function describeFields(open: OpenSubject): void {
  test('the idle time of a key begins anew with each read and write of its fields', async () => {
    const { store, pass } = await open();
    const at = (key: string) => ({ shard: 8, key, field: '0' });
    await store.swap([at('a'), at('b')].map((place) => ({ at: place, expected: null, value: bytes('x') })));
    pass(5_000);
    await store.get([at('b')]);
    const [a, b, none] = await store.idleSeconds([at('a'), at('b'), at('none')]);
    expect([b, none]).toEqual([0, null]);
    expect(ok(a!)).toBeGreaterThanOrEqual(0);
  });

  test('a key is dropped whole, and its neighbours stay', async () => {
    const { store } = await open();
    const at = (key: string, field?: string) => ({
      shard: 8,
      key,
      ...(field === undefined ? {} : { field }),
    });
    const places = [
      at('many', '0'),
      at('many', '1'),
      at('one'),
      at('other', '0'),
      { ...at('one'), shard: 9 },
    ];
    await store.swap(places.map((place) => ({ at: place, expected: null, value: bytes('x') })));
    expect(await store.drop([at('many'), at('one'), at('none')])).toBeUndefined();
    expect((await store.get(places)).map((read) => ok(read) !== null)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(ok(await store.countFields(at('many')))).toBe(0);
  });

  test('a key leaves by itself, with all its fields, unless it is kept before', async () => {
    const { store, pass } = await open();
    const field = (key: string, name: string): Swap => ({
      at: { shard: 7, key, field: name },
      expected: null,
      value: bytes(name),
    });
    const leaving = ['kept', 'left'].flatMap((key) => [
      { ...field(key, 'a'), leave: { key, ms: 1_000 } },
      field(key, 'b'),
    ]);
    await store.swap(leaving);
    // A lost swap keeps nothing, and lets nothing leave.
    const lost = { ...field('kept', 'a'), keep: 'left', leave: { key: 'kept', ms: 1 } };
    expect(ok((await store.swap([lost]))[0]!)).toMatchObject({ swapped: false });
    const other = { at: { shard: 7, key: 'other' }, expected: null, value: bytes('x') };
    await store.swap([{ ...other, keep: 'kept', leave: { key: 'other', ms: 1_000 } }]);
    const count = async (key: string) => ok(await store.countFields({ shard: 7, key }));
    expect([await count('kept'), await count('left')]).toEqual([2, 2]);
    await expect
      .poll(async () => {
        pass(2_000);
        return [(await store.get([other.at]))[0], await count('left')];
      }, patient)
      .toEqual([null, 0]);
    expect(await count('kept')).toBe(2);
  });

  test('fields of a key are values of their own, counted, gone with the last', async () => {
    const { store } = await open();
    const at = (field: string) => ({ shard: 7, key: 'pages', field });
    expect(ok(await store.countFields({ shard: 7, key: 'pages' }))).toBe(0);
    const fields = ['0', '1', ''];
    await store.swap(fields.map((field) => ({ at: at(field), expected: null, value: bytes(`v${field}`) })));
    expect(ok(await store.countFields({ shard: 7, key: 'pages' }))).toBe(3);
    expect([...ok(await store.listFields({ shard: 7, key: 'pages' }))].sort()).toEqual(['', '0', '1']);
    expect(ok(await store.listFields({ shard: 7, key: 'none' }))).toEqual([]);
    const reads = await store.get([at('1'), { shard: 7, key: 'none', field: '1' }, at(''), at('2'), at('0')]);
    expect(reads.map((read) => ok(read) && Buffer.from(ok(read)!).toString())).toEqual([
      'v1',
      null,
      'v',
      null,
      'v0',
    ]);
    const removals = fields.map((field) => ({ at: at(field), expected: bytes(`v${field}`), value: null }));
    expect(await store.swap(removals)).toMatchObject([
      { swapped: true },
      { swapped: true },
      { swapped: true },
    ]);
    expect(ok(await store.countFields({ shard: 7, key: 'pages' }))).toBe(0);
  });
}
