// Jobs that nobody does: they are asked for and stay queued, as on a server without a worker.
import type { ExecutableId } from '@symkeep/protocol';
import type { JobState, Jobs } from '../src/jobs/jobs.ts';
import type { SourceSet } from '../src/sources/source-set.ts';

export class MemoryJobs implements Jobs {
  /** What was asked for, by job ID, in order. */
  readonly asked = new Map<string, { readonly id: ExecutableId; readonly set: SourceSet }>();

  async enqueue(id: ExecutableId, set: SourceSet): Promise<string> {
    const job = `${id.replaceAll(/\W/g, '-')}-${set.version}`;
    this.asked.set(job, { id, set });
    return job;
  }

  async state(job: string): Promise<JobState | null> {
    return this.asked.has(job) ? { state: 'queued', progress: 0 } : null;
  }
}
