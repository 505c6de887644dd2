// What can go wrong with a fleet's memory, each as a case that throws unless everything is whole again within two cycles.
import assert from 'node:assert/strict';
import { ManualClock, MemoryStore } from '@symkeep/cache';
import { type ExecutableId, FRAME_STATUS } from '@symkeep/protocol';
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
  seeded,
  snapshotInMemory,
  startServer,
  twoCyclesMs,
} from './world.ts';

type Case = (faults: StoreFaults) => Promise<void>;

async function whole(fleet: Fleet): Promise<void> {
  await fleet.clock.advance(twoCyclesMs);
  assert.deepEqual(await fleet.missing(), []);
  const numbers = Array.from({ length: 300 }, (_, index) => index * 4 + 2).filter((number) => number < 1_200);
  assert.deepEqual(await fleet.nameless(numbers), []);
}

async function started(faults: StoreFaults, options: FleetOptions = {}): Promise<Fleet> {
  const fleet = await new Fleet({ ...options, wrap: (store) => withFaults(store, faults) }).start(options);
  assert.deepEqual(await fleet.missing(), []);
  return fleet;
}

/** A fault of the store in the middle of work, and what must be true after it. */
function healed(fault: (fleet: Fleet) => Promise<void> | void): Case {
  return async (faults) => {
    const fleet = await started(faults);
    await fleet.clock.advance(20 * minute);
    await fault(fleet);
    await whole(fleet);
    await fleet.stop();
  };
}

async function deploy(fleet: Fleet, from: number, count: number): Promise<void> {
  for (let number = from; number < from + count; number++) fleet.hosts[number % 2]!.map(executable(number));
  await fleet.clock.advance(2 * minute);
}

/** Entries in use stay: what is asked for every minute is fetched once, however much else passes through the cache. */
const usedEntriesStay: Case = async (faults) => {
  const fleet = await started(faults);
  const small = newAgent({
    ...{
      clock: fleet.clock,
      host: new Host(),
      transport: fleet.transportOf(7),
      name: 'small',
      cacheExecutables: 256,
    },
  });
  await small.start();
  await fleet.clock.advance(minute);
  const hot = Array.from({ length: 100 }, (_, index) => idOf(executable(index * 4 + 1)));
  const random = seeded(3);
  const others = () => Array.from({ length: 50 }, () => idOf(executable(600 + Math.floor(random() * 600))));
  await small.catalog.lookup(hot);
  for (let passed = 0; passed < 3 * hour; passed += minute) {
    const before = small.catalog.metrics().records.loadedKeys;
    await small.catalog.lookup(hot);
    assert.equal(
      small.catalog.metrics().records.loadedKeys,
      before,
      `fetched again after ${passed / minute} min`,
    );
    await small.catalog.lookup(others());
    await fleet.clock.advance(minute);
  }
  assert.ok(small.catalog.metrics().records.size <= 256);
  await Promise.all([small.stop(), fleet.stop()]);
};

/** A failover loses the last three seconds of writes and keeps the epoch keys; others write on at once. */
const failover: Case = async (faults) => {
  const fleet = await started(faults);
  await fleet.clock.advance(20 * minute);
  const fresh = Array.from({ length: 60 }, (_, index) => executable(5_000 + index));
  fleet.hosts[0]!.map(...fresh);
  while ((await fleet.missing()).length > 0) await fleet.clock.advance(1_000);
  for (const node of [0, 1, 2]) fleet.store.failover(node, 3_000);
  // The logs grow past where they were before any agent looks: their numbers alone do not tell.
  const writer = await startServer(fleet.wrapped, fleet.clock);
  const sample = writer.catalog.epoch.sample();
  assert.ok('epoch' in sample);
  const strangers = Array.from({ length: 600 }, (_, index) => executable(9_000 + index));
  await writer.catalog.executables.report(strangers, sample);
  assert.notDeepEqual(await fleet.missing(), [], 'the failover lost nothing');
  await whole(fleet);
  await Promise.all([writer.catalog.stop(), fleet.stop()]);
};

const backup: Case = async (faults) => {
  const fleet = await started(faults);
  const image = fleet.store.snapshot();
  await deploy(fleet, 2_000, 40);
  // A second file with a known GNU ID: its own alias exists in no backup.
  const { gnu } = executable(2).ids;
  fleet.hosts[0]!.map(
    executable(2, { ids: { gnu: gnu!, htlhash: executable(2_999).ids.htlhash }, name: '/opt/copy' }),
  );
  await fleet.clock.advance(10 * hour);
  fleet.store.restore(image);
  await whole(fleet);
  await fleet.stop();
};

