// Two days of one host: 20,000 executables, a cache of 4,096, a profiler that samples every minute. Each design is asked to
// name the same samples. The samples are Zipf, with a set in use all the time, as daemons are.
import { ManualClock, MemoryStore } from '@symkeep/cache';
import type { Design } from './designs.ts';
import * as designs from './designs.ts';
import { executable, Host, hour, idOf, minute, newAgent, seeded, startServer } from './world.ts';

export const executables = 20_000;
export const cacheExecutables = 4_096;
const hours = 48;
const alwaysInUse = 100;
const samplesPerMinute = 250;
/** Share of what is sampled that a process started a moment ago. */
const mappedShare = 0.2;

export interface Outcome {
  readonly design: string;
  readonly samples: number;
  readonly nameless: number;
  /** Longest time for which an executable in use all the time could not be named. */
  readonly longestNamelessMs: number;
  /** Executables that were named, then not, then named again. */
  readonly flickered: number;
  /** Executables that could not be named any more at the end, though they once were. */
  readonly lost: number;
  /** Executables told to the receiver, in all. */
  readonly sent: number;
  /** Entries in the sender's memory of what it has told, and in the receiver's cache; at the end, of symkeep at most. */
  readonly remembered: number;
  readonly held: number;
}

/** What one design has done to the names, sample by sample. */
class Tally {
  samples = 0;
  nameless = 0;
  longestNamelessMs = 0;
  readonly #since = new Map<number, number>();
  readonly #named = new Set<number>();
  readonly #flickered = new Set<number>();

  note(number: number, isNamed: boolean, now: number): void {
    this.samples++;
    const since = this.#since.get(number);
    if (isNamed) {
      if (since !== undefined && this.#named.has(number)) this.#flickered.add(number);
      this.#named.add(number);
      this.#since.delete(number);
      return;
    }
    this.nameless++;
    if (since === undefined) this.#since.set(number, now);
    else if (number < alwaysInUse) this.longestNamelessMs = Math.max(this.longestNamelessMs, now - since);
  }

  get outcome() {
    const lost = [...this.#since.keys()].filter((number) => this.#named.has(number)).length;
    const { samples, nameless, longestNamelessMs } = this;
    return { samples, nameless, longestNamelessMs, flickered: this.#flickered.size, lost };
  }
}

/** The executables sampled and those mapped in each minute, the same for every design. */
function* minutes(): Generator<{ now: number; sampled: number[]; mapped: number[] }> {
  const random = seeded(20_000);
  // Inverse of a Zipf-like distribution: the n-th executable is drawn about in proportion to 1 / n.
  const draw = () => Math.floor(executables ** random()) % executables;
  for (let now = 0; now < hours * hour; now += minute) {
    const hot = Array.from({ length: alwaysInUse }, (_, number) => number);
    const rest = Array.from({ length: samplesPerMinute - alwaysInUse }, draw);
    const sampled = [...hot, ...rest];
    yield { now, sampled, mapped: sampled.filter(() => random() < mappedShare) };
  }
}

export function replayDesigns(): Outcome[] {
  const all: readonly Design[] = [
    designs.mismatched(),
    designs.healing(),
    designs.toldOnce(),
    designs.overCapacity(cacheExecutables),
    designs.moreOften(cacheExecutables),
    designs.moreOften(executables, ', room for all'),
    designs.equalLifetimes(cacheExecutables),
    designs.equalLifetimes(executables, ', room for all'),
    designs.unboundedDesign(),
  ];
  return all.map((design) => {
    const tally = new Tally();
    // At the start every running process is found.
    for (let number = executables - 1; number >= 0; number--) design.mapped(number, 0);
    for (const { now, sampled, mapped } of minutes()) {
      for (const number of mapped) design.mapped(number, now);
      for (const number of sampled) tally.note(number, design.sampled(number, now), now);
    }
    const { name, sent, remembered, held } = design;
    return { design: name, ...tally.outcome, sent, remembered, held };
  });
}

export interface OwnOutcome extends Outcome {
  /** Bytes in the server's cache of records, at most. */
  readonly serverBytesMax: number;
  /** Lookups that only the host's own files could answer. */
  readonly answeredLive: number;
  readonly requests: number;
  readonly outOfName: readonly string[];
}

/** The same two days through symkeep's own agent, server and store. */
export async function replayOurs(): Promise<OwnOutcome> {
  const clock = new ManualClock({ tickMs: 1_000 });
  const server = await startServer(new MemoryStore({ clock }), clock, minute);
  const host = new Host();
  const all = Array.from({ length: executables }, (_, number) => executable(number));
  host.map(...all);
  const agent = newAgent({
    ...{
      clock,
      host,
      name: 'host',
      transport: server.transport,
      cacheExecutables,
      scanIntervalMs: 10 * minute,
    },
  });
  await agent.start();
  // Its queue holds 16,384; the rest follows in the next cycle.
  await clock.advance(3 * minute);
  const tally = new Tally();
  const outOfName: string[] = [];
  let held = 0;
  let serverBytesMax = 0;
  for (const { now, sampled } of minutes()) {
    const found = await agent.catalog.lookup(sampled.map((number) => idOf(all[number]!)));
    for (const [index, outcome] of found.entries()) {
      const number = sampled[index]!;
      const isNamed =
        typeof outcome === 'object' &&
        outcome.fileName === `bin-${number}` &&
        outcome.id === idOf(all[number]!);
      if (!isNamed) outOfName.push(`${number}: ${typeof outcome === 'string' ? outcome : outcome.fileName}`);
      tally.note(number, isNamed, now);
    }
    held = Math.max(held, agent.catalog.metrics().records.size);
    serverBytesMax = Math.max(serverBytesMax, server.catalog.metrics().records.weight);
    await clock.advance(minute);
  }
  const metrics = agent.metrics();
  const { created, merged, unchanged, marks } = metrics.reporter;
  const stopped = Promise.all([agent.stop(), server.catalog.stop()]);
  await clock.advance(10_000);
  await stopped;
  return {
    ...{ design: 'symkeep', ...tally.outcome, sent: created + merged + unchanged, remembered: marks, held },
    ...{ serverBytesMax, answeredLive: metrics.catalog.answeredLive },
    ...{ requests: metrics.server.requests, outOfName },
  };
}
