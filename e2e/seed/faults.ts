// What can happen to a store, an agent or a clock, each as a case that throws unless everything is whole again within two
// cycles, and that says how soon it was.
import assert from 'node:assert/strict';
import { type ManualClock, MemoryStore } from '@symkeep/cache';
import type { ExecutableId, ReportedExecutable } from '@symkeep/protocol';
import { type StoreFaults, withFaults } from './store-faults.ts';
import {
  executable,
  Fleet,
  type FleetOptions,
  Host,
  hour,
  idOf,
  minute,
  newAgent,
  snapshotInMemory,
  startServer,
  twoCyclesMs,
} from './world.ts';

/** What a fault broke, and how soon all was whole again. */
export interface Healing {
  /** IDs that the store did not give, or not as they are, right after the fault. */
  readonly broken: number;
  /** Until none were left. */
  readonly wholeMs: number;
}

export type FaultCase = (faults: StoreFaults) => Promise<Healing>;

/** How finely it is measured when all is whole. */
const stepMs = 1_000;

export async function startFleet(faults: StoreFaults, options: FleetOptions = {}): Promise<Fleet> {
  const fleet = await new Fleet({ ...options, wrap: (store) => withFaults(store, faults) }).start(options);
  assert.deepEqual(await fleet.missing(), []);
  return fleet;
}

/** Waits until nothing is broken, two cycles at most, and then for the rest of them: it must last. */
async function heal(clock: ManualClock, countBroken: () => Promise<number>): Promise<Healing> {
  const broken = await countBroken();
  let wholeMs = 0;
  for (let left = broken; left > 0; left = await countBroken()) {
    assert.ok(wholeMs < twoCyclesMs, `${left} of ${broken} are not whole after two cycles`);
    await clock.advance(stepMs);
    wholeMs += stepMs;
  }
  await clock.advance(twoCyclesMs - wholeMs);
  assert.equal(await countBroken(), 0, 'whole, and broken again');
  return { broken, wholeMs };
}

/** The store has every live executable under each of its IDs, and a reader that runs none of them gets their names. */
async function healFleet(
  fleet: Fleet,
  countBroken: () => Promise<number> = async () => (await fleet.missing()).length,
): Promise<Healing> {
  const healing = await heal(fleet.clock, countBroken);
  assert.deepEqual(await fleet.missing(), []);
  assert.deepEqual(await fleet.nameless(Array.from({ length: 300 }, (_, index) => index * 4 + 2)), []);
  return healing;
}

/** A fault that takes something in the midst of work. */
function loss(strike: (fleet: Fleet) => Promise<void> | void): FaultCase {
  return async (faults) => {
    const fleet = await startFleet(faults);
    await fleet.clock.advance(20 * minute);
    await strike(fleet);
    const healing = await healFleet(fleet);
    await fleet.stop();
    assert.ok(healing.broken > 0, 'the fault took nothing');
    return healing;
  };
}

async function deploy(fleet: Fleet, from: number, count: number): Promise<void> {
  for (let number = from; number < from + count; number++) fleet.hosts[number % 2]!.map(executable(number));
  await fleet.clock.advance(2 * minute);
}

/** 60 executables start, and the moment the store has the last of them is the moment of the fault. */
async function reportFresh(fleet: Fleet): Promise<void> {
  fleet.hosts[0]!.map(...Array.from({ length: 60 }, (_, index) => executable(5_000 + index)));
  while ((await fleet.missing()).length > 0) await fleet.clock.advance(stepMs);
}

/** Its processes find their data again, all of it, and nothing has to be sent. */
const restart: FaultCase = async (faults) => {
  const fleet = await startFleet(faults);
  await fleet.clock.advance(20 * minute);
  const sent = () => fleet.agents.reduce((sum, agent) => sum + agent.metrics().reporter.enqueued, 0);
  const before = sent();
  const { epoch } = fleet.agents[0]!;
  for (const node of [0, 1, 2]) fleet.store.restart(node);
  const healing = await healFleet(fleet);
  assert.notEqual(fleet.agents[0]!.epoch, epoch, 'nobody has noticed');
  assert.equal(sent(), before);
  await fleet.stop();
  return healing;
};