/** Away while more happens than the logs keep: what changed meanwhile is known on return, in the cache too. */
const pastTheTrim: Case = async (faults) => {
  const fleet = await started(faults, { eventsKept: 8 });
  const changed = idOf(executable(6));
  await fleet.reading.catalog.lookup([changed]);
  fleet.cut.add(2);
  await fleet.clock.advance(10 * minute);
  fleet.hosts[0]!.map(executable(6, { name: '/a' }));
  await deploy(fleet, 3_000, 1_500);
  fleet.cut.clear();
  await whole(fleet);
  const [record] = await fleet.reading.catalog.lookup([changed]);
  assert.ok(typeof record === 'object' && record.names.includes('/a'), 'the reader still has the old record');
  await fleet.stop();
};

const foreignSnapshot: Case = async (faults) => {
  const fleet = await started(faults);
  const host = new Host();
  const all = Array.from({ length: 300 }, (_, index) => executable(4_000 + index));
  host.map(...all);
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
  await fleet.clock.advance(5_000);
  host.forget();
  const second = newAgent(setup);
  await second.start();
  await whole(fleet);
  await Promise.all([second.stop(), fleet.stop()]);
};

/** The store behind one address is now this, now that one: both get everything, each of it once. */
const twoStores: Case = async (faults) => {
  const clock = new ManualClock();
  const stores = ['one', 'two'].map((name) => withFaults(new MemoryStore({ clock, name }), faults));
  const servers = [await startServer(stores[0]!, clock), await startServer(stores[1]!, clock)];
  const host = new Host();
  host.map(...Array.from({ length: 400 }, (_, index) => executable(index)));
  let turn = 0;
  const agent = newAgent({
    clock,
    host,
    name: 'torn',
    transport: (request) => servers[turn++ % 2]!.transport(request),
  });
  await agent.start();
  for (let cycle = 0; cycle < 12; cycle++) await clock.advance(minute);
  const fleet = new Fleet();
  fleet.hosts.splice(0, 2, host);
  for (const store of stores) assert.deepEqual(await fleet.missing(store), []);
  const { created, merged, unchanged, epochsBack } = agent.metrics().reporter;
  assert.ok(created + merged + unchanged <= 400 * 4, 'a storm of reports');
  assert.ok(epochsBack > 0, 'nobody is told that there are two stores');
  await Promise.all([agent.stop(), ...servers.map(({ catalog }) => catalog.stop()), clock.advance(10_000)]);
};

/** The wall clock jumps by two hours: what is newer stays newer, and caches follow. */
const wallClock: Case = async (faults) => {
  const fleet = await started(faults);
  for (const [step, skew] of [-2 * hour, 4 * hour, -4 * hour].entries()) {
    const id = idOf(executable(6));
    await fleet.reading.catalog.lookup([id]);
    fleet.clock.skewWall(skew);
    fleet.hosts[0]!.map(executable(6, { name: `/${'x'.repeat(4 - step)}` }));
    await whole(fleet);
    const [record] = await fleet.reading.catalog.lookup([id]);
    assert.ok(typeof record === 'object' && record.names.includes(`/${'x'.repeat(4 - step)}`));
  }
  await fleet.stop();
};

/** Two files with one GNU ID: each is known by its own hash, and nobody gets the other's name. */
const sharedId: Case = async (faults) => {
  const fleet = await started(faults);
  const { gnu } = executable(6).ids;
  const twins = [0x1000n, 0x2000n].map((size, index) =>
    executable(7_000 + index, {
      ids: { gnu: gnu!, htlhash: executable(7_000 + index).ids.htlhash },
      load: [[0n, size]],
    }),
  );
  fleet.hosts[0]!.map(twins[0]!);
  await fleet.clock.advance(twoCyclesMs);
  fleet.hosts[1]!.map(twins[1]!);
  await whole(fleet);
  const found = await fleet.reading.catalog.lookup([...twins.map(({ ids }) => ids.htlhash), gnu!]);
  const [one, two, shared] = found.map((outcome) => (typeof outcome === 'string' ? undefined : outcome));
  assert.equal(one?.id, twins[0]!.ids.htlhash);
  assert.equal(two?.id, twins[1]!.ids.htlhash);
  assert.equal(shared?.ambiguous, true);
  assert.ok(!one?.names.includes(twins[1]!.name) && !two?.names.includes(twins[0]!.name));
  await fleet.stop();
};

