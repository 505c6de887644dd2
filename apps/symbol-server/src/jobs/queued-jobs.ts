// Jobs as a server asks for them: the record says `queued`, then the queue has the job. Dying in between leaves a record
// that waits for a job that is not there, which the reconciler finds.
import { createHash } from 'node:crypto';
import { StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, encode, idKeyOf } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import { unavailable } from '../catalog/executables.ts';
import type { Catalog } from '../catalog/index.ts';
import type { SourceSet } from '../sources/source-set.ts';
import type { JobState, Jobs } from './jobs.ts';
import type { JobQueue } from './queue.ts';

const digestLength = 16;

export class QueuedJobs implements Jobs {
  readonly #catalog: Pick<Catalog, 'epoch' | 'states'>;
  readonly #queue: JobQueue;

  constructor(catalog: Pick<Catalog, 'epoch' | 'states'>, queue: JobQueue) {
    this.#catalog = catalog;
    this.#queue = queue;
  }

  async enqueue(id: ExecutableId, set: SourceSet, priority = 0): Promise<string> {
    const job = jobIdOf(id, set);
    await this.#queue.add(job, { id }, () => this.#queued(id, set), priority);
    return job;
  }

  async #queued(id: ExecutableId, { version }: SourceSet): Promise<void> {
    const sample = this.#catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw unavailable(sample);
    const outage = (await this.#catalog.states.queued(id, version, sample)) ?? sample.outage();
    if (outage !== undefined && outage !== null) throw unavailable(outage);
  }

  state(job: string): Promise<JobState | null> {
    return this.#queue.state(job);
  }
}

/**
 * Made from the executable, what its table follows from and the table's format, so that the same work has one ID.
 * `<hex of the ID key>-<digest of the set>-v<format>`: BullMQ allows no colon.
 */
export function jobIdOf(id: ExecutableId, { version, sources, pinned }: SourceSet): string {
  const follows = encode([version, sources, pinned ?? ''], 'msgpack');
  const digest = createHash('sha256').update(follows).digest('hex').slice(0, digestLength);
  return `${Buffer.from(idKeyOf(id)).toString('hex')}-${digest}-v${symbolTableVersion}`;
}
