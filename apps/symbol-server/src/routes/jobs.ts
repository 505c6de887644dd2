// What became of a job. Its outcome stands in the record; this is for who waits for it.
import { SymkeepError } from '@symkeep/protocol';
import { defineOperation } from '../http/operation.ts';
import { jobReply } from '../schemas.ts';

export const getJob = defineOperation({
  summary: 'State of a job; done ones are kept for an hour, failed ones for a week',
  role: 'read',
  params: { job: 'as an upload answered it' },
  reply: jobReply,
  run: async ({ jobs }, { params }) => {
    const state = await jobs.state(params.job!);
    if (state === null) throw new SymkeepError('not_found', `there is no job ${params.job}`);
    return { value: state };
  },
});
