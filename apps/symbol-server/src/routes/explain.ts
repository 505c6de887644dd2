// Why a frame is, or is not, symbolized, as a timeline.
import { StoreUnavailable } from '@symkeep/cache';
import {
  type ExecutableId,
  type ExecutableRecord,
  type FrameSource,
  type FrameStatus,
  formatAddress,
  parseAddress,
  parseExecutableId,
  secondOf,
} from '@symkeep/protocol';
import { unavailable } from '../catalog/executables.ts';
import { askedText, type Known, type Step, timelineOf } from '../explain/timeline.ts';
import { type Context, defineOperation } from '../http/operation.ts';
import { jobIdOf } from '../jobs/queued-jobs.ts';
import { explainQuery, explainReply } from '../schemas.ts';
import { foundOr, idParam } from './executables.ts';

export const explainExecutable = defineOperation({
  summary: 'Why a frame is, or is not, symbolized',
  role: 'read',
  params: idParam,
  query: explainQuery,
  reply: explainReply,
  run: async (context, { params, query }) => {
    const { catalog, clock } = context;
    const id = parseExecutableId(params.id!);
    const address = query.address === undefined ? undefined : parseAddress(query.address);
    const [outcome] = await catalog.executables.lookup([id]);
    if (outcome === 'not_found') return { value: { steps: await unknownSteps(context, id) } };
    if (outcome === 'erased') {
      const text = `${id} was erased by an admin; what agents report of it is refused`;
      return { value: { steps: [{ at: secondOf(clock.wall()), kind: 'erased', text }] } };
    }
    const { record } = foundOr(outcome, id);
    const steps = timelineOf(await knownOf(context, record), clock.wall());
    if (address !== undefined) steps.push(await frameStep(context, id, address));
    return { value: { steps } };
  },
});

async function knownOf({ catalog, jobs, asking }: Context, record: ExecutableRecord): Promise<Known> {
  const { id, symbols } = record;
  const [set, [asked], [absences], lease] = await Promise.all([
    catalog.sources.read(id),
    catalog.demand.of([id]),
    catalog.upstreamAbsences.of([id]),
    asking.leaseOf(id),
  ]);
  for (const answer of [set, asked, absences])
    if (answer instanceof StoreUnavailable) throw unavailable(answer);
  const isAtWork = symbols.state === 'queued' || symbols.state === 'running';
  const job = isAtWork ? await jobs.state(jobIdOf(id, set as Known['set'])) : null;
  return { record, set, asked, absences, lease, job } as Known;
}

async function unknownSteps({ catalog, clock }: Context, id: ExecutableId): Promise<Step[]> {
  const at = secondOf(clock.wall());
  const [asked] = await catalog.demand.of([id]);
  if (asked instanceof StoreUnavailable) throw unavailable(asked);
  const text =
    `no agent has reported ${id}: it has not run on a host with an agent, ` +
    'or its ID was read from something else than the file itself';
  const step = { at, kind: 'never_reported', text };
  if (asked === 0) return [step];
  return [step, { at, kind: 'asked', text: askedText(asked!), samples: asked }];
}

async function frameStep({ catalog, clock }: Context, id: ExecutableId, address: bigint): Promise<Step> {
  const [frames] = await catalog.frames.lookup([{ id, addresses: [address] }]);
  const { status, source } = frames!.at[0]!;
  const text = `${formatAddress(address)}: ${frameText(status, source)}`;
  return { at: secondOf(clock.wall()), kind: 'frame', text, status, source };
}

const frameTexts: Record<FrameStatus, string> = {
  0: 'resolved',
  1: 'nothing is at this address, as far as its symbols say',
  2: 'its symbols are not ready',
  3: 'the executable is not known',
  4: 'the store cannot be asked now',
};

function frameText(status: FrameStatus, source: FrameSource): string {
  return source === 'none' ? frameTexts[status] : `${frameTexts[status]}, by ${source}`;
}
