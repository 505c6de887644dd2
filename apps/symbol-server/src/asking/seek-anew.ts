// An admin wants agents to be asked for the file of an executable now: most wanted, and those that had nothing as well.
import { type Store, StoreUnavailable } from '@symkeep/cache';
import type { ExecutableId } from '@symkeep/protocol';
import type { Catalog } from '../catalog/index.ts';
import { UploadLeases } from './upload-leases.ts';

/** Throws the outage. */
export async function seekAnew(
  store: Store,
  { demand, epoch, executables }: Pick<Catalog, 'demand' | 'epoch' | 'executables'>,
  id: ExecutableId,
  samples: number,
): Promise<void> {
  demand.note(id, samples);
  // Agents that hear of it check at once; by then it must be wanted.
  await demand.flush();
  await new UploadLeases(store).forgetTried(id);
  const sample = epoch.sample();
  if (sample instanceof StoreUnavailable) throw sample;
  await executables.announceWanted([id], sample);
}
