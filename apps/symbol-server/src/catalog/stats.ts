// How many executables there are and how well they are symbolized: a pass over all records, made at most every few seconds
// whoever asks, and by one at a time.
import { type Clock, SingleFlight, type Store, StoreUnavailable, shardCount } from '@symkeep/cache';
import {
  type ExecutableId,
  type Quality,
  qualities,
  type SymbolState,
  symbolStates,
} from '@symkeep/protocol';
import type { Executables } from './executables.ts';
import { StoredRecord } from './stored-record.ts';

const chunk = 200;
/** A pass over 100,000 executables takes seconds of a server; its answer may be as old as this. */
const freshMs = 10_000;

export interface Stats {
  readonly executables: number;
  readonly ambiguous: number;
  readonly states: Readonly<Record<SymbolState, number>>;
  readonly qualities: Readonly<Record<Quality, number>>;
  /** Of all symbol tables: functions, ranges and bytes. */
  readonly functions: number;
  readonly ranges: number;
  readonly bytes: number;
}

export class FleetStats {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #executables: Executables;
  readonly #passes = new SingleFlight<'stats', Stats>();
  #last: { readonly stats: Stats; readonly at: number } | undefined;

  constructor(store: Store, clock: Clock, executables: Executables) {
    this.#store = store;
    this.#clock = clock;
    this.#executables = executables;
  }

  /** Throws the outage: counts without some shards would look complete. */
  async read(): Promise<Stats> {
    const last = this.#last;
    if (last !== undefined && this.#clock.now() - last.at < freshMs) return last.stats;
    return this.#passes.run('stats', async () => {
      const stats = await this.#pass();
      this.#last = { stats, at: this.#clock.now() };
      return stats;
    });
  }

  async #pass(): Promise<Stats> {
    const total = { executables: 0, ambiguous: 0, functions: 0, ranges: 0, bytes: 0 };
    const states = zeros(symbolStates);
    const byQuality = zeros(qualities);
    for (let shard = 0; shard < shardCount; shard++) {
      for await (const { record } of this.#recordsOf(shard)) {
        const { state, quality, functions, ranges, bytes } = record.symbols;
        total.executables++;
        if (record.ambiguous) total.ambiguous++;
        states[state]++;
        byQuality[quality]++;
        total.functions += functions;
        total.ranges += ranges;
        total.bytes += bytes;
      }
    }
    return { ...total, states, qualities: byQuality };
  }

  async *#recordsOf(shard: number): AsyncGenerator<StoredRecord> {
    for (let after = ''; ; ) {
      const members = await this.#store.scanIndex(shard, after, chunk);
      if (members instanceof StoreUnavailable) throw members;
      if (members.length === 0) return;
      after = members.at(-1)!;
      const ids = members.map((member) => member.slice(member.lastIndexOf('\0') + 1) as ExecutableId);
      for (const outcome of await this.#executables.lookup(ids)) {
        if (outcome === 'unavailable')
          throw new StoreUnavailable('unreachable', 'a record could not be read');
        if (outcome instanceof StoredRecord) yield outcome;
      }
    }
  }
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}