/** A load that was overtaken by a change must not put the old record into the cache after it. */
const overtakenLoad: Case = async (faults) => {
  const fleet = await started(faults);
  const id = idOf(executable(6));
  fleet.hosts[0]!.map(executable(6, { name: '/n' }));
  // This server's reads take two seconds; the change and its event come in between.
  const slow = await startServer(
    withFaults(fleet.store, { ...faults, readMs: 2_000, clock: fleet.clock }),
    fleet.clock,
  );
  const early = slow.catalog.executables.lookup([id]);
  await fleet.clock.advance(100);
  const sample = fleet.servers[0]!.catalog.epoch.sample();
  assert.ok('epoch' in sample);
  await fleet.servers[0]!.catalog.executables.report([executable(6, { name: '/m' })], sample);
  await fleet.clock.advance(10_000);
  await early;
  const late = slow.catalog.executables.lookup([id]);
  await fleet.clock.advance(10_000);
  const [record] = await late;
  assert.ok(
    typeof record === 'object' && record.record.names.includes('/m'),
    'the server keeps the old record',
  );
  await Promise.all([slow.catalog.stop(), fleet.stop()]);
};

/** What is asked for all the time while unknown is known soon after it is reported, even if its event is lost. */
const hotUnknown: Case = async (faults) => {
  const fleet = await started({ ...faults, mutesEvents: true });
  const id: ExecutableId = idOf(executable(8_000));
  let known = false;
  for (let second = 0; second < 20 * 60 && !known; second += 5) {
    if (second === 5 * 60) fleet.hosts[0]!.map(executable(8_000));
    const [outcome] = await fleet.reading.catalog.lookup([id]);
    known = typeof outcome === 'object';
    await fleet.clock.advance(5_000);
  }
  assert.ok(known, 'a hot unknown is never asked for again');
  await fleet.stop();
};

/** While the store is away, what is cached is served, and the rest is unavailable: never unknown. */
const outage: Case = async (faults) => {
  const fleet = await started(faults);
  const ids = Array.from({ length: 100 }, (_, index) => idOf(executable(index * 4 + 2)));
  await fleet.reading.catalog.lookup(ids.slice(0, 50));
  for (const node of [0, 1, 2]) fleet.store.down(node);
  fleet.hosts[0]!.map(executable(6_000));
  await fleet.clock.advance(30 * minute);
  const found = await fleet.reading.catalog.lookup(ids);
  assert.ok(found.slice(0, 50).every((outcome) => typeof outcome === 'object'));
  assert.ok(found.slice(50).every((outcome) => typeof outcome === 'object' || outcome === 'unavailable'));
  const stranger = idOf(executable(99_999));
  assert.deepEqual(await fleet.reading.catalog.lookup([stranger]), ['unavailable']);
  const [frames] = await fleet.reading.catalog.frames([{ id: stranger, addresses: [1n] }]);
  assert.equal(frames!.at[0]!.status, FRAME_STATUS.unavailable);
  for (const node of [0, 1, 2]) fleet.store.up(node);
  // Agents back off to five minutes while the store is away.
  await fleet.clock.advance(6 * minute);
  assert.deepEqual(await fleet.reading.catalog.lookup([stranger]), ['not_found']);
  await whole(fleet);
  await fleet.stop();
};

export const cases: Readonly<Record<string, Case>> = {
  'used entries stay': usedEntriesStay,
  'Redis restarted': healed((fleet) => [0, 1, 2].forEach((node) => void fleet.store.restart(node))),
  'Redis flushed': healed((fleet) => fleet.store.flush()),
  'one of three masters flushed': healed((fleet) =>
    fleet.store.flush(Array.from({ length: 21 }, (_, shard) => shard)),
  ),
  'a failover that loses 3 s of writes': failover,
  'a backup of ten hours ago restored': backup,
  'an agent away past the trim': pastTheTrim,
  'a snapshot from another epoch': foreignSnapshot,
  'two stores behind one address': twoStores,
  'wall clocks off by two hours': wallClock,
  'two files with one GNU ID': sharedId,
  'a load overtaken by a change': overtakenLoad,
  'a hot unknown without its event': hotUnknown,
  'the store is away': outage,
};
