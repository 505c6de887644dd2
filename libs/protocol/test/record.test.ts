import {
  type ExecutableRecord,
  type Frame,
  gnuId,
  goId,
  htlhashId,
  mergeFrames,
  mergeRecords,
  namesMax,
  noSymbols,
  qualities,
  type ReportedExecutable,
  recordOf,
  sameFacts,
} from '@symkeep/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const gnu = gnuId('c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80');
const hashes = Array.from({ length: 30 }, (_, index) =>
  htlhashId((index + 1).toString(16).padStart(32, '0')),
);
const start = Date.UTC(2026, 0, 1);

const reports: fc.Arbitrary<ReportedExecutable> = fc.record({
  ids: fc.record({
    gnu: fc.constant(gnu),
    htlhash: fc.constantFrom(...hashes),
    go: fc.constantFrom(goId('a/b/c/d'), goId('a/b/c/e')),
  }),
  name: fc.oneof(
    fc.constantFrom('', '/usr/bin/bash', '/bin/bash (deleted)', '/memfd:x (deleted)', '/tmp/a', 'bash'),
    fc.nat(60).map((number) => `/opt/release-${number}/server`),
  ),
  arch: fc.constantFrom('', 'x86_64', 'aarch64'),
  type: fc.constantFrom('', 'dyn', 'exec'),
  size: fc.nat(10_000),
  load: fc.constantFrom([], [[0x1000n, 0x200n]] as const, [[0x2000n, 0x200n]] as const),
});
const records: fc.Arbitrary<ExecutableRecord> = fc
  .tuple(
    fc.array(fc.tuple(reports, fc.nat(400)), { minLength: 1, maxLength: 40 }),
    fc.constantFrom(...qualities),
    fc.nat(3),
  )
  .map(([parts, quality, generation]) => {
    const all = parts.map(([report, day]) => recordOf(report, start + day * 86_400_000 + day * 1_000, gnu));
    return { ...all.reduce(mergeRecords), symbols: { ...noSymbols, quality }, generation };
  });

describe('the record of one report', () => {
  const at = Date.UTC(2026, 1, 3, 4, 5, 6, 789);
  const one: ReportedExecutable = {
    ids: { gnu, htlhash: hashes[0]!, go: goId('a/b/c/d') },
    ...{ name: '/usr/bin/bash (deleted)', arch: 'x86_64', type: 'dyn', size: 7 },
    load: [
      [0x2000n, 0x10n],
      [0x1000n, 0xabcn],
    ],
  };

  it('says what the report says, and when', () => {
    expect(recordOf(one, at)).toEqual({
      id: gnu,
      ids: { gnu: gnu.slice(4), htlhash: [hashes[0]!.slice(8)], go: ['YS9iL2MvZA'] },
      ...{ ambiguous: false, fileName: 'bash', names: ['/usr/bin/bash'], nameCount: 1 },
      ...{ arch: 'x86_64', type: 'dyn', size: 7, layouts: ['1000+abc,2000+10'] },
      ...{ firstSeen: '2026-02-03T04:05:06Z', lastSeen: '2026-02-03T00:00:00Z', version: at, generation: at },
      ...{ symbols: noSymbols, agentFrames: false },
    });
  });

  it('says nothing of what the report does not know', () => {
    const bare = recordOf({ ...one, ids: { htlhash: hashes[0]! }, name: '', load: [] }, at);
    expect(bare).toMatchObject({ id: hashes[0], ids: { htlhash: [hashes[0]!.slice(8)], go: [] } });
    expect(bare.ids).not.toHaveProperty('gnu');
    expect(bare).toMatchObject({ fileName: '', names: [], nameCount: 0, layouts: [] });
  });

  it('is filed under the hash where the GNU ID is ambiguous, and is not ambiguous itself', () => {
    const own = recordOf(one, at, hashes[0]!);
    const moved = recordOf({ ...one, load: [[0n, 1n]] }, at, hashes[0]!);
    expect([own.id, mergeRecords(own, moved).ambiguous]).toEqual([hashes[0], false]);
  });
});

describe('names', () => {
  it('are kept in one order: lasting files, temporary ones, those without a file; then the shorter; then by letter', () => {
    const best = ['/a', '/b', '/usr/bin/a', '/tmp/a', '/dev/shm/a', '/memfd:a', 'memfd:abc'];
    const records = best.toReversed().map((name) => recordOf(report(name), start));
    expect(records.reduce(mergeRecords).names).toEqual(best);
  });

  it(`are counted exactly up to ${namesMax}, and estimated beyond`, () => {
    const all = Array.from({ length: namesMax + 1 }, (_, index) => recordOf(report(`/n${index}`), start));
    const most = all.slice(0, namesMax).reduce(mergeRecords);
    expect([most.names.length, most.nameCount]).toEqual([namesMax, namesMax]);
    expect(most).not.toHaveProperty('nameSketch');
    const over = all.reduce(mergeRecords);
    expect(over.names).toHaveLength(namesMax);
    expect(over.nameCount).toBeGreaterThan(namesMax);
    expect(over.nameSketch).toMatch(/^[0-9a-f]{64}$/);
    // Less never overwrites more: a record of few names does not end the count.
    expect(mergeRecords(over, all[0]!)).toEqual(over);
  });
});

