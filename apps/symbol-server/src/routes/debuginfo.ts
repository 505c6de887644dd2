// Debug files and executables: whether one is wanted, and taking it in.
import { parseExecutableId, SymkeepError } from '@symkeep/protocol';
import type { Caller } from '../http/access.ts';
import { defineOperation } from '../http/operation.ts';
import {
  debuginfoAccepted,
  debuginfoHeadQuery,
  debuginfoKept,
  debuginfoPutQuery,
  emptyReply,
} from '../schemas.ts';
import type { Trust } from '../sources/source-set.ts';
import { idParam } from './executables.ts';

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
  run: async ({ receiver }, { params, query, header, file, caller, renewSample }) => {
    if (query.replace && !caller.roles.includes('admin')) {
      throw new SymkeepError('permission_denied', 'replacing what is there needs the role admin');
    }
    const received = await receiver.receive({
      id: parseExecutableId(params.id!),
      body: file,
      contentDigest: header('content-digest'),
      trust: trustOf(caller),
      replace: query.replace,
      name: query.name,
      sample: renewSample,
    });
    return { value: received, status: received.status === 'accepted' ? 202 : 200 };
  },
});

/** Whom a file comes from says how far it is believed. On an open server anyone may be anyone. */
export function trustOf({ token, roles }: Caller): Trust {
  if (token === undefined) return 'ci';
  if (roles.includes('admin')) return 'admin';
  return roles.includes('upload') ? 'ci' : 'agent';
}
