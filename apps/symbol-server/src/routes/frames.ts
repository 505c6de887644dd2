// Frames: at one address, at many in columns, and as agents report them.
import {
  addressesMax,
  FRAME_STATUS,
  FramesReplyBuilder,
  frameItem,
  framesLookupItem,
  framesLookupRequest,
  framesReportRequest,
  parseAddress,
  parseExecutableId,
  parseFrameItem,
  parseFramesLookupItem,
  SymkeepError,
} from '@symkeep/protocol';
import { defineOperation } from '../http/operation.ts';
import { framesAtReply, framesLookupReply, framesReportReply } from '../schemas.ts';
import { idParam, refusedReport } from './executables.ts';
import { assertTaken, eachItem } from './items.ts';

export const getFrames = defineOperation({
  summary: 'The frames at one address, innermost first',
  role: 'read',
  params: { ...idParam, address: '0x and 1 to 16 hex digits' },
  reply: framesAtReply,
  run: async ({ catalog }, { params }) => {
    const id = parseExecutableId(params.id!);
    const [outcome] = await catalog.frames.lookup([{ id, addresses: [parseAddress(params.address!)] }]);
    const { canonical, generation, at } = outcome!;
    const { status, source, frames } = at[0]!;
    catalog.demand.noteMisses(id, canonical, [status], undefined);
    if (status === FRAME_STATUS.unknownExecutable) {
      throw new SymkeepError('not_found', `no executable is known as ${id}`);
    }
    if (status === FRAME_STATUS.unavailable) {
      throw new SymkeepError('unavailable', 'the store cannot be asked now', { retryAfterSeconds: 1 });
    }
    return { value: { status, generation, source, frames } };
  },
});

export const lookupFrames = defineOperation({
  summary: 'Frames at many addresses of many executables, in columns',
  role: 'read',
  body: framesLookupRequest,
  item: { field: 'requests', schema: framesLookupItem },
  reply: framesLookupReply,
  run: async ({ catalog }, { body }) => {
    const asked = body.requests.reduce<number>((sum, request) => sum + addressCount(request), 0);
    if (asked > addressesMax)
      throw new SymkeepError('too_large', `over ${addressesMax} addresses in one request`);
    const builder = new FramesReplyBuilder();
    const adders = await eachItem(
      body.requests,
      parseFramesLookupItem,
      async (requests) => {
        const outcomes = await catalog.frames.lookup(requests);
        return outcomes.map(({ canonical, generation, at }, index) => {
          const { id, weights } = requests[index]!;
          const statuses = at.map(({ status }) => status);
          catalog.demand.noteMisses(id, canonical, statuses, weights);
          return (idText: string) => builder.add(idText, canonical, generation, at);
        });
      },
      ({ code, message }) =>
        (id: string) =>
          builder.addError(id, { code, message }),
    );
    // Added in request order, so that the strings of the first requests come first. The ID is given back as it was asked.
    for (const [index, add] of adders.entries()) add(idTextOf(body.requests[index]));
    return { value: builder.reply };
  },
});

export const reportFrames = defineOperation({
  summary: 'Frames that agents know, for executables whose symbols are not here; idempotent',
  role: 'agent',
  body: framesReportRequest,
  item: { field: 'frames', schema: frameItem },
  reply: framesReportReply,
  run: async ({ catalog }, { body, sample }) => {
    const results = await eachItem(
      body.frames,
      parseFrameItem,
      (frames) => catalog.frames.report(frames, sample),
      refusedReport,
    );
    assertTaken(results);
    return { value: { results } };
  },
});

function addressCount(request: unknown): number {
  const addresses = (request as { addresses?: unknown } | null)?.addresses;
  return Array.isArray(addresses) ? addresses.length : 0;
}

function idTextOf(request: unknown): string {
  const id = (request as { id?: unknown } | null)?.id;
  return typeof id === 'string' ? id.slice(0, 400) : '';
}
