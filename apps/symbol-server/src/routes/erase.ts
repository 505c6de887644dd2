// Erasing an executable, for ever.
import { parseExecutableId, SymkeepError } from '@symkeep/protocol';
import { eraseBlobs } from '../archive/erasures.ts';
import { defineOperation } from '../http/operation.ts';
import { eraseReply } from '../schemas.ts';
import { idParam } from './executables.ts';

const remains = [
  'backups and replicas of Redis made before now, and its append-only file until Redis rewrites it',
  'logs of this server and of proxies before it, where they hold request paths',
  'the memory and snapshots of agents that are away, until their next request',
];

export const eraseExecutable = defineOperation({
  summary: 'Erases an executable: a tombstone stays, which no report undoes, and every tier forgets the rest',
  role: 'admin',
  params: idParam,
  reply: eraseReply,
  run: async ({ catalog, blobs, clock }, { params, sample }) => {
    const id = parseExecutableId(params.id!);
    const outcome = await catalog.erasure.erase(id, sample);
    if (outcome === null) throw new SymkeepError('not_found', `no executable is known as ${id}`);
    for (const one of outcome.ids) await eraseBlobs(blobs, one, clock.wall());
    return { value: { erased: outcome.erased, remains } };
  },
});
