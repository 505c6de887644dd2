import { StoreUnavailable } from '@symkeep/cache';
import type { ExecutableId } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { planOf, readyTable } from '../src/jobs/plan.ts';
import {
  emptySet,
  type Source,
  type SourceSet,
  type TableVersion,
  withAttempt,
  withSource,
} from '../src/sources/source-set.ts';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

const id = bashId as ExecutableId;
const digestOf = (n: number) => n.toString(16).padStart(64, '0');
const [stripped, debug, fake] = [digestOf(1), digestOf(2), digestOf(3)];
const [first, second, third] = [digestOf(11), digestOf(12), digestOf(13)];

function sourceOf(digest: string, over: Partial<Source>): Source {
  return { digest, bytes: 9, kind: 'debug', quality: 'dwarf', covered: 1, trust: 'ci', at: 1, ...over };
}

function tableOf(digest: string, from: readonly string[]): TableVersion {
  return { digest, generation: 1, format: 1, quality: 'dwarf', from, at: 1 };
}

/** Three files came, one after the other, and a table was made of each set. */
function threeTables(): SourceSet {
  const steps = [
    [sourceOf(stripped, { kind: 'executable', quality: 'dynsym' }), tableOf(first, [stripped])],
    [sourceOf(debug, {}), tableOf(second, [debug, stripped])],
    [sourceOf(fake, { covered: 7 }), tableOf(third, [fake, stripped, debug])],
  ] as const;
  return steps.reduce<SourceSet>((set, [source, table], at) => {
    const next = withSource(set, source, at + 1);
    return withAttempt(next, { version: next.version, format: 1, at }, table);
  }, emptySet);
}

let server: AppUnderTest;

beforeEach(async () => {
  server = await startApp();
  await server.post('/v1/executables', reportOf(bash));
  await change(() => threeTables());
  const summary = { quality: 'dwarf', functions: 1, ranges: 1, bytes: 1, sources: ['dwarf'] } as const;
  await server.deps.catalog.states.ready(id, { digest: third, ...summary }, 3, sample());
});

function sample() {
  const taken = server.deps.catalog.epoch.sample();
  if (taken instanceof StoreUnavailable) throw taken;
  return taken;
}

async function change(next: (set: SourceSet) => SourceSet): Promise<void> {
  await server.deps.catalog.sources.change(id, next, sample());
}

async function correct(what: string, body: unknown): Promise<[number, SourceSet & { job: string }]> {
  const reply = await server.post(`/v1/executables/${bashId}/symbols/${what}`, body);
  return [reply.status, await messageOf(reply)];
}

async function setNow(): Promise<SourceSet> {
  return (await server.deps.catalog.sources.read(id)) as SourceSet;
}

/** Which table follows from the set as it is now. */
async function follows(): Promise<string | undefined> {
  const set = await setNow();
  return readyTable(set, planOf(set))?.digest;
}

describe('a pin', () => {
  it('holds a table whatever else comes, until it is lifted', async () => {
    const [status, { pinned, job }] = await correct('pin', { digest: first });
    expect([status, pinned]).toEqual([200, first]);
    expect(server.jobs.asked.get(job)).toEqual({ id, set: await setNow() });
    await change((set) => withSource(set, sourceOf(digestOf(4), { covered: 99 }), 99));
    expect(await follows()).toBe(first);
    await change(() => threeTables());
    await correct('pin', { digest: first });
    await correct('pin', { digest: null });
    expect(await follows()).toBe(third);
  });

  it('of a table that never was is refused', async () => {
    expect(await correct('pin', { digest: digestOf(99) })).toMatchObject([
      404,
      { error: { code: 'not_found' } },
    ]);
    expect(server.jobs.asked.size).toBe(0);
  });
});

describe('a quarantine', () => {
  it('takes a file out with a reason, and back', async () => {
    const before = (await setNow()).version;
    const [, set] = await correct('quarantine', { digest: fake, reason: 'names are invented' });
    expect(set.sources.find(({ digest }) => digest === fake)?.quarantined).toBe('names are invented');
    expect(set.version).toBeGreaterThan(before);
    expect(await follows()).toBe(second);
    await correct('quarantine', { digest: fake, reason: null });
    expect(await follows()).toBe(third);
  });

  it('needs a file of this executable, and a reason', async () => {
    expect((await correct('quarantine', { digest: digestOf(99), reason: 'x' }))[0]).toBe(404);
    expect((await correct('quarantine', { digest: fake }))[0]).toBe(400);
    expect((await correct('quarantine', { digest: fake, reason: '' }))[0]).toBe(400);
  });
});

describe('a rollback', () => {
  it('goes to the table before, and lets better files that come later count', async () => {
    const [status, set] = await correct('rollback', {});
    expect(status).toBe(200);
    expect(set.sources.filter(({ quarantined }) => quarantined !== undefined)).toMatchObject([
      { digest: fake, quarantined: `rolled back to ${second}` },
    ]);
    expect(await follows()).toBe(second);
    await change((now) => withSource(now, sourceOf(digestOf(4), { covered: 99 }), 99));
    expect(planOf(await setNow())[0]).toMatchObject({ debug: { digest: digestOf(4) } });
  });

  it('goes to the table that is named', async () => {
    await correct('rollback', { digest: first });
    expect(await follows()).toBe(first);
  });

  it('says when there is nothing to go back to', async () => {
    expect(await correct('rollback', { digest: third })).toMatchObject([
      409,
      { error: { code: 'conflict' } },
    ]);
    await correct('quarantine', { digest: stripped, reason: 'bad' });
    expect(await correct('rollback', { digest: first })).toMatchObject([
      409,
      { error: { code: 'conflict' } },
    ]);
  });
});

describe('what symbols are made from', () => {
  it('is shown by any ID, and only of what is known', async () => {
    for (const one of [bashId, `htlhash:${bash.ids.htlhash}`]) {
      const shown = await messageOf<SourceSet & { id: string }>(
        await server.get(`/v1/executables/${one}/symbols`),
      );
      expect([shown.id, shown.sources.length, shown.tables.map(({ digest }) => digest)]).toEqual([
        bashId,
        3,
        [third, second, first],
      ]);
    }
    expect((await server.get('/v1/executables/gnu:00112233445566778899/symbols')).status).toBe(404);
  });
});
