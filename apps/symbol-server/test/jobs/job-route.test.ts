import { gnuId } from '@symkeep/protocol';
import { describe, expect, it } from 'vitest';
import { jobIdOf } from '../../src/jobs/queued-jobs.ts';
import { emptySet, type Source, withSource } from '../../src/sources/source-set.ts';
import { startApp } from '../app-under-test.ts';

const id = gnuId('c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80');
const source: Source = {
  digest: '0'.repeat(64),
  ...{ bytes: 1, kind: 'debug', quality: 'dwarf', covered: 1, trust: 'ci', at: 1 },
};

describe('GET /v1/jobs/{job}', () => {
  it('answers the state of a job, and 404 for none', async () => {
    const { get, jobs } = await startApp();
    const job = await jobs.enqueue(id, withSource(emptySet, source, 1));
    expect(await (await get(`/v1/jobs/${job}`)).json()).toEqual({ state: 'queued', progress: 0 });
    const none = await get('/v1/jobs/none');
    expect([none.status, await none.json()]).toMatchObject([404, { error: { code: 'not_found' } }]);
  });
});

describe('the ID of a job', () => {
  const set = withSource(emptySet, source, 1);

  it('is one for the same work, whatever came of it', () => {
    const table = { digest: '1', generation: 1, format: 1, quality: 'dwarf', from: [], at: 1 } as const;
    expect(jobIdOf(id, { ...set, tables: [table] })).toBe(jobIdOf(id, set));
    expect(jobIdOf(id, set)).toMatch(/^01140000c4e7a4f0e1d2b3a495867708192a3b4c5d6e7f80-[0-9a-f]{16}-v1$/);
  });

  it('is another for another executable or set', () => {
    const others = [
      jobIdOf(gnuId('00'.repeat(19).concat('01')), set),
      jobIdOf(id, { ...set, version: set.version + 1 }),
      jobIdOf(id, { ...set, pinned: '1' }),
    ];
    expect(new Set([...others, jobIdOf(id, set)]).size).toBe(4);
  });
});