describe('merging records', () => {
  it('is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(records, records, records, (a, b, c) => {
        expect(mergeRecords(a, b)).toEqual(mergeRecords(b, a));
        expect(mergeRecords(mergeRecords(a, b), c)).toEqual(mergeRecords(a, mergeRecords(b, c)));
        expect(mergeRecords(a, a)).toEqual(a);
      }),
      { numRuns: 300 },
    );
  });

  it('gives one record for any order and any repetition of reports', () => {
    fc.assert(
      fc.property(
        fc.array(reports, { minLength: 1, maxLength: 40 }),
        fc.infiniteStream(fc.nat()),
        (all, picks) => {
          const parts = all.map((report) => recordOf(report, start, gnu));
          const repeated = [...parts, ...parts.slice(0, 5)];
          for (let index = repeated.length - 1; index > 0; index--) {
            const other = picks.next().value % (index + 1);
            [repeated[index], repeated[other]] = [repeated[other]!, repeated[index]!];
          }
          expect(repeated.reduce(mergeRecords)).toEqual(parts.reduce(mergeRecords));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('never lets less overwrite more', () => {
    fc.assert(
      fc.property(records, reports, (record, report) => {
        const merged = mergeRecords(
          record,
          recordOf({ ...report, name: '', arch: '', type: '', size: 0, load: [] }, start, gnu),
        );
        expect(merged.names).toEqual(record.names);
        expect(merged.fileName).toBe(record.fileName);
        expect([merged.arch, merged.type, merged.size]).toEqual([record.arch, record.type, record.size]);
        expect(merged.ids.go.length).toBeGreaterThanOrEqual(record.ids.go.length);
      }),
    );
  });

  it('keeps lasting names before temporary ones, and counts those it does not keep', () => {
    const names = [
      '/memfd:jit (deleted)',
      '/tmp/build/x',
      ...Array.from({ length: 40 }, (_, index) => `/opt/r${index}/x`),
      '/usr/bin/x',
    ];
    const record = names.map((name) => recordOf(report(name), start)).reduce(mergeRecords);
    expect(record.names).toHaveLength(namesMax);
    expect(record.names).not.toContain('/tmp/build/x');
    expect(record.fileName).toBe('x');
    expect(record.nameCount).toBeGreaterThan(namesMax);
    expect(Math.abs(record.nameCount - names.length)).toBeLessThan(8);
  });

  it('calls an ID ambiguous exactly when two files map their code differently', () => {
    const one = recordOf({ ...report('/a'), load: [[0x1000n, 0x10n]] }, start);
    const same = recordOf(
      { ...report('/b'), load: [[0x1000n, 0x10n]], ids: { gnu, htlhash: hashes[1]! } },
      start,
    );
    const other = recordOf({ ...report('/c'), load: [[0x1000n, 0x20n]] }, start);
    const unknown = recordOf(report('/d'), start);
    expect(mergeRecords(mergeRecords(one, same), unknown).ambiguous).toBe(false);
    expect(mergeRecords(one, other).ambiguous).toBe(true);
  });

  it('tells news from repetition', () => {
    const one = recordOf(report('/a'), start);
    expect(sameFacts(one, recordOf(report('/a'), start + 5 * 86_400_000))).toBe(true);
    expect(sameFacts(one, recordOf(report('/b'), start))).toBe(false);
  });
});

describe('merging frames', () => {
  const frames: fc.Arbitrary<Frame> = fc.record({
    function: fc.constantFrom('f', 'g'),
    rawName: fc.constantFrom('', '_Z1fv'),
    file: fc.constantFrom('', 'a.c', 'b.c'),
    line: fc.nat(2),
    column: fc.nat(1),
    startLine: fc.nat(1),
  });
  it('is commutative, associative and idempotent, and keeps what says more', () => {
    fc.assert(
      fc.property(frames, frames, frames, (a, b, c) => {
        expect(mergeFrames(a, b)).toEqual(mergeFrames(b, a));
        expect(mergeFrames(mergeFrames(a, b), c)).toEqual(mergeFrames(a, mergeFrames(b, c)));
        expect(mergeFrames(a, a)).toEqual(a);
      }),
    );
    const bare: Frame = { function: 'z', rawName: '', file: '', line: 0, column: 0, startLine: 0 };
    expect(mergeFrames(bare, { ...bare, function: 'a', file: 'a.c', line: 3 }).function).toBe('a');
  });
});

function report(name: string): ReportedExecutable {
  return { ids: { gnu, htlhash: hashes[0]! }, name, arch: 'x86_64', type: 'dyn', size: 1, load: [] };
}
