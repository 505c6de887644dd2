// A small fleet in one process on a manual clock: the real store contract, the real server, the real agents, joined by
// function calls instead of sockets. Days pass in seconds.
import { createHash } from 'node:crypto';
import { type Clock, ManualClock, MemoryStore, type Store } from '@symkeep/cache';
import {
  type ExecutableId,
  type ExecutableRecord,
  gnuId,
  htlhashId,
  idKeyOf,
  type ReportedExecutable,
} from '@symkeep/protocol';
import {
  type Agent,
  createAgent,
  type LiveFile,
  noProblems,
  type Pass,
  type Scanner,
  type SnapshotPlace,
  silentLog,
  type Transport,
} from '../../apps/agent-client/src/index.ts';
import { createApp } from '../../apps/symbol-server/src/app.ts';
import { type Catalog, createCatalog, StoredRecord } from '../../apps/symbol-server/src/catalog/index.ts';
import { appDepsOn } from '../../apps/symbol-server/test/app-under-test.ts';

export const minute = 60_000;
export const hour = 60 * minute;
export const cycleMs = minute;
/** Two cycles at their longest: timers vary by a fifth. */
export const twoCyclesMs = 2 * cycleMs * 1.2;

/** mulberry32: the same numbers each run. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every fifth executable has no GNU build ID, as Go programs of old. */
export function executable(number: number, over: Partial<ReportedExecutable> = {}): ReportedExecutable {
  const digest = createHash('sha256').update(`executable ${number}`).digest('hex');
  const htlhash = htlhashId(digest.slice(0, 32));
  const ids = number % 5 === 0 ? { htlhash } : { htlhash, gnu: gnuId(digest.slice(24, 64)) };
  return { ids, name: `/opt/app/bin-${number}`, arch: 'x86_64', type: 'dyn', size: 4_096, load: [], ...over };
}

export function idOf({ ids }: ReportedExecutable): ExecutableId {
  return ids.gnu ?? ids.htlhash;
}

/** The host's processes, as a list that a test changes. */
export class Host implements Scanner {
  #live = new Map<string, LiveFile>();
  #appeared: LiveFile[] = [];
  #vanished: LiveFile[] = [];

  map(...executables: readonly ReportedExecutable[]): void {
    for (const executable of executables) {
      const identity = `${executable.ids.htlhash} ${executable.name}`;
      const file = { identity, executable, processes: 1 };
      this.#live.set(identity, file);
      this.#appeared.push(file);
    }
  }

  unmap({ ids, name }: ReportedExecutable): void {
    const file = this.#live.get(`${ids.htlhash} ${name}`)!;
    this.#live.delete(file.identity);
    this.#vanished.push(file);
  }

