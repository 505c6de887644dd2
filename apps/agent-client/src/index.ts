// The agent as a library: whole, over anything that carries its requests, and the parts that tests and simulations use.
export {
  type Agent,
  type AgentDeps,
  type AgentMetrics,
  type AgentOptions,
  createAgent,
  type Scanner,
} from './agent.ts';
export { Catalog, type FramesOutcome, type LookupOutcome } from './catalog.ts';
export { type HostFiles, nodeFiles } from './discovery/host-files.ts';
export { type LiveFile, noProblems, type Pass, type Problem, problems } from './discovery/live-file.ts';
export { ProcessScanner } from './discovery/process-scanner.ts';
export { httpTransport } from './http-transport.ts';
export { agentLifetimes } from './lifetimes.ts';
export { type Log, silentLog } from './log.ts';
export { createReadApi } from './read-api/api.ts';
export { type Listening, listenOnLoopback, listenOnSocket } from './read-api/listener.ts';
export { type FramesRequest, ServerClient } from './server-client.ts';
export { type SnapshotPlace, snapshotFile } from './snapshot-file.ts';
export type { Transport, TransportRequest, TransportResponse } from './transport.ts';
