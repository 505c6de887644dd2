// Bull Board at /admin/queues: what is in the queue of jobs, for people. Its page and scripts come from the installed
// package and need nothing from elsewhere: what its page asks of other hosts is taken out, and a content security policy
// sees to it that nothing else is asked for.
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, join, relative } from 'node:path';
import type { createBullBoard } from '@bull-board/api';
import { SymkeepError } from '@symkeep/protocol';
import { Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { JobQueue } from '../jobs/queue.ts';

export const boardPath = '/admin/queues';
/** What the page sends: settings of jobs and queues. */
const bodyBytesMax = 64 * 1024;

const securityPolicy =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; " +
  "form-action 'self'; frame-ancestors 'none'";
const headers = {
  'content-security-policy': securityPolicy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};
const contentTypes: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

type ServerAdapter = Parameters<typeof createBullBoard>[0]['serverAdapter'];
type Given<Method extends keyof ServerAdapter> = Parameters<ServerAdapter[Method]>[0];
type BoundQueue = Parameters<Parameters<JobQueue['ask']>[0]>[0];

export class QueueBoard {
  readonly #queue: JobQueue;
  #board: { readonly of: BoundQueue; readonly adapter: BoardAdapter } | undefined;

  constructor(queue: JobQueue) {
    this.#queue = queue;
  }

  /** Answers a request under `boardPath`. Throws `unavailable` while Redis is away, and `not_found`. */
  async answer(request: Request): Promise<Response> {
    if (Number(request.headers.get('content-length') ?? 0) > bodyBytesMax)
      throw new SymkeepError('too_large', `the body is over ${bodyBytesMax} bytes`);
    const library = await loadLibrary();
    return this.#queue.ask(async (queue) => {
      if (this.#board?.of !== queue) this.#board = { of: queue, adapter: boardOf(queue, library) };
      return this.#board.adapter.app.fetch(request);
    });
  }
}

/** Only when somebody looks: most server processes never show it. */
async function loadLibrary() {
  const [api, adapters] = await Promise.all([
    import('@bull-board/api'),
    import('@bull-board/api/bullMQAdapter'),
  ]);
  return { ...api, ...adapters };
}

function boardOf(queue: BoundQueue, library: Awaited<ReturnType<typeof loadLibrary>>): BoardAdapter {
  const serverAdapter = new BoardAdapter();
  const uiConfig = { boardTitle: 'symkeep', hideDocsLink: true };
  const queues = [new library.BullMQAdapter(queue)];
  library.createBullBoard({ queues, serverAdapter, options: { uiConfig } });
  return serverAdapter;
}

/** What Bull Board asks of a web framework, on a router of ours. */
class BoardAdapter implements ServerAdapter {
  readonly app = new Hono().basePath(boardPath);
  #queues: Given<'setQueues'> = new Map();
  #uiConfig: Given<'setUIConfig'> = {};
  #views = '';
  #onError: Given<'setErrorHandler'> = ({ message }) => ({ status: 500, body: { error: message } });

  constructor() {
    // What is thrown is answered as everywhere else.
    this.app.onError((error) => {
      throw error;
    });
  }

  setQueues(queues: Given<'setQueues'>): this {
    this.#queues = queues;
    return this;
  }

  setViewsPath(path: string): this {
    this.#views = path;
    return this;
  }

  setUIConfig(config: Given<'setUIConfig'>): this {
    this.#uiConfig = config;
    return this;
  }

  setErrorHandler(handler: Given<'setErrorHandler'>): this {
    this.#onError = handler;
    return this;
  }

  /** Only files that are there now are given out, whatever a path says. */
  setStaticPath(route: string, path: string): this {
    const files = new Map(
      readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .map((file) => [`${boardPath}${route}/${relative(path, file)}`, file]),
    );
    this.app.get(`${route}/*`, async (c) => {
      const file = files.get(c.req.path);
      if (file === undefined) throw new SymkeepError('not_found', `nothing is at ${c.req.path}`);
      const type = contentTypes[extname(file)] ?? 'application/octet-stream';
      // Their names change with their content.
      return c.body(await readFile(file), 200, {
        ...headers,
        'content-type': type,
        'cache-control': 'private, max-age=86400',
      });
    });
    return this;
  }

  setApiRoutes(routes: Given<'setApiRoutes'>): this {
    for (const { method, route, handler } of routes) {
      const methods = [method].flat().map((one) => one.toUpperCase());
      this.app.on(methods, [route].flat(), async (c) => {
        // Most of what the page sends has no body.
        const text = c.req.method === 'GET' ? '' : await c.req.text();
        const answered = await Promise.resolve(
          handler({
            ...{
              queues: this.#queues,
              uiConfig: this.#uiConfig,
              params: c.req.param(),
              query: c.req.query(),
            },
            body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
            headers: c.req.header(),
          }),
        ).catch((error: Error) => this.#onError(error));
        const { status = 200, body } = answered;
        if (status === 204) return c.body(null, 204, headers);
        const given = { ...headers, 'cache-control': 'no-store' };
        return c.json(body as object, status as ContentfulStatusCode, given);
      });
    }
    return this;
  }

  setEntryRoute({ route, handler }: Given<'setEntryRoute'>): this {
    const { name, params } = handler({ basePath: boardPath, uiConfig: this.#uiConfig });
    const page = filledTemplate(offline(readFileSync(join(this.#views, name), 'utf8')), params);
    this.app.on('GET', [route].flat(), (c) =>
      c.body(page, 200, {
        ...headers,
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
      }),
    );
    return this;
  }
}

/** Without what the page would load from other hosts: it asks for a font, and does without. */
export function offline(html: string): string {
  return html.replace(/<link\b[^>]*\bhref="https?:[^>]*>/g, '');
}

// `<%= name %>` is text, `<%- name %>` is markup; the template has nothing else.
function filledTemplate(template: string, params: Readonly<Record<string, string>>): string {
  return template.replace(/<%([=-])\s*(\w+)\s*%>/g, (_, kind: string, name: string) => {
    const value = params[name] ?? '';
    if (kind === '-') return value;
    return value.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  });
}