  get executables(): ReportedExecutable[] {
    return [...this.#live.values()].map(({ executable }) => executable);
  }

  /** The next pass finds everything, as the first one of a new process does. */
  forget(): void {
    this.#appeared = [...this.#live.values()];
  }

  /** What was read before need not be read again, but it is found all the same. */
  remember(): void {}

  async scan(): Promise<Pass> {
    const pass = { appeared: this.#appeared, vanished: this.#vanished, processes: this.#live.size, cpuMs: 0 };
    this.#appeared = [];
    this.#vanished = [];
    return { ...pass, problems: noProblems() };
  }
}

/** The same time under a wall clock that is set wrong, as on a host without NTP. */
export function withSkew(clock: Clock, skewMs: number): Clock {
  return {
    get tick() {
      return clock.tick;
    },
    tickMs: clock.tickMs,
    now: () => clock.now(),
    wall: () => clock.wall() + skewMs,
    ticksFor: (ms) => clock.ticksFor(ms),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    setTimer: (ms, run) => clock.setTimer(ms, run),
    setRepeating: (ms, run) => clock.setRepeating(ms, run),
  };
}

export interface Server {
  readonly catalog: Catalog;
  readonly transport: Transport;
  readonly requests: Record<string, number>;
}

/** Holds the records of about 20,000 executables, and no more than that. */
export const serverCacheBytes = 8 * 2 ** 20;

export async function startServer(store: Store, clock: Clock, epochEveryMs = 1_000): Promise<Server> {
  const catalog = createCatalog({ store, clock, cacheBytes: serverCacheBytes, epochEveryMs });
  await catalog.start();
  const app = createApp(appDepsOn({ store, clock, catalog }));
  const requests: Record<string, number> = {};
  const transport: Transport = async ({ method, path, headers, body }) => {
    const route = `${method} ${path.split('?')[0]}`;
    requests[route] = (requests[route] ?? 0) + 1;
    const init = { method, headers, ...(body === undefined ? {} : { body: Buffer.from(body) }) };
    const reply = await app.request(path, init);
    const replyBody = new Uint8Array(await reply.arrayBuffer());
    return { status: reply.status, headers: Object.fromEntries(reply.headers), body: replyBody };
  };
  return { catalog, transport, requests };
}

export interface AgentSetup {
  readonly clock: Clock;
  readonly host: Host;
  readonly transport: Transport;
  readonly name: string;
  readonly cacheExecutables?: number;
  readonly cacheIdleMs?: number;
  readonly scanIntervalMs?: number;
  readonly snapshots?: SnapshotPlace;
}

export function newAgent(setup: AgentSetup): Agent {
  const {
    clock,
    host,
    transport,
    name,
    cacheExecutables = 4_096,
    cacheIdleMs,
    scanIntervalMs = 30_000,
    snapshots,
  } = setup;
  const [seed = 0] = idKeyOf(gnuId(createHash('sha1').update(name).digest('hex'))).subarray(4);
  return createAgent({
    ...{ clock, transport, scanner: host, random: seeded(seed), log: silentLog },
    options: {
      host: name,
      version: '0',
      cycleMs,
      scanIntervalMs,
      cacheExecutables,
      cacheFrames: 4_096,
      cacheIdleMs,
      compress: false,
    },
    ...(snapshots === undefined ? {} : { snapshots }),
  });
}

/** A snapshot file in memory. */
export function snapshotInMemory(): SnapshotPlace {
  let kept: Uint8Array | undefined;
  return {
    read: async () => kept,
    write: async (bytes) => {
      kept = bytes.slice();
    },
  };
}

export interface FleetOptions {
  readonly executables?: number;
  readonly nodes?: number;
  readonly eventsKept?: number;
  /** How far the wall clocks of servers and agents are off, in milliseconds. */
  readonly serverSkews?: readonly number[];
  readonly agentSkews?: readonly number[];
  /** What stands between the servers and the store: a mutation, or a delay. */
  readonly wrap?: (store: MemoryStore, clock: ManualClock) => Store;
}

/** Two hosts that share most executables, two servers, one store of three nodes, and a reader that runs nothing. */
export class Fleet {
  readonly clock = new ManualClock();
  readonly store: MemoryStore;
  readonly hosts = [new Host(), new Host()];
  readonly reader = new Host();
  readonly servers: Server[] = [];
  readonly agents: Agent[] = [];
  readonly wrapped: Store;
  cut = new Set<number>();

  constructor({ nodes = 3, eventsKept = 4_096, wrap = (store) => store }: FleetOptions = {}) {
    this.store = new MemoryStore({ clock: this.clock, nodes, eventsKept });
    this.wrapped = wrap(this.store, this.clock);
  }

  async start({ executables = 1_200, serverSkews = [], agentSkews = [] }: FleetOptions = {}): Promise<this> {
    for (let index = 0; index < 2; index++) {
      this.servers.push(await startServer(this.wrapped, withSkew(this.clock, serverSkews[index] ?? 0)));
    }
    for (let number = 0; number < executables; number++) {
      if (number % 4 !== 0) this.hosts[0]!.map(executable(number));
      if (number % 4 !== 1) this.hosts[1]!.map(executable(number));
    }
    for (const [index, host] of [...this.hosts, this.reader].entries()) {
      const clock = withSkew(this.clock, agentSkews[index] ?? 0);
      this.agents.push(newAgent({ clock, host, name: `host-${index}`, transport: this.transportOf(index) }));
    }
    for (const agent of this.agents) await agent.start();
    await this.clock.advance(10_000);
    return this;
  }

  /** Agents meet the servers in turn, and none while they are cut off. */
  transportOf(index: number): Transport {
    let turn = index;
    return async (request, signal) => {
      if (this.cut.has(index)) throw new Error('no route to the server');
      return this.servers[turn++ % this.servers.length]!.transport(request, signal);
    };
  }

  get reading(): Agent {
    return this.agents[2]!;
  }

  /** What runs anywhere, each once. */
  live(): ReportedExecutable[] {
    const all = this.hosts.flatMap((host) => host.executables);
    return [
      ...new Map(
        all.map((executable) => [`${executable.ids.htlhash} ${executable.name}`, executable]),
      ).values(),
    ];
  }

  /** Live executables that the store does not give by each of their IDs, with name: read past every cache. */
  async missing(store: Store = this.wrapped): Promise<string[]> {
    const fresh = createCatalog({ store, clock: this.clock, cacheBytes: serverCacheBytes });
    await fresh.epoch.check();
    const missing: string[] = [];
    for (const { ids, name } of this.live()) {
      const wanted = [ids.gnu, ids.htlhash, ids.go].filter((id) => id !== undefined);
      const found = await fresh.executables.lookup(wanted);
      const named = (record: ExecutableRecord) => record.ambiguous || record.names.includes(name);
      for (const [index, outcome] of found.entries()) {
        if (!(outcome instanceof StoredRecord && named(outcome.record)))
          missing.push(`${wanted[index]} of ${name}`);
      }
    }
    return missing;
  }

  /** IDs that the reader cannot name, through its own cache and the servers'. */
  async nameless(numbers: readonly number[]): Promise<string[]> {
    const ids = numbers.map((number) => idOf(executable(number)));
    const found = await this.reading.catalog.lookup(ids);
    return ids.filter((_, index) => {
      const outcome = found[index]!;
      return typeof outcome === 'string' || outcome.fileName === '' || outcome.id === undefined;
    });
  }

  async stop(): Promise<void> {
    const stopped = Promise.all([
      ...this.agents.map((agent) => agent.stop()),
      ...this.servers.map(({ catalog }) => catalog.stop()),
    ]);
    await this.clock.advance(10_000);
    await stopped;
  }
}
