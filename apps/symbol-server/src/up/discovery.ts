// What `up` tells its user: what the agent has found on this host, and what to try with it.
import type { Clock } from '@symkeep/cache';
import type { ExecutableRecord } from '@symkeep/protocol';
import { SymkeepError } from '@symkeep/protocol';
import type { Client } from '../client.ts';
import { serverUrlDefault } from '../commands/lookup.ts';

/** The first scan takes a second or two; a host without anything to find should not keep its user waiting. */
const waitMsMax = 15_000;
const lookEveryMs = 250;
/** Nothing new for so long: the first scan is through. */
const quietMs = 1_500;
/** Counted exactly up to here. */
const countedMax = 1_000;
/** Executables shown: those that a reader knows, then any. */
const examplesMax = 4;
const familiar = ['bash', 'libc.so.6', 'node', 'redis-check-rdb', 'valkey-server', 'python3', 'systemd'];
/** Results of a search by part of a name that are looked through for the name itself. */
const lookedThrough = 50;

interface Page {
  readonly items: readonly ExecutableRecord[];
  readonly nextCursor: string | null;
}

export interface Discovered {
  readonly executables: number;
  /** There are more than were counted. */
  readonly more: boolean;
  readonly examples: readonly { readonly name: string; readonly id: string }[];
}

/** Waits until the agent's first reports have come to rest. */
export async function discover(client: Client, clock: Clock): Promise<Discovered> {
  const started = clock.now();
  let records: readonly ExecutableRecord[] = [];
  let more = false;
  let grownAt = started;
  for (;;) {
    const page = await pageOf(client);
    if (page.items.length > records.length) grownAt = clock.now();
    records = page.items;
    more = page.nextCursor !== null;
    const quiet = records.length > 0 && clock.now() - grownAt >= quietMs;
    if (quiet || clock.now() - started >= waitMsMax) break;
    await clock.sleep(lookEveryMs);
  }
  return { executables: records.length, more, examples: await examplesOf(client, records) };
}

async function pageOf(client: Client): Promise<Page> {
  try {
    return (await client.get(`/v1/executables?limit=${countedMax}`)) as Page;
  } catch (error) {
    if (SymkeepError.from(error).code === 'unavailable') return { items: [], nextCursor: null };
    throw error;
  }
}

async function examplesOf(
  client: Client,
  records: readonly ExecutableRecord[],
): Promise<Discovered['examples']> {
  const pages = await Promise.all(
    familiar.map(async (name) => {
      const path = `/v1/executables?name=${encodeURIComponent(name)}&limit=${lookedThrough}`;
      const { items } = (await client.get(path)) as Page;
      return items.filter(({ fileName }) => fileName === name).slice(0, 1);
    }),
  );
  const known = [...pages.flat(), ...records].filter(
    ({ ids, fileName }) => ids.gnu !== undefined && fileName !== '',
  );
  const byId = new Map(known.map(({ ids, fileName }) => [ids.gnu!, fileName]));
  return [...byId].slice(0, examplesMax).map(([id, name]) => ({ name, id }));
}

export function greeting({ executables, more, examples }: Discovered, url: string, agentUrl: string): string {
  const elsewhere = url === serverUrlDefault ? '' : ` --server ${url}`;
  if (executables === 0) {
    return `
No executable of this host is known yet: the agent may not read other processes' files (it needs to run as root, or
with CAP_SYS_PTRACE). The server is at ${url}/ all the same; Ctrl-C ends everything.
`;
  }
  const width = Math.max(...examples.map(({ name }) => name.length));
  const lines = examples.map(({ name, id }) => `  ${name.padEnd(width)}  ${id}`);
  const id = examples[0]?.id ?? '<id>';
  return `
${executables}${more ? '+' : ''} executables that run on this host are known, among them:

${lines.join('\n')}

Try next, in another terminal:

  npx symkeep lookup ${id}${elsewhere}
  curl ${url}/v1/executables/${id}
  curl ${agentUrl}/v1/executables/${id}     the same from this host's agent

The console is at ${url}/ and the API at ${url}/docs. Ctrl-C ends everything; the data stay.
`;
}
