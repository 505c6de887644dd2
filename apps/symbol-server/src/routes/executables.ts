// Executables: get, look up many, report, check, search.
import {
  type CheckResult,
  checkItem,
  checkRequest,
  type ExecutableId,
  idItem,
  lookupRequest,
  parseCheckItem,
  parseExecutableId,
  parseIdItem,
  parseReportItem,
  type ReportResult,
  reportItem,
  reportRequest,
  SymkeepError,
} from '@symkeep/protocol';
import { StoredRecord } from '../catalog/index.ts';
import { defineOperation } from '../http/operation.ts';
import { type LookupItem, listReply, lookupReply as spliceLookup } from '../http/splice.ts';
import { checkReply, lookupReply, recordReply, reportReply, searchQuery, searchReply } from '../schemas.ts';
import { assertTaken, eachItem } from './items.ts';

export const idParam = { id: 'gnu:<hex>, htlhash:<32 hex>, go:<base64url>, or bare hex for gnu' };

export const getExecutable = defineOperation({
  summary: 'The record of an executable, by any of its IDs',
  role: 'read',
  params: idParam,
  reply: recordReply,
  run: async ({ catalog }, { params }) => {
    const id = parseExecutableId(params.id!);
    const [outcome] = await catalog.executables.lookup([id]);
    const record = foundOr(outcome, id);
    return { bytes: (encoding) => (encoding === 'json' ? record.json : record.wire), etag: record.etag };
  },
});

export const searchExecutables = defineOperation({
  summary: 'Executables by name, state or quality of their symbols',
  role: 'read',
  query: searchQuery,
  reply: searchReply,
  run: async ({ catalog }, { query }) => {
    const { name, state, quality, cursor, limit } = query;
    const { items, nextCursor } = await catalog.executables.search({
      limit,
      ...(name === undefined ? {} : { name }),
      ...(state === undefined ? {} : { state }),
      ...(quality === undefined ? {} : { quality }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    return { bytes: (encoding) => listReply(items, nextCursor, encoding) };
  },
});

export const lookupExecutables = defineOperation({
  summary: 'Records of many executables; what is not known and what cannot be asked now are told apart',
  role: 'read',
  body: lookupRequest,
  item: { field: 'ids', schema: idItem },
  reply: lookupReply,
  run: async ({ catalog }, { body }) => {
    const items = await eachItem<ReturnType<typeof parseIdItem>, LookupItem>(
      body.ids,
      parseIdItem,
      (ids) => catalog.executables.lookup(ids),
      () => 'invalid_argument',
    );
    return { bytes: (encoding) => spliceLookup(items, encoding) };
  },
});

export const checkExecutables = defineOperation({
  summary: 'Whether the store still has what an agent knows',
  role: 'agent',
  body: checkRequest,
  item: { field: 'executables', schema: checkItem },
  reply: checkReply,
  run: async ({ catalog, asking }, { body, sample }) => {
    if (body.agent !== undefined) catalog.roster.note(body.agent);
    const results = await eachItem(
      body.executables,
      parseCheckItem,
      (items) => catalog.executables.check(items, sample),
      () => 'invalid_argument' as const,
    );
    const { upload, waiting } = await asking.ask(body.agent, idsOf(body.executables, results));
    return { value: { results, ...unlessEmpty({ upload, waiting }) } };
  },
});

export const reportExecutables = defineOperation({
  summary: 'Executables as an agent read them from their files; idempotent',
  role: 'agent',
  body: reportRequest,
  item: { field: 'executables', schema: reportItem },
  reply: reportReply,
  run: async ({ catalog, asking }, { body, sample }) => {
    catalog.roster.note(body.agent);
    const results = await eachItem(
      body.executables,
      parseReportItem,
      (items) => catalog.executables.report(items, sample),
      refusedReport,
    );
    assertTaken(results);
    const known = results.flatMap(({ id, error }) => (id === undefined || error !== undefined ? [] : [id]));
    const { upload, waiting } = await asking.ask(body.agent, known);
    return { value: { results, upload, ...unlessEmpty({ waiting }) } };
  },
});

/** Most replies ask for nothing. */
function unlessEmpty(
  lists: Readonly<Record<string, readonly unknown[]>>,
): Record<string, readonly unknown[]> {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
}

/** The IDs of a check that name what is there. */
function idsOf(items: readonly unknown[], results: readonly CheckResult[]): ExecutableId[] {
  return results.flatMap((result, at) =>
    result === 'ok' || result === 'changed' ? [parseCheckItem(items[at]).id] : [],
  );
}

export function refusedReport({ code, message }: SymkeepError): ReportResult {
  return { status: 'error', error: { code, message } };
}

/** The record of a lookup for one ID; throws what else it may be. */
export function foundOr(outcome: LookupItem | undefined, id: string): StoredRecord {
  if (outcome instanceof StoredRecord) return outcome;
  if (outcome === 'unavailable') {
    throw new SymkeepError('unavailable', 'the store cannot be asked now', { retryAfterSeconds: 1 });
  }
  if (outcome === 'erased') throw new SymkeepError('erased', `${id} was erased`);
  throw new SymkeepError('not_found', `no executable is known as ${id}`);
}
