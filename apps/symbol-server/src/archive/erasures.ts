// Erasures in the blob store: a mark for each erased executable, so that a rebuild brings none back; and the removal of
// all that the blob store holds of one. Marks stay for ever, as tombstones do.
import type { ExecutableId } from '@symkeep/protocol';
import { type BlobStore, executablePrefix } from '../blobs/blob-store.ts';

const prefix = 'erased/';

/** Notes the erasure, then removes the executable's files and tables. Its old journal entries go with the next compaction. */
export async function eraseBlobs(blobs: BlobStore, id: ExecutableId, at: number): Promise<void> {
  await blobs.keepBytes(`${prefix}${id.replace(':', '-')}`, Buffer.from(`${at}\n`));
  for await (const { key } of blobs.list(executablePrefix(id))) await blobs.remove(key);
}

export async function erasedIds(blobs: BlobStore): Promise<Map<ExecutableId, number>> {
  const erased = new Map<ExecutableId, number>();
  for await (const { key, writtenAt } of blobs.list(prefix)) {
    erased.set(key.slice(prefix.length).replace('-', ':') as ExecutableId, writtenAt);
  }
  return erased;
}
