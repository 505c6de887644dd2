// Backfills: an admin chooses executables, says where their symbols are to come from, and watches what comes of it.
import { invalid, itemsMax, parseExecutableId, secondOf } from '@symkeep/protocol';
import {
  type Action,
  type Backfill,
  type BackfillFilter,
  etaOf,
  isOver,
  settledCount,
  sum,
  withAction,
} from '../backfills/backfill.ts';
import type { Census } from '../backfills/selection.ts';
import { type Catalog, StoredRecord } from '../catalog/index.ts';
import { defineOperation } from '../http/operation.ts';
import {
  backfillFailuresReply,
  backfillReply,
  backfillRequest,
  backfillsReply,
  censusReply,
  pageQuery,
} from '../schemas.ts';

const params = { b: 'ID of a backfill' };

export const startBackfill = defineOperation({
  summary: 'Starts a backfill, or with dryRun counts what it would be about',
  role: 'admin',
  body: backfillRequest,
  reply: censusReply,
  accepted: backfillReply,
  run: async ({ backfills, catalog }, { body, header, caller, sample, signal }) => {
    const { source, priority, rate, dryRun } = body;
    const filter = await filterOf(body.filter, catalog);
    const census = await backfills.selection.count(filter, source, signal);
    if (dryRun) return { value: censusView(census) };
    const given = header('idempotency-key');
    // Two people may think of the same key.
    const key = given === undefined ? undefined : `${caller.token ?? ''}\0${given}`;
    const spec = { filter, source, priority, rate, total: census.total };
    return { value: viewOf(await backfills.start(spec, key, sample)), status: 202 };
  },
});

export const listBackfills = defineOperation({
  summary: 'Backfills, newest first; the last hundred are kept',
  role: 'admin',
  query: pageQuery,
  reply: backfillsReply,
  run: async ({ backfills }, { query: { cursor, limit } }) => {
    const all = await backfills.list();
    const at = cursor === undefined ? 0 : all.findIndex(({ id }) => id === cursor) + 1;
    if (cursor !== undefined && at === 0) throw invalid('cursor: not one that this server gave');
    const items = all.slice(at, at + limit);
    const nextCursor = at + limit < all.length ? items.at(-1)!.id : null;
    return { value: { items: items.map(viewOf), nextCursor } };
  },
});

export const getBackfill = defineOperation({
  summary: 'A backfill, how far it is and when it will be done',
  role: 'admin',
  params,
  reply: backfillReply,
  run: async ({ backfills }, { params }) => ({ value: viewOf(await backfills.get(params.b!)) }),
});

export const getBackfillFailures = defineOperation({
  summary: 'The executables that a backfill could not do, and why, in the order of their IDs',
  role: 'admin',
  params,
  query: pageQuery,
  reply: backfillFailuresReply,
  run: async ({ backfills }, { params, query: { cursor = '', limit } }) => {
    const backfill = await backfills.get(params.b!);
    const underWay = new Set(backfill.inFlight.map(({ id }) => id));
    const page = await backfills.failures(backfill.id, cursor, limit);
    const items = page
      .filter(({ id }) => !underWay.has(id))
      .map(({ at, ...failure }) => ({ ...failure, at: secondOf(at) }));
    return {
      value: { items, reasons: backfill.failed, nextCursor: page.length < limit ? null : page.at(-1)!.id },
    };
  },
});

const summaries: Readonly<Record<Action, string>> = {
  pause: 'Asks for nothing more until it is resumed; what is under way goes on',
  resume: 'Goes on where it was paused',
  cancel: 'Ends it for good; what is under way goes on and is not counted',
  retry: 'Tries the failed ones again, and no others',
};

export function actOnBackfill(action: Action) {
  return defineOperation({
    summary: summaries[action],
    role: 'admin',
    params,
    reply: backfillReply,
    run: async ({ backfills }, { params }) => ({
      value: viewOf(await backfills.change(params.b!, (one, now) => withAction(one, action, now))),
    }),
  });
}

async function filterOf(
  { ids, ...conditions }: BackfillFilterGiven,
  { executables }: Pick<Catalog, 'executables'>,
): Promise<BackfillFilter> {
  const given = Object.fromEntries(Object.entries(conditions).filter(([, value]) => value !== undefined));
  if (ids === undefined) return given;
  if (ids.length === 0) throw invalid(`filter.ids: name 1 to ${itemsMax}, or leave it out for all`);
  const asked = ids.map(parseExecutableId);
  // Two IDs of one file are one executable.
  const found = await executables.lookup(asked);
  const canonical = found.map((outcome, index) =>
    outcome instanceof StoredRecord ? outcome.record.id : asked[index]!,
  );
  return { ...given, ids: [...new Set(canonical)] };
}
type BackfillFilterGiven = ReturnType<typeof backfillRequest.parse>['filter'];

function censusView({ total, states, qualities, skipped, complete }: Census) {
  return { dryRun: true, total, states, qualities, skipped, asked: total - sum(skipped), complete };
}

function viewOf(backfill: Backfill) {
  const { id, filter, source, priority, rate, state, createdAt, endedAt } = backfill;
  const { total, done, failed, skipped, bytes, inFlight } = backfill;
  const eta = etaOf(backfill);
  return {
    ...{ id, filter, source, priority, rate, state, createdAt: secondOf(createdAt) },
    ...(endedAt === undefined ? {} : { endedAt: secondOf(endedAt) }),
    progress: {
      ...{ total, done, failed: sum(failed), skipped: sum(skipped), running: inFlight.length, bytes },
      rate: Math.round(speedOf(backfill) * 10) / 10,
      eta: eta === null ? null : secondOf(eta),
    },
    reasons: failed,
    skippedReasons: skipped,
  };
}

/** Executables a second: of late, or of one that has ended from its start to its end. */
function speedOf(backfill: Backfill): number {
  const { createdAt, endedAt, speed } = backfill;
  if (!isOver(backfill) || endedAt === undefined) return speed.perSecond;
  return (settledCount(backfill) * 1_000) / Math.max(1, endedAt - createdAt);
}
