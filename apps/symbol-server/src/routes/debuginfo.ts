// Debug files and executables: whether one is wanted, and taking it in.
import { invalid, parseExecutableId, SymkeepError } from '@symkeep/protocol';
import type { Asking } from '../asking/asking.ts';
import type { Caller } from '../http/access.ts';
import { errorOf } from '../http/exchange.ts';
import { type Context, defineOperation } from '../http/operation.ts';
import {
  debuginfoAccepted,
  debuginfoHeadQuery,
  debuginfoKept,
  debuginfoPutQuery,
  debuginfoReturnQuery,
  emptyReply,
} from '../schemas.ts';
import type { Received, Upload } from '../sources/receive.ts';
import type { Trust } from '../sources/source-set.ts';
import { idParam } from './executables.ts';

/** What an agent was given when it was asked for the file. */
const leaseHeader = 'symkeep-lease';

export const headDebuginfo = defineOperation({
  summary: 'Whether a file of this quality would make the symbols better; 409 with symkeep-reason if not',
  role: 'upload',
  params: idParam,
  query: debuginfoHeadQuery,
  reply: emptyReply,
  run: async ({ receiver }, { params, query, caller }) => {
    const id = parseExecutableId(params.id!);
    const { quality, kind, covered, digest } = query;
    const offer = {
      quality,
      ...(kind === undefined ? {} : { kind }),
      ...(covered === undefined ? {} : { covered }),
      ...(digest === undefined ? {} : { digest }),
    };
    const reason = await receiver.unwanted(id, offer, trustOf(caller));
    if (reason !== undefined) {
      throw new SymkeepError('conflict', `${id} has as good or better`, { details: { reason } });
    }
    return { value: {} };
  },
});

export const putDebuginfo = defineOperation({
  summary: 'Takes in an ELF file: an executable, or its debug file',
  role: 'upload',
  params: idParam,
  query: debuginfoPutQuery,
  file: 'The ELF file. Its own build ID must be the one in the path. gzip or zstd by content-encoding; content-digest is checked.',
  reply: debuginfoKept,
  accepted: debuginfoAccepted,
  run: async (context, request) => {
    const { params, query, header, file, caller, renewSample } = request;
    if (query.replace && !caller.roles.includes('admin')) {
      throw new SymkeepError('permission_denied', 'replacing what is there needs the role admin');
    }
    const id = parseExecutableId(params.id!);
    const lease = header(leaseHeader);
    if (lease === undefined && !mayUploadUnasked(caller)) {
      const message = `agents send what they are asked for: ${leaseHeader} is missing`;
      throw new SymkeepError('permission_denied', message, { details: { reason: 'not_asked' } });
    }
    const upload = {
      ...{ id, body: file, contentDigest: header('content-digest'), trust: trustOf(caller) },
      ...{ replace: query.replace, name: query.name, sample: renewSample },
    };
    const received = await (lease === undefined
      ? context.receiver.receive(upload)
      : receiveAsked(context, upload, lease));
    return { value: received, status: received.status === 'accepted' ? 202 : 200 };
  },
});

export const returnDebuginfo = defineOperation({
  summary: 'Gives back the lease for a file that an agent was asked for and does not send',
  role: 'agent',
  params: idParam,
  query: debuginfoReturnQuery,
  reply: emptyReply,
  run: async ({ asking }, { params, query, header, sample }) => {
    const lease = header(leaseHeader);
    if (lease === undefined) throw invalid(`${leaseHeader} is missing`);
    await asking.giveBack(parseExecutableId(params.id!), lease, query.reason, sample);
    return { value: {} };
  },
});

/** What an agent was asked for is an agent's, whatever else its token may do. A failed upload frees its lease. */
async function receiveAsked({ receiver, asking }: Context, upload: Upload, lease: string): Promise<Received> {
  const { id, body } = upload;
  await asking.hold(id, lease);
  const chunks = asking.holding(id, lease, body.chunks);
  const admit = () => asking.hold(id, lease);
  let received: Received;
  try {
    received = await receiver.receive({ ...upload, trust: 'agent', body: { ...body, chunks }, admit });
  } catch (thrown) {
    const error = errorOf(thrown);
    if (error.code !== 'conflict') await giveBackAfter(asking, upload, lease, error);
    throw error;
  }
  // The file is there; that nobody else is asked for it is worth an attempt.
  await unlessKnownTrouble(asking.noteSent(id, lease));
  return received;
}

// What cannot be given back now ends by itself; the sender is told what went wrong first.
async function giveBackAfter(
  asking: Asking,
  { id, sample }: Upload,
  lease: string,
  { code }: SymkeepError,
): Promise<void> {
  const why = code === 'unavailable' ? 'unavailable' : 'failed';
  await unlessKnownTrouble((async () => asking.giveBack(id, lease, why, sample()))());
}

async function unlessKnownTrouble(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (errorOf(error).code === 'internal') throw error;
  }
}

function mayUploadUnasked({ token, roles }: Caller): boolean {
  return token === undefined || roles.includes('upload') || roles.includes('admin');
}

/** Whom a file comes from says how far it is believed. On an open server anyone may be anyone. */
export function trustOf({ token, roles }: Caller): Trust {
  if (token === undefined) return 'ci';
  if (roles.includes('admin')) return 'admin';
  return roles.includes('upload') ? 'ci' : 'agent';
}
