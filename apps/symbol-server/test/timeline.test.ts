import { type ExecutableId, type ExecutableRecord, noSymbols } from '@symkeep/protocol';
import { describe, expect, it } from 'vitest';
import { type Known, timelineOf } from '../src/explain/timeline.ts';
import { emptySet, type Source } from '../src/sources/source-set.ts';

const day = 86_400_000;
const start = Date.UTC(2026, 0, 10);
const now = start + 9 * day;
const digest = 'ab'.repeat(32);

const record: ExecutableRecord = {
  ...{ id: 'gnu:33a5554034feb2af' as ExecutableId, ids: { gnu: '33a5554034feb2af', htlhash: [], go: [] } },
  ...{ ambiguous: false, fileName: 'app', names: ['/srv/app'], nameCount: 1, arch: '', type: '', size: 1 },
  ...{ layouts: [], firstSeen: '2026-01-10T00:00:00Z', lastSeen: '2026-01-18T00:00:00Z' },
  ...{ version: 1, generation: 7, symbols: noSymbols, agentFrames: false },
};
const file: Source = {
  ...{ digest, bytes: 2_000, kind: 'debug', quality: 'dwarf', covered: 10, trust: 'ci', at: start + 3 * day },
};
const nothing: Known = { record, set: emptySet, asked: 0, absences: {}, lease: null, job: null };

function linesOf(known: Partial<Known>): string[] {
  return timelineOf({ ...nothing, ...known }, now).map(({ at, text }) => `${at.slice(5, 10)} ${text}`);
}

function symbolsOf(symbols: Partial<ExecutableRecord['symbols']>): Pick<Known, 'record'> {
  return { record: { ...record, symbols: { ...noSymbols, ...symbols } } };
}

describe('a timeline', () => {
  it('of what was only reported says so', () => {
    expect(linesOf({})).toEqual([
      '01-10 app became known as gnu:33a5554034feb2af',
      '01-18 last seen on this day, under 1 name so far',
      '01-19 no file with symbols has come yet; frames come from what agents report',
    ]);
  });

  it('tells which agents were asked for its file', () => {
    const tried = [
      { host: 'h1', at: start + day, why: 'absent' },
      { host: 'h2', at: start + 2 * day, why: 'failed' },
    ] as const;
    const lease = { fence: start + 3 * day, secret: 's', host: 'h3', until: start + 4 * day, tried };
    expect(linesOf({ lease }).slice(1, 4)).toEqual([
      '01-11 the agent of h1 was asked for the file, and has no file that says a name',
      '01-12 the agent of h2 was asked for the file, and could not send it',
      '01-13 the agent of h3 was asked for the file',
    ]);
    expect(linesOf({ lease: { ...lease, until: 0 } })).toHaveLength(5);
  });

  it('tells what was asked for in vain, and what upstreams said', () => {
    const absence = { at: start + 2 * day, misses: 2, retryAt: start + 10 * day };
    expect(
      linesOf({ ...symbolsOf({ state: 'wanted' }), asked: 41.6, absences: { 'http://up': absence } }),
    ).toEqual([
      '01-10 app became known as gnu:33a5554034feb2af',
      '01-12 http://up had no debug file (2 times in a row); next try at 2026-01-20T00:00:00Z',
      '01-18 last seen on this day, under 1 name so far',
      '01-19 asked for 42 times in vain',
      '01-19 no file with symbols has come yet; it is on the list of what is wanted',
    ]);
  });

  it('goes from file to failure to table', () => {
    const failure = { code: 'missing_alt', message: 'the dwz file gnu:ff is not here', mayPass: false };
    const table = {
      digest,
      generation: 7,
      format: 1,
      quality: 'dwarf',
      from: [digest],
      at: start + 5 * day,
    } as const;
    const quarantined = {
      ...file,
      digest: 'cd'.repeat(32),
      kind: 'executable',
      quarantined: 'it is another',
    } as const;
    const set = {
      ...emptySet,
      version: 3,
      sources: [file, quarantined],
      tables: [{ ...table, partial: true as const }],
      attempt: { version: 2, format: 1, failure, at: start + 4 * day },
      pinned: digest,
    };
    const lines = linesOf({
      ...symbolsOf({ state: 'ready', quality: 'dwarf', functions: 12, sources: ['dwarf'] }),
      set,
    });
    expect(lines.slice(1)).toEqual([
      '01-13 a debug file of 2000 bytes, quality dwarf, came from ci',
      '01-13 an executable of 2000 bytes, quality dwarf, came from ci; taken out since: it is another',
      '01-14 making the symbol table failed: the dwz file gnu:ff is not here (missing_alt); it is not tried again until another file comes',
      '01-15 a symbol table of quality dwarf was made from 1 file, not all of which could be read',
      '01-18 last seen on this day, under 1 name so far',
      '01-19 an admin has pinned its symbol table',
      '01-19 ready: a symbol table of quality dwarf with 12 functions, from dwarf, generation 7',
    ]);
  });

  it.each([
    [
      { state: 'queued' },
      { state: 'queued', progress: 0, position: 3 },
      'its symbol table is to be made: at position 3 of the queue',
    ],
    [{ state: 'queued' }, null, 'its symbol table is to be made'],
    [{ state: 'running' }, { state: 'running', progress: 0.256 }, 'its symbol table is being made (26 %)'],
    [{ state: 'failed', reason: 'timeout' }, null, 'its symbol table could not be made: timeout'],
  ] as const)('says what is so now: %o', (symbols, job, text) => {
    expect(timelineOf({ ...nothing, ...symbolsOf(symbols), job }, now).at(-1)).toMatchObject({
      kind: `symbols_${symbols.state}`,
      text,
    });
  });

  it('of an ambiguous ID says that it names neither file', () => {
    expect(linesOf({ record: { ...record, ambiguous: true } })).toContainEqual(
      expect.stringContaining('ask by htlhash'),
    );
  });
});
