// What the server asks of its workers. A job makes the symbol table that follows from a set of sources. Its outcome lives in
// the record and the set; a queue only says who does the work and when.
import type { ExecutableId } from '@symkeep/protocol';
import type { SourceSet } from '../sources/source-set.ts';

export interface Jobs {
  /**
   * Sees to it that the table of this set is made, and that the record says so (`queued`, unless it is `ready`: then it
   * stays so meanwhile); makes the record if no agent has reported the executable yet. Asking again for the same set is
   * the same job; one that had failed is run again. Returns its ID. Throws `unavailable`.
   */
  enqueue(id: ExecutableId, set: SourceSet): Promise<string>;
  /** Null if there is no job of this ID that is queued, runs, ended lately or failed. Throws `unavailable`. */
  state(job: string): Promise<JobState | null>;
}

export interface JobState {
  readonly state: 'queued' | 'running' | 'done' | 'failed';
  /** Part of the work that is done, 0 to 1. */
  readonly progress: number;
  /** Place in the queue, 1 is next; only where it is queued and no pause holds it. */
  readonly position?: number;
  readonly error?: { readonly code: string; readonly message: string };
}
