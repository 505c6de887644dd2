// Why an executable's frames have names or not, as a timeline made of what is known of it: a pure function, so that what
// it says can be read from what it is given.
import { type ExecutableRecord, type SymbolsSummary, secondOf } from '@symkeep/protocol';
import type { LeaseState } from '../asking/upload-leases.ts';
import type { JobState } from '../jobs/jobs.ts';
import type { Source, SourceSet, TableVersion } from '../sources/source-set.ts';
import type { UpstreamAbsence } from '../upstreams/upstream-absences.ts';

/** One thing that happened, or that is so now. */
export interface Step {
  /** RFC 3339. */
  readonly at: string;
  readonly kind: string;
  readonly text: string;
  /** Codes, digests and times for programs. */
  readonly [detail: string]: unknown;
}

export interface Known {
  readonly record: ExecutableRecord;
  readonly set: SourceSet;
  /** Samples, or addresses, that were asked for in vain. */
  readonly asked: number;
  /** By upstream URL. */
  readonly absences: Readonly<Record<string, UpstreamAbsence>>;
  /** Which agents were asked for its file. */
  readonly lease: LeaseState | null;
  /** Of the set's table, where one is queued or runs. */
  readonly job: JobState | null;
}

/** In the order of their times; what is so now comes last. `now` is Unix milliseconds. */
export function timelineOf(known: Known, now: number): Step[] {
  const { record, set, absences } = known;
  const past = [
    ...seen(record),
    ...agentSteps(known.lease),
    ...set.sources.map(fileStep),
    ...Object.entries(absences).map(([url, absence]) => absenceStep(url, absence)),
    ...set.tables.map(tableStep),
    ...attemptSteps(set),
  ];
  // Of what has one time, the order in which it is listed here is that in which it came about.
  return [...past.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)), ...present(known, secondOf(now))];
}

function seen({ id, fileName, firstSeen, lastSeen, nameCount }: ExecutableRecord): Step[] {
  const name = fileName === '' ? 'a file without a name' : fileName;
  const names = `${nameCount} ${nameCount === 1 ? 'name' : 'names'} so far`;
  return [
    { at: firstSeen, kind: 'known_since', text: `${name} became known as ${id}` },
    // True to the day: on the first day it is no earlier than what it follows.
    {
      at: lastSeen > firstSeen ? lastSeen : firstSeen,
      kind: 'last_seen',
      text: `last seen on this day, under ${names}`,
    },
  ];
}

function agentSteps(lease: LeaseState | null): Step[] {
  if (lease === null) return [];
  const { host, until, fence, tried } = lease;
  const steps = tried.map(({ host, at, why }) => {
    const outcome = why === 'absent' ? 'has no file that says a name' : 'could not send it';
    const text = `the agent of ${host} was asked for the file, and ${outcome}`;
    return { at: secondOf(at), kind: `agent_${why}`, text, host };
  });
  if (until === 0) return steps;
  const text = `the agent of ${host} was asked for the file`;
  return [...steps, { at: secondOf(fence), kind: 'agent_asked', text, host, until: secondOf(until) }];
}

function fileStep({ at, kind, bytes, quality, trust, digest, dropped, quarantined }: Source): Step {
  const file = `${kind === 'debug' ? 'a debug file' : 'an executable'} of ${bytes} bytes, quality ${quality}`;
  const since = [
    ...(quarantined === undefined ? [] : [`taken out since: ${quarantined}`]),
    ...(dropped === undefined ? [] : ['no longer kept, its table is']),
  ];
  const text = `${file}, came from ${trust}${since.map((one) => `; ${one}`).join('')}`;
  return { at: secondOf(at), kind: 'file', text, digest, quality, trust };
}

function absenceStep(upstream: string, { at, misses, retryAt }: UpstreamAbsence): Step {
  const times = misses === 1 ? '' : ` (${misses} times in a row)`;
  const next = secondOf(retryAt);
  const text = `${upstream} had no debug file${times}; next try at ${next}`;
  return { at: secondOf(at), kind: 'upstream_absent', text, upstream, retryAt: next };
}

function tableStep({ at, digest, quality, from, partial, generation }: TableVersion): Step {
  const files = `${from.length} ${from.length === 1 ? 'file' : 'files'}`;
  const text = `a symbol table of quality ${quality} was made from ${files}${partial ? ', not all of which could be read' : ''}`;
  return { at: secondOf(at), kind: 'table', text, digest, generation };
}

function attemptSteps({ attempt, version }: SourceSet): Step[] {
  if (attempt?.failure === undefined) return [];
  const { code, message, mayPass } = attempt.failure;
  const again = mayPass ? 'it is tried again' : 'it is not tried again until another file comes';
  const text = `making the symbol table failed: ${message} (${code}); ${again}`;
  const of = attempt.version === version ? {} : { outdated: true };
  return [{ at: secondOf(attempt.at), kind: 'failed', text, code, mayPass, ...of }];
}

function present(known: Known, at: string): Step[] {
  const { record, set, asked, job } = known;
  const steps: Step[] = [];
  if (record.ambiguous) {
    const text = 'two different files carry this ID, so it names neither: ask by htlhash';
    steps.push({ at, kind: 'ambiguous', text });
  }
  if (asked > 0) {
    steps.push({ at, kind: 'asked', text: askedText(asked), samples: asked });
  }
  if (set.pinned !== undefined) {
    steps.push({ at, kind: 'pinned', text: 'an admin has pinned its symbol table', digest: set.pinned });
  }
  const { state } = record.symbols;
  const text = symbolsText(record.symbols, record.generation, job);
  return [...steps, { at, kind: `symbols_${state}`, text, generation: record.generation }];
}

export function askedText(samples: number): string {
  const times = Math.max(1, Math.round(samples));
  return `asked for ${times === 1 ? 'once' : `${times} times`} in vain`;
}

function symbolsText(symbols: SymbolsSummary, generation: number, job: JobState | null): string {
  const { state, quality, functions, sources, reason } = symbols;
  switch (state) {
    case 'none':
      return 'no file with symbols has come yet; frames come from what agents report';
    case 'wanted':
      return 'no file with symbols has come yet; it is on the list of what is wanted';
    case 'queued':
      return job?.position === undefined
        ? 'its symbol table is to be made'
        : `its symbol table is to be made: at position ${job.position} of the queue`;
    case 'running':
      return `its symbol table is being made${job === null ? '' : ` (${Math.round(job.progress * 100)} %)`}`;
    case 'ready': {
      const from = sources.length === 0 ? '' : `, from ${sources.join(' and ')}`;
      return `ready: a symbol table of quality ${quality} with ${functions} functions${from}, generation ${generation}`;
    }
    case 'failed':
      return `its symbol table could not be made: ${reason ?? 'no reason was kept'}`;
  }
}
