// What changed: a long poll, or a stream of server-sent events. Both are the same read, asked once or again and again.
import { agentSchema, type EventsReply, eventsWaitMsMax } from '@symkeep/protocol';
import { type Context, defineOperation, type Request } from '../http/operation.ts';
import { eventsQuery, eventsReply } from '../schemas.ts';

/** A comment line this often keeps proxies from closing a silent stream, and shows us that the client is gone. */
const heartbeatMs = 15_000;

export const getEvents = defineOperation({
  summary: 'What changed since a cursor: a long poll of up to 25 s, or text/event-stream',
  role: 'read',
  query: eventsQuery,
  reply: eventsReply,
  run: async (context, request) => {
    noteAgent(context, request.header('symkeep-agent'));
    const cursor = request.query.cursor ?? request.header('last-event-id');
    if (request.header('accept')?.includes('text/event-stream')) {
      return { events: streamOf(context, request, cursor) };
    }
    const waitMs = Math.min(request.query.wait * 1_000, eventsWaitMsMax);
    if (waitMs === 0) return { value: await context.catalog.events.read(cursor, 0) };
    const { signal, done } = context.waiters.enter(request.signal);
    try {
      return { value: await context.catalog.events.read(cursor, waitMs, signal) };
    } finally {
      done();
    }
  },
});

/** `<host> <version>`, each percent-encoded; anything else is left aside, since it only says who lives. */
function noteAgent({ catalog }: Context, header: string | undefined): void {
  const parts = (header ?? '').split(' ').map(decoded);
  const [host, version] = parts.length === 2 ? parts : [];
  const agent = agentSchema.safeParse({ host, version });
  if (agent.success && agent.data.host !== '') catalog.roster.note(agent.data);
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

// Each message has the cursor after it as its ID, so that a browser that reconnects goes on where it was.
function streamOf(
  { catalog, waiters }: Context,
  request: Request<unknown, unknown>,
  from: string | undefined,
): ReadableStream<Uint8Array> {
  const { signal, done } = waiters.enter(request.signal);
  const text = new TextEncoder();
  let cursor = from;
  let open = true;
  // Whatever ends it, the client asks again from its last ID, and is told why then.
  const end = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    done();
    if (open) controller.close();
    open = false;
  };
  return new ReadableStream<Uint8Array>({
    start: (controller) => signal.addEventListener('abort', () => end(controller)),
    pull: async (controller) => {
      try {
        const reply = await catalog.events.read(cursor, heartbeatMs, signal);
        if (open) controller.enqueue(text.encode(messageOf(reply, cursor)));
        cursor = reply.cursor;
      } catch {
        end(controller);
      }
    },
    cancel: () => {
      open = false;
      done();
    },
  });
}

function messageOf(reply: EventsReply, before: string | undefined): string {
  const quiet = !('reset' in reply) && reply.events.length === 0 && reply.cursor === before;
  if (quiet) return ': still here\n\n';
  const event = 'reset' in reply ? 'event: reset\n' : '';
  return `${event}id: ${reply.cursor}\ndata: ${JSON.stringify(reply)}\n\n`;
}
