// The fleet at a glance: its agents, and how well its executables are symbolized.
import { defineOperation } from '../http/operation.ts';
import { agentsReply, statsReply } from '../schemas.ts';

export const getAgents = defineOperation({
  summary: 'Agents that asked something within the last week',
  role: 'admin',
  reply: agentsReply,
  run: async ({ catalog }) => ({ value: { items: await catalog.roster.list(), nextCursor: null } }),
});

export const getStats = defineOperation({
  summary:
    'Executables by the state and quality of their symbols, and what their tables take; up to 10 s old',
  role: 'admin',
  reply: statsReply,
  run: async ({ catalog }) => {
    const [stats, agents] = await Promise.all([catalog.stats.read(), catalog.roster.list()]);
    return { value: { ...stats, agents: agents.length, epoch: catalog.epoch.current ?? '' } };
  },
});
