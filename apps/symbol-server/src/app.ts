// The HTTP API: every route in one place. What an operation takes and answers is described beside it, in `routes/`; what
// every request goes through is `http/exchange.ts`.
import { Hono, type Next } from 'hono';
import { boardPath, type QueueBoard } from './board/queue-board.ts';
import {
  type AppContext,
  answer,
  answerPage,
  answerUnknown,
  type Bindings,
  type ExchangeDeps,
  routedPath,
} from './http/exchange.ts';
import type { Role } from './http/operation.ts';
import { openApiOf, type Route } from './openapi.ts';
import {
  actOnBackfill,
  getBackfill,
  getBackfillFailures,
  listBackfills,
  startBackfill,
} from './routes/backfills.ts';
import { headDebuginfo, putDebuginfo, returnDebuginfo } from './routes/debuginfo.ts';
import { eraseExecutable } from './routes/erase.ts';
import { getEvents } from './routes/events.ts';
import {
  checkExecutables,
  getExecutable,
  lookupExecutables,
  reportExecutables,
  searchExecutables,
} from './routes/executables.ts';
import { explainExecutable } from './routes/explain.ts';
import { getAgents, getStats } from './routes/fleet.ts';
import { getFrames, lookupFrames, reportFrames } from './routes/frames.ts';
import { info } from './routes/info.ts';
import { getJob } from './routes/jobs.ts';
import {
  consolePage,
  docsPage,
  healthz,
  metricsText,
  openApiDocument,
  type PageDeps,
  readyz,
} from './routes/pages.ts';
import { getSymbols, pinSymbols, quarantineSource, rollBackSymbols } from './routes/symbols.ts';
import { getWanted } from './routes/wanted.ts';

export const routes: readonly Route[] = [
  { method: 'get', path: '/v1/info', operation: info },
  { method: 'get', path: '/v1/executables', operation: searchExecutables },
  { method: 'post', path: '/v1/executables', operation: reportExecutables },
  { method: 'post', path: '/v1/executables/lookup', operation: lookupExecutables },
  { method: 'post', path: '/v1/executables/check', operation: checkExecutables },
  { method: 'get', path: '/v1/executables/{id}', operation: getExecutable },
  { method: 'delete', path: '/v1/executables/{id}', operation: eraseExecutable },
  { method: 'head', path: '/v1/executables/{id}/debuginfo', operation: headDebuginfo },
  { method: 'put', path: '/v1/executables/{id}/debuginfo', operation: putDebuginfo },
  { method: 'delete', path: '/v1/executables/{id}/debuginfo', operation: returnDebuginfo },
  { method: 'get', path: '/v1/executables/{id}/explain', operation: explainExecutable },
  { method: 'get', path: '/v1/executables/{id}/frames/{address}', operation: getFrames },
  { method: 'post', path: '/v1/frames', operation: reportFrames },
  { method: 'post', path: '/v1/frames/lookup', operation: lookupFrames },
  { method: 'get', path: '/v1/executables/{id}/symbols', operation: getSymbols },
  { method: 'post', path: '/v1/executables/{id}/symbols/pin', operation: pinSymbols },
  { method: 'post', path: '/v1/executables/{id}/symbols/rollback', operation: rollBackSymbols },
  { method: 'post', path: '/v1/executables/{id}/symbols/quarantine', operation: quarantineSource },
  { method: 'get', path: '/v1/jobs/{job}', operation: getJob },
  { method: 'get', path: '/v1/events', operation: getEvents },
  { method: 'get', path: '/v1/admin/wanted', operation: getWanted },
  { method: 'get', path: '/v1/admin/agents', operation: getAgents },
  { method: 'get', path: '/v1/admin/stats', operation: getStats },
  { method: 'get', path: '/v1/admin/backfills', operation: listBackfills },
  { method: 'post', path: '/v1/admin/backfills', operation: startBackfill },
  { method: 'get', path: '/v1/admin/backfills/{b}', operation: getBackfill },
  { method: 'get', path: '/v1/admin/backfills/{b}/failed', operation: getBackfillFailures },
  { method: 'post', path: '/v1/admin/backfills/{b}/pause', operation: actOnBackfill('pause') },
  { method: 'post', path: '/v1/admin/backfills/{b}/resume', operation: actOnBackfill('resume') },
  { method: 'post', path: '/v1/admin/backfills/{b}/cancel', operation: actOnBackfill('cancel') },
  { method: 'post', path: '/v1/admin/backfills/{b}/retry', operation: actOnBackfill('retry') },
];

interface Page {
  readonly path: string;
  readonly role: Role | 'none';
  readonly run: (deps: AppDeps, c: AppContext) => Promise<Response> | Response;
}

const pages: readonly Page[] = [
  { path: '/healthz', role: 'none', run: healthz },
  { path: '/readyz', role: 'none', run: readyz },
  { path: '/metrics', role: 'read', run: metricsText },
  { path: '/openapi.json', role: 'read', run: (deps) => openApiDocument(openApiOf(routes, deps.version)) },
  { path: '/docs', role: 'read', run: (deps) => docsPage(openApiOf(routes, deps.version)) },
  { path: '/', role: 'read', run: consolePage },
];

export type AppDeps = ExchangeDeps &
  PageDeps & {
    /** Shows the queue of jobs; undefined where there is none. */
    readonly queueBoard: Pick<QueueBoard, 'answer'> | undefined;
  };

export function createApp(deps: AppDeps): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>({ getPath: routedPath });
  for (const { method, path, operation } of routes) {
    const at = path.replace(/\{(\w+)\}/g, ':$1');
    // The router takes a HEAD for a GET; where only a HEAD is offered, a GET is not.
    const run = (c: AppContext, next: Next) =>
      method === 'head' && c.req.method !== 'HEAD' ? next() : answer(deps, c, path, operation);
    app.on(method === 'head' ? 'GET' : method.toUpperCase(), at, run);
  }
  for (const { path, role, run } of pages) {
    app.get(path, (c) => answerPage(deps, c, path, role, () => run(deps, c)));
  }
  const { queueBoard } = deps;
  if (queueBoard !== undefined) {
    const run = (c: AppContext) =>
      answerPage(deps, c, boardPath, 'admin', () => queueBoard.answer(c.req.raw));
    for (const path of [boardPath, `${boardPath}/*`]) app.all(path, run);
  }
  app.notFound((c) => answerUnknown(deps, c, methodsOf(c.req.path)));
  return app;
}

const offered = [...routes, ...pages.map(({ path }) => ({ method: 'get', path }))].map(
  ({ method, path }) => ({
    method: method.toUpperCase(),
    form: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
  }),
);

/** The methods offered at a path, for the reply to one that is not. */
function methodsOf(path: string): string[] {
  const methods = offered.filter(({ form }) => form.test(path)).map(({ method }) => method);
  return [...new Set(methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))];
}
