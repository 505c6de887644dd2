// Why a frame is (not) symbolized, as a timeline: what is known of an executable, and since when.
import {
  type FrameSource,
  type FrameStatus,
  formatAddress,
  parseAddress,
  parseExecutableId,
  type SymbolsSummary,
  secondOf,
} from '@symkeep/protocol';
import type { StoredRecord } from '../catalog/index.ts';
import { defineOperation } from '../http/operation.ts';
import { explainQuery, explainReply } from '../schemas.ts';
import { foundOr, idParam } from './executables.ts';

export interface Step {
  /** RFC 3339. */
  readonly at: string;
  readonly kind: string;
  readonly text: string;
}

export const explainExecutable = defineOperation({
  summary: 'Why a frame is, or is not, symbolized',
  role: 'read',
  params: idParam,
  query: explainQuery,
  reply: explainReply,
  run: async ({ catalog, clock }, { params, query }) => {
    const id = parseExecutableId(params.id!);
    const address = query.address === undefined ? undefined : parseAddress(query.address);
    const [outcome] = await catalog.executables.lookup([id]);
    const now = secondOf(clock.wall());
    if (outcome === 'not_found') {
      return { value: { steps: [{ at: now, kind: 'never_reported', text: neverReported(id) }] } };
    }
    if (outcome === 'erased') {
      const text = `${id} was erased by an admin; what agents report of it is refused`;
      return { value: { steps: [{ at: now, kind: 'erased', text }] } };
    }
    const record = foundOr(outcome, id);
    const steps = recordSteps(record, now);
    if (address !== undefined) {
      const [frames] = await catalog.frames.lookup([{ id, addresses: [address] }]);
      const { status, source } = frames!.at[0]!;
      steps.push({ at: now, kind: 'frame', text: `${formatAddress(address)}: ${frameText(status, source)}` });
    }
    return { value: { steps } };
  },
});

function recordSteps(stored: StoredRecord, now: string): Step[] {
  const { id, fileName, firstSeen, lastSeen, nameCount, ambiguous, symbols } = stored.record;
  const name = fileName === '' ? 'a file without a name' : fileName;
  const steps: Step[] = [
    { at: firstSeen, kind: 'known_since', text: `an agent reported ${name} as ${id}` },
    {
      at: lastSeen,
      kind: 'last_seen',
      text: `last seen on this day, under ${nameCount} ${nameCount === 1 ? 'name' : 'names'} so far`,
    },
  ];
  if (ambiguous) {
    const text = 'two different files carry this ID, so it names neither: ask by htlhash';
    steps.push({ at: now, kind: 'ambiguous', text });
  }
  steps.push({ at: now, kind: `symbols_${symbols.state}`, text: symbolsText(symbols) });
  return steps;
}

function neverReported(id: string): string {
  return (
    `no agent has reported ${id}: it has not run on a host with an agent, ` +
    'or its ID was read from something else than the file itself'
  );
}

function symbolsText({ state, quality, functions, reason }: SymbolsSummary): string {
  switch (state) {
    case 'none':
      return 'no symbols are known yet; frames come from what agents report';
    case 'wanted':
      return 'it was asked for without symbols, and is on the list of what is wanted';
    case 'queued':
    case 'running':
      return 'its symbol table is being made';
    case 'ready':
      return `a symbol table of quality ${quality} with ${functions} functions`;
    case 'failed':
      return `its symbol table could not be made: ${reason ?? 'no reason was kept'}`;
  }
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
