// What an executable's symbols are made from, and an admin's corrections of it.
import { StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, type ExecutableRecord, parseExecutableId } from '@symkeep/protocol';
import { unavailable } from '../catalog/executables.ts';
import { type Context, defineOperation, type Request } from '../http/operation.ts';
import { correctionReply, pinRequest, quarantineRequest, rollbackRequest, sourcesReply } from '../schemas.ts';
import { rolledBack, withPin, withQuarantine } from '../sources/corrections.ts';
import type { SourceSet } from '../sources/source-set.ts';
import { foundOr, idParam } from './executables.ts';

export const getSymbols = defineOperation({
  summary:
    'The files that an executable’s symbols are made from, and the tables made from them, newest first',
  role: 'admin',
  params: idParam,
  reply: sourcesReply,
  run: async (context, { params }) => {
    const { id } = await recordOf(context, params);
    const set = await context.catalog.sources.read(id);
    if (set instanceof StoreUnavailable) throw unavailable(set);
    return { value: viewOf(id, set) };
  },
});

export const pinSymbols = defineOperation({
  summary: 'Gives a table out whatever else comes, until it is unpinned',
  role: 'admin',
  params: idParam,
  body: pinRequest,
  reply: correctionReply,
  run: (context, request) =>
    correct(context, request, (set, _, now) => withPin(set, request.body.digest, now)),
});

export const rollBackSymbols = defineOperation({
  summary:
    'Goes back to an earlier table: what it was not made from is quarantined; better files that come later count',
  role: 'admin',
  params: idParam,
  body: rollbackRequest,
  reply: correctionReply,
  run: (context, request) =>
    correct(context, request, (set, { symbols }, now) =>
      rolledBack(set, symbols.digest, request.body.digest, now),
    ),
});

export const quarantineSource = defineOperation({
  summary: 'Takes a file out of what symbols are made from, or puts it back',
  role: 'admin',
  params: idParam,
  body: quarantineRequest,
  reply: correctionReply,
  run: (context, request) => {
    const { digest, reason } = request.body;
    return correct(context, request, (set, _, now) => withQuarantine(set, digest, reason, now));
  },
});

async function correct(
  context: Context,
  { params, sample }: Pick<Request<unknown, unknown>, 'params' | 'sample'>,
  next: (set: SourceSet, record: ExecutableRecord, now: number) => SourceSet,
) {
  const record = await recordOf(context, params);
  const { id } = record;
  const changed = await context.catalog.sources.change(id, (set, now) => next(set, record, now), sample);
  if (changed instanceof StoreUnavailable) throw unavailable(changed);
  return { value: { job: await context.jobs.enqueue(id, changed.after), ...viewOf(id, changed.after) } };
}

async function recordOf(
  { catalog }: Context,
  params: Request<unknown, unknown>['params'],
): Promise<ExecutableRecord> {
  const asked = parseExecutableId(params.id!);
  const [outcome] = await catalog.executables.lookup([asked]);
  return foundOr(outcome, asked).record;
}

function viewOf(id: ExecutableId, { version, pinned, sources, tables }: SourceSet) {
  return { id, version, ...(pinned === undefined ? {} : { pinned }), sources, tables };
}
