// What is missing most: executables whose frames are asked for without symbols.
import { StoredRecord } from '../catalog/index.ts';
import { defineOperation } from '../http/operation.ts';
import { wantedQuery, wantedReply } from '../schemas.ts';

export const getWanted = defineOperation({
  summary: 'Executables asked for without symbols, most wanted first',
  role: 'admin',
  query: wantedQuery,
  reply: wantedReply,
  run: async ({ catalog }, { query }) => {
    const wanted = await catalog.demand.top(query.limit);
    const records = await catalog.executables.lookup(wanted.map(({ id }) => id));
    const isMet = wanted.map((_, index) => {
      const outcome = records[index];
      return outcome instanceof StoredRecord
        ? outcome.record.symbols.state === 'ready'
        : outcome === 'erased';
    });
    const met = wanted.filter((_, index) => isMet[index]).map(({ id }) => id);
    // Asked for under another ID than the table was made for, or while it was being made.
    if (met.length > 0) await catalog.demand.satisfied(met);
    const items = wanted.flatMap(({ id, samples }, index) => {
      if (isMet[index]) return [];
      const outcome = records[index];
      return [{ id, samples, ...(outcome instanceof StoredRecord ? { record: outcome.record } : {}) }];
    });
    return { value: { items, nextCursor: null } };
  },
});