/** Killed with a second of its log not on disk yet, which is what `appendfsync everysec` allows. */
const kill = loss(async (fleet) => {
  await reportFresh(fleet);
  for (const node of [0, 1, 2]) {
    fleet.store.failover(node, 1_000);
    fleet.store.restart(node);
  }
});

/** The last three seconds of writes are lost, the epoch keys stay; others write on at once. */
const failover = loss(async (fleet) => {
  await reportFresh(fleet);
  for (const node of [0, 1, 2]) fleet.store.failover(node, 3_000);
  // The logs grow past where they were before any agent looks: their numbers alone do not tell.
  const writer = await startServer(fleet.wrapped, fleet.clock);
  const sample = writer.catalog.epoch.sample();
  assert.ok('epoch' in sample);
  const strangers = Array.from({ length: 600 }, (_, index) => executable(9_000 + index));
  await writer.catalog.executables.report(strangers, sample);
  await writer.catalog.stop();
});

const oneMasterFlushed = loss(async (fleet) => {
  const nodes = await fleet.store.nodes();
  assert.ok(Array.isArray(nodes) && nodes.length === 3);
  fleet.store.flush(nodes[0]!.shards);
});

const backup = loss(async (fleet) => {
  const image = fleet.store.snapshot();
  await deploy(fleet, 2_000, 40);
  // A second file with a known GNU ID: its own alias exists in no backup.
  const gnu = executable(2).ids.gnu!;
  const { htlhash } = executable(2_999).ids;
  fleet.hosts[0]!.map(executable(2, { ids: { gnu, htlhash }, name: '/opt/copy' }));
  await fleet.clock.advance(10 * hour);
  fleet.store.restore(image);
});

/** Away while more happens than the logs keep: what changed meanwhile is known on return, in the cache too. */
const pastTheTrim: FaultCase = async (faults) => {
  const fleet = await startFleet(faults, { eventsKept: 8 });
  const changed = Array.from({ length: 50 }, (_, index) => index * 4 + 2);
  const cached = () => fleet.reading.catalog.lookup(changed.map((number) => idOf(executable(number))));
  await cached();
  fleet.cut.add(2);
  await fleet.clock.advance(10 * minute);
  fleet.hosts[0]!.map(...changed.map((number) => executable(number, { name: `/a/${number}` })));
  await deploy(fleet, 3_000, 1_500);
  fleet.cut.clear();
  const healing = await healFleet(fleet, async () => {
    const records = await cached();
    return changed.filter((number, index) => {
      const record = records[index]!;
      return typeof record === 'string' || !record.names.includes(`/a/${number}`);
    }).length;
  });
  await fleet.stop();
  assert.equal(healing.broken, changed.length, 'the reader knew before it was told');
  return healing;
};

/** An agent ends, the store loses everything, and the agent starts again with what it remembers. */
const foreignSnapshot: FaultCase = async (faults) => {
  const fleet = await startFleet(faults);
  const host = new Host();
  host.map(...Array.from({ length: 300 }, (_, index) => executable(4_000 + index)));
  fleet.hosts.push(host);
  const setup = {
    clock: fleet.clock,
    host,
    transport: fleet.transportOf(3),
    name: 'restarted',
    snapshots: snapshotInMemory(),
  };
  const first = newAgent(setup);
  await first.start();
  await fleet.clock.advance(twoCyclesMs);
  const stopping = first.stop();
  await fleet.clock.advance(5_000);
  await stopping;
  fleet.store.flush();
  await fleet.clock.advance(twoCyclesMs);
  host.forget();
  const second = newAgent(setup);
  await second.start();
  const healing = await healFleet(fleet);
  await Promise.all([second.stop(), fleet.stop()]);
  assert.ok(healing.broken >= 300, 'the store had what only the snapshot knew of');
  return healing;
};

