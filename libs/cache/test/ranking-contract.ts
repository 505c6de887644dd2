// What every store promises of its rankings.
import { expect, test } from 'vitest';
import { type OpenSubject, ok } from './store-contract.ts';

export function describeRankings(open: OpenSubject): void {
  const at = (member: string, shard = 3) => ({ shard, ranking: 'asked', member });

  test('scores add up, highest first, each ranking of each shard its own', async () => {
    const { store } = await open();
    const rises = [
      { ...at('a'), by: 2 },
      { ...at('b'), by: 5 },
      { ...at('a'), by: 1.5 },
      { ...at('a', 4), by: 9 },
      { shard: 3, ranking: 'other', member: 'a', by: 7 },
    ];
    expect(await store.raise(rises, 100)).toEqual([2, 5, 3.5, 9, 7]);
    expect(await store.highest(3, 'asked', 10)).toEqual([
      { member: 'b', score: 5 },
      { member: 'a', score: 3.5 },
    ]);
    expect(await store.highest(3, 'asked', 1)).toEqual([{ member: 'b', score: 5 }]);
    expect(await store.highest(9, 'asked', 1)).toEqual([]);
    expect(await store.scores([at('a'), at('c'), at('a', 4)])).toEqual([3.5, null, 9]);
    expect(await store.raise([], 100)).toEqual([]);
  });

  test('a full ranking gives the place and the score of its lowest to a newcomer', async () => {
    const { store } = await open();
    for (const [member, by] of [
      ['a', 10],
      ['b', 2],
      ['c', 4],
    ] as const) {
      await store.raise([{ ...at(member), by }], 3);
    }
    expect(
      await store.raise(
        [
          { ...at('d'), by: 1 },
          { ...at('a'), by: 1 },
        ],
        3,
      ),
    ).toEqual([3, 11]);
    expect(await store.highest(3, 'asked', 9)).toEqual([
      { member: 'a', score: 11 },
      { member: 'c', score: 4 },
      { member: 'd', score: 3 },
    ]);
  });

  test('what is withdrawn is gone, and equal scores have one order', async () => {
    const { store } = await open();
    await store.raise(
      ['a', 'b', '\u{1F600}', '\uFFFF'].map((member) => ({ ...at(member), by: 1 })),
      9,
    );
    expect(await store.withdraw([at('b'), at('none')])).toBeUndefined();
    const ranked = ok(await store.highest(3, 'asked', 9));
    expect(ranked.map(({ member }) => member)).toEqual(['\u{1F600}', '\uFFFF', 'a']);
    expect(await store.scores([at('b')])).toEqual([null]);
  });
}
