// What is not a message of the API: health, metrics, the API's description, and two pages for people. The pages are made
// here as plain HTML, without scripts.
import { StoreUnavailable } from '@symkeep/cache';
import { encode, parseExecutableId, SymkeepError } from '@symkeep/protocol';
import type { AppContext, ExchangeDeps } from '../http/exchange.ts';
import type { OpenApi } from '../openapi.ts';
import { type ConsoleView, consoleHtml } from '../pages/console.ts';
import { docsHtml } from '../pages/docs.ts';

export interface PageDeps {
  /** Why this server should get no requests now; undefined: it is ready. */
  readonly unready: () => Promise<string | undefined>;
  /** What of Redis' own settings should not stay so, in words. */
  readonly storeWarnings: () => readonly string[];
  /** The metrics of all processes of this server, in Prometheus' text form. */
  readonly metricsText: () => Promise<string>;
}
type Deps = ExchangeDeps & PageDeps;

const noStore = { 'cache-control': 'no-store' };
const pageHeaders = {
  ...noStore,
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};
/** Executables shown on the console page. */
const shownMax = 50;

export function healthz(): Response {
  return jsonResponse({ status: 'alive' });
}

export async function readyz({ unready }: Deps): Promise<Response> {
  const reason = await unready();
  if (reason !== undefined) throw new SymkeepError('unavailable', reason, { retryAfterSeconds: 1 });
  return jsonResponse({ status: 'ready' });
}

export async function metricsText({ metricsText }: Deps): Promise<Response> {
  const headers = { ...noStore, 'content-type': 'text/plain; version=0.0.4; charset=utf-8' };
  return sized(Buffer.from(await metricsText()), headers);
}

export function openApiDocument(document: OpenApi): Response {
  return jsonResponse(document);
}

export function docsPage(document: OpenApi): Response {
  return sized(Buffer.from(docsHtml(document)), pageHeaders);
}

export async function consolePage(deps: Deps, c: AppContext): Promise<Response> {
  const view = await viewOf(deps, c.req.query('q')?.trim() ?? '');
  return sized(Buffer.from(consoleHtml(view)), pageHeaders);
}

async function viewOf(deps: Deps, query: string): Promise<ConsoleView> {
  const { catalog, version, unready, waiters } = deps;
  const { list, trouble } = await listOf(catalog, query);
  return {
    ...{ version, query, list, trouble },
    epoch: catalog.epoch.current,
    unready: await unready(),
    warnings: deps.storeWarnings(),
    waiting: waiters.size,
    numbers: catalog.metrics(),
  };
}

// An ID finds its executable, anything else is part of a name. The page stands even when the store does not.
async function listOf(
  catalog: Deps['catalog'],
  query: string,
): Promise<Pick<ConsoleView, 'list' | 'trouble'>> {
  try {
    const id = idIn(query);
    if (id !== undefined) {
      const [outcome] = await catalog.executables.lookup([id]);
      if (typeof outcome === 'object')
        return { list: { records: [outcome.record], more: false }, trouble: undefined };
      return { list: { records: [], more: false }, trouble: outcome === 'not_found' ? undefined : outcome };
    }
    const page = await catalog.executables.search({
      limit: shownMax,
      ...(query === '' ? {} : { name: query }),
    });
    const records = page.items.map(({ record }) => record);
    return { list: { records, more: page.nextCursor !== null }, trouble: undefined };
  } catch (error) {
    if (!(error instanceof SymkeepError) && !(error instanceof StoreUnavailable)) throw error;
    return { list: { records: [], more: false }, trouble: error.message };
  }
}

function idIn(text: string) {
  try {
    return parseExecutableId(text);
  } catch {
    return undefined; // then it is a name
  }
}

function jsonResponse(value: unknown): Response {
  return sized(encode(value, 'json'), { ...noStore, 'content-type': 'application/json' });
}

function sized(bytes: Uint8Array<ArrayBuffer>, headers: Record<string, string>): Response {
  return new Response(bytes, { headers: { ...headers, 'content-length': String(bytes.length) } });
}
