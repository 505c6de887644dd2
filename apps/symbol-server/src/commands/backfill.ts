// `symkeep backfill start|list|show|pause|resume|cancel|retry|failed`.
import type { Clock } from '@symkeep/cache';
import { defineCommand, UsageError, type Values } from '@symkeep/options';
import { SymkeepError } from '@symkeep/protocol';
import type { z } from 'zod';
import { type Client, createClient } from '../client.ts';
import { backfillOptions, json, server, token, wait } from '../options.ts';
import { ProgressBar } from '../progress-bar.ts';
import type { backfillFailuresReply, backfillReply, backfillsReply, censusReply } from '../schemas.ts';
import { bytesText } from '../text.ts';
import { serverUrlDefault } from './lookup.ts';

const options = { server, token, ...backfillOptions, wait, json } as const;
type BackfillValues = Values<typeof options>;
type Backfill = z.output<typeof backfillReply>;
type Failures = z.output<typeof backfillFailuresReply>;
type Census = z.output<typeof censusReply>;

const place = '/v1/admin/backfills';
const pollMs = 1_000;
/** Polls of a server that is away, before waiting for it is given up. */
const triesMax = 60;
const actions = ['start', 'list', 'show', 'pause', 'resume', 'cancel', 'retry', 'failed'] as const;
type Action = (typeof actions)[number];

export function backfill(clock: Clock) {
  return defineCommand({
    name: 'backfill',
    describe: 'fills in symbols of many executables: start, list, show, pause, resume, cancel, retry, failed',
    args: '<action> [id...]',
    options,
    more: `start takes IDs of executables, or none for all that the options choose; list takes none; the others the ID of a backfill.

Examples:
  symkeep backfill start --state failed --dry-run       how many there are, and in which state
  symkeep backfill start --source upstream --quality-below dwarf --rate 20 --wait
  symkeep backfill pause 3f1c9d0a2b4e6f80
  symkeep backfill failed 3f1c9d0a2b4e6f80`,
    run: async (values, [action = '', ...ids]) => {
      const client = createClient(values.server ?? serverUrlDefault, values.token);
      return run(assertUsage(action, ids), ids, { client, values, clock });
    },
  });
}

interface Deps {
  readonly client: Client;
  readonly values: BackfillValues;
  readonly clock: Clock;
}

function assertUsage(text: string, ids: readonly string[]): Action {
  const action = actions.find((known) => known === text);
  if (action === undefined) {
    const known = actions.join(', ');
    throw new UsageError([`backfill: unknown action ${JSON.stringify(text)}; known are ${known}`]);
  }
  if (action === 'list' && ids.length > 0) throw new UsageError(['backfill list: takes no ID']);
  if (action !== 'list' && action !== 'start' && ids.length !== 1)
    throw new UsageError([`backfill ${action}: the ID of one backfill is needed`]);
  return action;
}

async function run(action: Action, ids: readonly string[], deps: Deps): Promise<number> {
  const { client, values } = deps;
  const at = `${place}/${encodeURIComponent(ids[0] ?? '')}`;
  switch (action) {
    case 'start':
      return start(ids, deps);
    case 'list':
      return list(deps);
    case 'failed':
      return listFailed(at, deps);
    case 'show':
      return show((await client.get(at)) as Backfill, values);
    default:
      return follow((await client.post(`${at}/${action}`, {})) as Backfill, deps);
  }
}

async function start(ids: readonly string[], deps: Deps): Promise<number> {
  const { client, values } = deps;
  const { name, state, qualityBelow, lastSeenAfter, formatBelow, source, priority, rate, dryRun } = values;
  const filter = {
    name,
    state,
    qualityBelow,
    lastSeenAfter,
    formatBelow,
    ids: ids.length > 0 ? ids : undefined,
  };
  const headers = values.key === undefined ? {} : { 'idempotency-key': values.key };
  const reply = await client.post(place, { filter, source, priority, rate, dryRun }, headers);
  if (dryRun) return showCensus(reply as Census, values);
  return follow(reply as Backfill, deps);
}

/** Shows it; with `--wait` once it has ended. A backfill that did not do everything is a failure. */
async function follow(started: Backfill, { client, values, clock }: Deps): Promise<number> {
  if (!values.wait) return show(started, values);
  const bar = new ProgressBar(process.stderr, clock);
  let current = started;
  for (let tries = 0; !isOver(current); ) {
    bar.show(partOf(current), progressText(current));
    await clock.sleep(pollMs);
    try {
      current = (await client.get(`${place}/${current.id}`)) as Backfill;
      tries = 0;
    } catch (error) {
      // A server that restarts is back soon, and the backfill goes on meanwhile.
      if (SymkeepError.from(error).code !== 'unavailable' || ++tries === triesMax) throw error;
    }
  }
  bar.end();
  show(current, values);
  return current.state === 'done' && current.progress.failed === 0 ? 0 : 1;
}

async function list({ client, values }: Deps): Promise<number> {
  const { items } = (await client.get(`${place}?limit=1000`)) as z.output<typeof backfillsReply>;
  for (const item of items) show(item, values);
  if (items.length === 0 && !values.json) process.stderr.write('there are no backfills\n');
  return 0;
}

async function listFailed(at: string, { client, values }: Deps): Promise<number> {
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query = new URLSearchParams({ limit: '1000', cursor });
    const page = (await client.get(`${at}/failed?${query}`)) as Failures;
    for (const item of page.items) {
      const line = `${item.id}  ${item.code}: ${item.message}`;
      process.stdout.write(`${values.json ? JSON.stringify(item) : line}\n`);
    }
    cursor = page.nextCursor;
  }
  return 0;
}

function show(backfill: Backfill, { json }: BackfillValues): number {
  const { id, state, source, reasons, skippedReasons } = backfill;
  const why = [countsText('failed', reasons), countsText('skipped', skippedReasons)].filter(Boolean);
  const lines = [`${id}  ${state.padEnd(9)} ${source.padEnd(8)} ${progressText(backfill)}`, ...why];
  process.stdout.write(`${json ? JSON.stringify(backfill) : lines.join('\n')}\n`);
  return 0;
}

function showCensus(census: Census, { json }: BackfillValues): number {
  const { total, asked, states, qualities, skipped, complete } = census;
  const lines = [
    `${total} executables${complete ? '' : ' and more, which were not counted'}; ${asked} would be asked for`,
    ...[countsText('state', states), countsText('quality', qualities), countsText('skipped', skipped)],
  ].filter(Boolean);
  process.stdout.write(`${json ? JSON.stringify(census) : lines.join('\n')}\n`);
  return 0;
}

function countsText(what: string, counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([code, count]) => `${count} ${code}`);
  return parts.length === 0 ? '' : `  ${what}: ${parts.join(', ')}`;
}

function progressText({ progress }: Backfill): string {
  const { total, done, failed, skipped, bytes, rate, eta } = progress;
  const parts = [`${done} of ${total} done`, `${failed} failed`, `${skipped} skipped`, bytesText(bytes)];
  if (rate > 0) parts.push(`${rate}/s`);
  if (eta !== null) parts.push(`until ${eta}`);
  return parts.join(', ');
}

function partOf({ progress: { total, done, failed, skipped } }: Backfill): number {
  return (done + failed + skipped) / Math.max(1, total);
}

function isOver({ state }: Backfill): boolean {
  return state === 'done' || state === 'cancelled';
}
