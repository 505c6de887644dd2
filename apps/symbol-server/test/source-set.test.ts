import type { ExecutableId } from '@symkeep/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { debugFileKey, tableKey } from '../src/blobs/blob-store.ts';
import {
  compareSources,
  emptySet,
  type Source,
  type SourceSet,
  sourcesMax,
  trusts,
  usableSources,
  withSource,
  wouldImprove,
} from '../src/sources/source-set.ts';

/** A file's facts follow from its digest; who brought it varies. */
function sourceOf(file: number, trust: Source['trust'], at = 1): Source {
  const digest = file.toString(16).padStart(64, '0');
  const qualities = ['dynsym', 'symtab', 'gopclntab', 'dwarf'] as const;
  return {
    ...{ digest, bytes: 100 + file, kind: file % 3 === 0 ? 'debug' : 'executable', trust, at },
    ...{ quality: qualities[file % 4]!, covered: (file * 37) % 11 },
  };
}

const offers = fc.array(
  fc
    .tuple(fc.integer({ min: 0, max: 40 }), fc.constantFrom(...trusts))
    .map(([file, trust]) => sourceOf(file, trust)),
  { maxLength: 80 },
);

function joined(sources: readonly Source[]): SourceSet {
  return sources.reduce((set, source) => withSource(set, source, 1), emptySet);
}

describe('SourceSet', () => {
  it('is the same in any order and with any repetition, and never over its bound', () => {
    fc.assert(
      fc.property(offers, fc.infiniteStream(fc.nat()), (sources, order) => {
        const [...keys] = sources.map(() => order.next().value as number);
        const shuffled = sources
          .map((source, i) => ({ source, key: keys[i]! }))
          .sort((a, b) => a.key - b.key);
        const one = joined(sources);
        const other = joined([...shuffled, ...shuffled].map(({ source }) => source));
        expect(usableSources(other)).toEqual(usableSources(one));
        expect(one.sources.length).toBeLessThanOrEqual(sourcesMax);
      }),
    );
  });

  it('keeps the best of what ever came', () => {
    fc.assert(
      fc.property(offers, (sources) => {
        const best = new Map<string, Source>();
        for (const source of sources) {
          const known = best.get(source.digest);
          if (known === undefined || trusts.indexOf(source.trust) > trusts.indexOf(known.trust))
            best.set(source.digest, source);
        }
        expect(usableSources(joined(sources))).toEqual(
          [...best.values()].sort(compareSources).slice(0, sourcesMax),
        );
      }),
    );
  });

  it('grows its version with each change and only then', () => {
    const first = withSource(emptySet, sourceOf(1, 'agent'), 1_000);
    const again = withSource(first, sourceOf(1, 'agent', 9), 2_000);
    const trusted = withSource(first, sourceOf(1, 'ci'), 500);
    expect([first.version, again === first, trusted.version]).toEqual([1_000, true, 1_001]);
  });

  it('ranks trust before quality before code covered', () => {
    const dwarfOfAgent: Source = { ...sourceOf(7, 'agent'), quality: 'dwarf', covered: 9 };
    const dynsymOfAdmin: Source = { ...sourceOf(4, 'admin'), quality: 'dynsym', covered: 1 };
    const symtabOfAgent: Source = { ...sourceOf(5, 'agent'), quality: 'symtab', covered: 99 };
    const set = joined([symtabOfAgent, dwarfOfAgent, dynsymOfAdmin]);
    expect(usableSources(set)).toEqual([dynsymOfAdmin, dwarfOfAgent, symtabOfAgent]);
  });

  it('wants only what would rank first of its kind', () => {
    const set = joined([{ ...sourceOf(1, 'ci'), kind: 'executable', quality: 'symtab', covered: 5 }]);
    const offer = { kind: 'executable', quality: 'symtab', covered: 5, trust: 'ci' } as const;
    expect(wouldImprove(set, offer)).toBe(false);
    expect(wouldImprove(set, { ...offer, covered: 6 })).toBe(true);
    expect(wouldImprove(set, { ...offer, quality: 'dwarf', trust: 'agent' })).toBe(false);
    expect(wouldImprove(set, { ...offer, quality: 'none', kind: 'debug' })).toBe(true);
  });

  it('leaves out what was taken out or is gone, and takes a dropped file back when it comes again', () => {
    const set: SourceSet = {
      ...emptySet,
      sources: [
        { ...sourceOf(1, 'ci'), quarantined: 'crashed' },
        { ...sourceOf(2, 'ci'), dropped: true },
      ],
    };
    expect(usableSources(set)).toEqual([]);
    const again = withSource(withSource(set, sourceOf(1, 'admin'), 5), sourceOf(2, 'agent'), 6);
    expect(usableSources(again).map(({ digest, trust }) => [Number.parseInt(digest, 16), trust])).toEqual([
      [2, 'ci'],
    ]);
  });
});

describe('blob keys', () => {
  it('are under the executable, whose kind and ID are one folder name', () => {
    const digest = 'ab'.repeat(32);
    const id = `gnu:${'0c'.repeat(20)}` as ExecutableId;
    const go = 'go:YWJj-_' as ExecutableId;
    expect(debugFileKey(id, digest)).toBe(`executables/0c/gnu-${'0c'.repeat(20)}/files/${digest}`);
    expect(tableKey(go, digest)).toBe(`executables/YW/go-YWJj-_/tables/${digest}`);
  });
});
