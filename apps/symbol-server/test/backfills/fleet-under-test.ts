// A fleet of executables on a store in memory, with workers that do jobs when they are told to.
import { createHash } from 'node:crypto';
import { type EpochSample, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, gnuId, type SymbolsSummary } from '@symkeep/protocol';
import { symbolTableVersion } from '@symkeep/symbols';
import { pino } from 'pino';
import { BackfillRunner } from '../../src/backfills/runner.ts';
import { Lease } from '../../src/jobs/lease.ts';
import { withAttempt } from '../../src/sources/source-set.ts';
import type { FetchOutcome } from '../../src/upstreams/fetcher.ts';
import { type AppUnderTest, agent, bash, messageOf, startApp } from '../app-under-test.ts';

export interface Progress {
  readonly total: number;
  readonly done: number;
  readonly failed: number;
  readonly skipped: number;
  readonly running: number;
  readonly bytes: number;
  readonly rate: number;
  readonly eta: string | null;
}
export interface BackfillReply {
  readonly id: string;
  readonly state: string;
  readonly progress: Progress;
  readonly reasons: Record<string, number>;
  readonly skippedReasons: Record<string, number>;
}

export const tableBytes = 1_000;
const failure = { code: 'malformed', message: 'no', mayPass: false };

export class FleetUnderTest {
  readonly server: AppUnderTest;
  /** What upstreams were asked for, in order. */
  readonly fetched: ExecutableId[] = [];
  answer: (id: ExecutableId) => FetchOutcome = () => 'absent';
  #runner: BackfillRunner;

  private constructor(server: AppUnderTest) {
    this.server = server;
    this.#runner = this.#newRunner();
  }

  static async start(): Promise<FleetUnderTest> {
    return new FleetUnderTest(await startApp());
  }

  /** Reports executables; returns their IDs. */
  async report(count: number, prefix = 'app'): Promise<ExecutableId[]> {
    const hex = (text: string, digits: number) =>
      createHash('sha1').update(text).digest('hex').slice(0, digits);
    const executables = Array.from({ length: count }, (_, n) => ({
      ...bash,
      ids: { gnu: hex(`${prefix}-${n}`, 40), htlhash: hex(`${prefix}-${n}`, 32) },
      name: `/srv/${prefix}-${n}`,
    }));
    for (let at = 0; at < count; at += 1_000)
      await this.server.post('/v1/executables', { agent, executables: executables.slice(at, at + 1_000) });
    return executables.map(({ ids }) => gnuId(ids.gnu));
  }

  /** Files came for them, of which no table was made. */
  async addFiles(ids: readonly ExecutableId[]): Promise<void> {
    const facts = { bytes: 1, kind: 'executable', quality: 'symtab', covered: 1, trust: 'ci' } as const;
    const sample = this.sample();
    for (const id of ids) {
      const digest = createHash('sha256').update(id).digest('hex');
      await this.server.deps.catalog.sources.add(id, { digest, ...facts }, sample);
    }
  }

  /** A worker does the jobs that are asked for; those in `failing` fail. Returns how many it did. */
  async work(failing: ReadonlySet<string> = new Set(), format = symbolTableVersion): Promise<number> {
    const { jobs } = this.server;
    const asked = [...jobs.asked.values()];
    jobs.asked.clear();
    for (const { id } of asked) await this.conclude(id, failing.has(id), format);
    return asked.length;
  }

  async conclude(id: ExecutableId, fails: boolean, format = symbolTableVersion): Promise<void> {
    const { sources, states } = this.server.deps.catalog;
    const set = await sources.read(id);
    if (set instanceof StoreUnavailable) throw set;
    const [from] = set.sources;
    const digest = createHash('sha256').update(`table of ${id}`).digest('hex');
    const summary: Omit<SymbolsSummary, 'state'> & { digest: string } = {
      ...{ digest, quality: 'symtab', functions: 1, ranges: 1, bytes: tableBytes, sources: ['symtab'] },
    };
    if (fails) await states.failed(id, set.version, 'malformed: no', this.sample());
    else await states.ready(id, summary, set.version, this.sample());
    const made = { digest, generation: 1, format, quality: 'symtab', from: [from!.digest], at: 1 } as const;
    await sources.change(
      id,
      (current, at) =>
        withAttempt(
          current,
          { version: current.version, format, at, ...(fails ? { failure } : {}) },
          fails ? undefined : made,
        ),
      this.sample(),
    );
  }

  /** A second of the worker that carries backfills out. */
  async tick(): Promise<void> {
    await this.server.clock.advance(1_000);
    await this.#runner.tick();
  }

  /** The worker is gone, and another goes on once the lease is over. */
  async replaceRunner(): Promise<void> {
    this.#runner = this.#newRunner();
    await this.server.clock.advance(10_000);
  }

  async begin(body: object, headers: Record<string, string> = {}): Promise<BackfillReply> {
    const reply = await this.server.post('/v1/admin/backfills', { source: 'stored', ...body }, headers);
    if (reply.status !== 202) throw new Error(`${reply.status}: ${await reply.text()}`);
    return messageOf(reply);
  }

  async show({ id }: { readonly id: string }): Promise<BackfillReply> {
    return messageOf(await this.server.get(`/v1/admin/backfills/${id}`));
  }

  async act({ id }: { readonly id: string }, action: string): Promise<BackfillReply> {
    const reply = await this.server.post(`/v1/admin/backfills/${id}/${action}`, {});
    if (reply.status !== 200) throw new Error(`${reply.status}: ${await reply.text()}`);
    return messageOf(reply);
  }

  sample(): EpochSample {
    const sample = this.server.deps.catalog.epoch.sample();
    if (sample instanceof StoreUnavailable) throw sample;
    return sample;
  }

  #newRunner(): BackfillRunner {
    const { store, clock, jobs, deps } = this.server;
    return new BackfillRunner({
      ...{ store, clock, jobs, catalog: deps.catalog, backfills: deps.backfills },
      lease: new Lease(store, 'backfills', 10_000),
      log: pino({ level: 'silent' }),
      fetcher: {
        fetchAnew: async ({ id }) => {
          this.fetched.push(id);
          return this.answer(id);
        },
      },
    });
  }
}