/** A second, empty store answers behind the same address, by turns: both get everything, each of it once. */
const twoStores: FaultCase = async (faults) => {
  const fleet = new Fleet();
  const { clock } = fleet;
  const stores = ['one', 'two'].map((name) => withFaults(new MemoryStore({ clock, name }), faults));
  const servers = [await startServer(stores[0]!, clock), await startServer(stores[1]!, clock)];
  const host = new Host();
  host.map(...Array.from({ length: 400 }, (_, index) => executable(index)));
  fleet.hosts.splice(0, 2, host);
  let answering = 1;
  let turn = 0;
  const agent = newAgent({
    ...{ clock, host, name: 'torn' },
    transport: (request) => servers[turn++ % answering]!.transport(request),
  });
  await agent.start();
  await clock.advance(20 * minute);
  answering = 2;
  // The next request is the first to meet the second store.
  turn = 1;
  const missingIn = async (store: (typeof stores)[number]) => (await fleet.missing(store)).length;
  const healing = await heal(
    clock,
    async () => (await missingIn(stores[0]!)) + (await missingIn(stores[1]!)),
  );
  for (let cycle = 0; cycle < 12; cycle++) await clock.advance(minute);
  const { created, merged, unchanged, epochsBack } = agent.metrics().reporter;
  assert.ok(created + merged + unchanged <= 400 * 4, 'a storm of reports');
  assert.ok(epochsBack > 0, 'nobody is told that there are two stores');
  await Promise.all([agent.stop(), ...servers.map(({ catalog }) => catalog.stop()), clock.advance(10_000)]);
  return healing;
};

/** Servers and agents are up to four hours apart, and the store's clock jumps by as much: what is newer stays newer. */
const wallClocks: FaultCase = async (faults) => {
  const skews = [-2 * hour, 2 * hour];
  const fleet = await startFleet(faults, { serverSkews: skews, agentSkews: [...skews.toReversed(), 0] });
  const id: ExecutableId = idOf(executable(6));
  const healings: Healing[] = [];
  for (const [step, skew] of [-2 * hour, 4 * hour, -4 * hour].entries()) {
    // Each better than the one before: it takes the first place.
    const name = `/${'x'.repeat(4 - step)}`;
    await fleet.reading.catalog.lookup([id]);
    fleet.clock.skewWall(skew);
    fleet.hosts[0]!.map(executable(6, { name }));
    healings.push(
      await healFleet(fleet, async () => {
        const [record] = await fleet.reading.catalog.lookup([id]);
        return typeof record === 'object' && record.names[0] === name ? 0 : 1;
      }),
    );
  }
  await fleet.stop();
  return { broken: healings.length, wholeMs: Math.max(...healings.map(({ wholeMs }) => wholeMs)) };
};

/** Two files with one GNU ID: each is known by its own hash, and nobody gets the other's name. */
const sharedId: FaultCase = async (faults) => {
  const fleet = await startFleet(faults);
  const gnu = executable(6).ids.gnu!;
  const [one, two] = [0x1000n, 0x2000n].map((size, index) => {
    const { htlhash } = executable(7_000 + index).ids;
    return executable(7_000 + index, { ids: { gnu, htlhash }, load: [[0n, size]] });
  }) as [ReportedExecutable, ReportedExecutable];
  fleet.hosts[0]!.map(one);
  await fleet.clock.advance(twoCyclesMs);
  fleet.hosts[1]!.map(two);
  const healing = await healFleet(fleet, async () => {
    const asked = [one.ids.htlhash, two.ids.htlhash, gnu];
    const found = await fleet.reading.catalog.lookup(asked);
    return found.filter((record, index) => {
      if (typeof record === 'string') return true;
      if (asked[index] === gnu) return !record.ambiguous;
      const [own, other] = index === 0 ? [one, two] : [two, one];
      const { id, names } = record;
      return id !== asked[index] || !names.includes(own.name) || names.includes(other.name);
    }).length;
  });
  await fleet.stop();
  return healing;
};

/** By the names of docs/seed-cases.md. */
export const faultCases: Readonly<Record<string, FaultCase>> = {
  'Redis restarted': restart,
  'Redis killed, a second of writes lost': kill,
  'Redis flushed': loss((fleet) => fleet.store.flush()),
  'a failover that loses 3 s of writes': failover,
  'one of three masters flushed': oneMasterFlushed,
  'a backup of ten hours ago restored': backup,
  'an agent away past the trim': pastTheTrim,
  'a snapshot from another epoch': foreignSnapshot,
  'two stores behind one address': twoStores,
  'wall clocks off by two hours': wallClocks,
  'two files with one GNU ID': sharedId,
};
