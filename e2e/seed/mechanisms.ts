// What each mechanism of a fleet's memory is for, as a case that throws where it is not there.
import assert from 'node:assert/strict';
import { type ExecutableId, FRAME_STATUS } from '@symkeep/protocol';
import { startFleet } from './faults.ts';
import { type StoreFaults, withFaults } from './store-faults.ts';
import { executable, Host, hour, idOf, minute, newAgent, seeded, startServer } from './world.ts';

export type MechanismCase = (faults: StoreFaults) => Promise<void>;

/** What is asked for every minute is fetched once, however small the cache and however short its idle lifetime. */
const usedEntriesStay: MechanismCase = async (faults) => {
  const fleet = await startFleet(faults);
  const { clock } = fleet;
  const transport = fleet.transportOf(7);
  const small = newAgent({
    ...{ clock, transport, host: new Host(), name: 'small' },
    ...{ cacheExecutables: 256, cacheIdleMs: 10 * minute },
  });
  await small.start();
  await clock.advance(minute);
  const hot = Array.from({ length: 100 }, (_, index) => idOf(executable(index * 4 + 1)));
  const random = seeded(3);
  const others = () => Array.from({ length: 50 }, () => idOf(executable(600 + Math.floor(random() * 600))));
  const loaded = () => small.catalog.metrics().records.loadedKeys;
  await small.catalog.lookup(hot);
  for (let passed = 0; passed < 3 * hour; passed += minute) {
    const before = loaded();
    await small.catalog.lookup(hot);
    assert.equal(loaded(), before, `fetched again after ${passed / minute} min`);
    await small.catalog.lookup(others());
    await clock.advance(minute);
  }
  assert.ok(small.catalog.metrics().records.size <= 256);
  await Promise.all([small.stop(), fleet.stop()]);
};

/** A load that was overtaken by a change must not put the old record into the cache after it. */
const overtakenLoad: MechanismCase = async (faults) => {
  const fleet = await startFleet(faults);
  const id = idOf(executable(6));
  fleet.hosts[0]!.map(executable(6, { name: '/n' }));
  // This server's reads take two seconds; the change and its event come in between.
  const starting = startServer(
    withFaults(fleet.store, { ...faults, readMs: 2_000, clock: fleet.clock }),
    fleet.clock,
  );
  await fleet.clock.advance(10_000);
  const slow = await starting;
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
const hotUnknown: MechanismCase = async (faults) => {
  const fleet = await startFleet({ ...faults, mutesEvents: true });
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
const outage: MechanismCase = async (faults) => {
  const fleet = await startFleet(faults);
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
  assert.deepEqual(await fleet.missing(), []);
  await fleet.stop();
};

export const mechanismCases: Readonly<Record<string, MechanismCase>> = {
  'used entries stay': usedEntriesStay,
  'a load overtaken by a change': overtakenLoad,
  'a hot unknown without its event': hotUnknown,
  'the store is away': outage,
};
