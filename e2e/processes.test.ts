// The main job as processes: servers, agents and Redis, any of which may be killed, flushed or held at any time. What
// the hosts run is in the store afterwards, under each of its IDs, once.
import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../tools/test-redis.ts';
import {
  type Agent,
  clock,
  Fleet,
  type FoundRecord,
  listed,
  lookup,
  missing,
  numbers,
  outcomes,
  type Server,
  sum,
  until,
} from './fleet.ts';
import type { Executable } from './fleet-host.ts';

const serverCount = 2;
const agentCount = 3;
/** Executables that each host has for itself, and those that all have. */
const ownCount = 150;
const sharedCount = 50;
/** Executables that appear at once later on. */
const newCount = 20;
/** Three hosts that share a part of what they run. */
const hosts = Array.from({ length: agentCount }, (_, at) => [
  ...numbers(0, sharedCount),
  ...numbers(1_000 * (at + 1), ownCount),
]);

/** Uniform in [0, 1), the same for the same seed. */
function drawsOf(seed: string): () => number {
  let drawn = 0;
  return () => createHash('sha256').update(`${seed} ${drawn++}`).digest().readUInt32LE() / 2 ** 32;
}

async function startFleet(fleet: Fleet, redis: TestRedis, cycle: string): Promise<void> {
  for (let count = 0; count < serverCount; count++) await fleet.addServer(`redis+unix://${redis.socket}`);
  for (const host of hosts) await fleet.addAgent(host, cycle);
  await until('all is reported', () => fleet.settled());
  await until('both servers have all', () => fleet.whole());
}

/** Nothing was lost on the way, and the counts of the agent add up. */
async function expectNothingLost(agents: readonly Agent[]): Promise<void> {
  for (const agent of agents) {
    const metrics = await agent.metrics();
    const count = (name: string) => sum(metrics, `symkeep_agent_${name}`);
    expect(count('reports_dropped_total')).toBe(0);
    expect(count('executables_dropped_total')).toBe(0);
    expect(metrics.get('symkeep_agent_reports_total{status="refused"}')).toBe(0);
    expect(count('enqueued_total')).toBe(count('reports_total') + count('queue'));
  }
}

/** Each executable is one record, whose IDs are its own and no other's. */
async function expectEachOnce(fleet: Fleet, others: readonly Executable[] = []): Promise<void> {
  const expected = [...fleet.executables, ...others].map(({ ids }) => [...ids].sort()).sort();
  for (const server of fleet.servers) {
    const records = await listed(server.place);
    const found = records.map(({ ids: { gnu, htlhash, go } }) => [
      ...(gnu === undefined ? [] : [`gnu:${gnu}`]),
      ...htlhash.map((id) => `htlhash:${id}`),
      ...go.map((id) => `go:${id}`),
    ]);
    expect(found.map((ids) => ids.sort()).sort()).toEqual(expected);
  }
}

/** Reports all the time what nobody will report again, and insists until it is acknowledged. */
class Witness {
  readonly #servers: readonly Server[];
  readonly #told: Executable[] = [];
  readonly #reporting: Promise<void>;
  #ending = false;

  constructor(servers: readonly Server[]) {
    this.#servers = servers;
    this.#reporting = this.#report();
  }

  /** All that was acknowledged. */
  async end(): Promise<readonly Executable[]> {
    this.#ending = true;
    await this.#reporting;
    return this.#told;
  }

  async #report(): Promise<void> {
    for (let number = 0; !this.#ending; number++) {
      const digest = createHash('sha256').update(`told ${number}`).digest('hex');
      const ids = { gnu: digest.slice(0, 40), htlhash: digest.slice(32) };
      const server = this.#servers[number % this.#servers.length]!;
      await until('it is acknowledged', () => tell(server, { ids, name: `/opt/told/${number}` }));
      this.#told.push({ file: '', ids: [`gnu:${ids.gnu}`, `htlhash:${ids.htlhash}`] });
    }
  }
}

/** Whether the report of an executable was acknowledged. */
async function tell(server: Server, executable: object): Promise<true | string> {
  const message = { agent: { host: 'another', version: '1' }, executables: [executable] };
  const { status, body } = await server.ask('/v1/executables', message);
  if (status !== 200) return `status ${status}`;
  const { results } = JSON.parse(body) as { results: [{ status: string }] };
  return results[0].status !== 'error' || body;
}

describe.skipIf(!redisAvailable)('a fleet of which any process is killed at any time', () => {
  const kills = 50;
  const fleet = new Fleet();
  let redis: TestRedis;
  beforeAll(async () => {
    // With `everysec`, a slow disk may lose what was acknowledged just before; whose host still runs it reports it again.
    redis = await TestRedis.start({ appendOnly: true, settings: { appendfsync: 'always' } });
    await startFleet(fleet, redis, '1s');
  });
  afterAll(async () => {
    await fleet.remove();
    await redis?.remove();
  });

  it(`has every executable after ${kills} kills`, async () => {
    const seed = process.env.SYMKEEP_TEST_SEED ?? String(clock.wall());
    process.stdout.write(`kills: SYMKEEP_TEST_SEED=${seed}\n`);
    const draw = drawsOf(seed);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(draw() * items.length)]!;
    const killed = { redis: 0, server: 0, agent: 0 };
    const witness = new Witness(fleet.servers);
    for (let kill = 0; kill < kills; kill++) {
      const started = numbers(10_000 + 10 * kill, 4);
      for (const { host } of pick([fleet.agents, [pick(fleet.agents)]])) host.run(started);
      await clock.sleep(draw() * 600);
      const kind = pick(['redis', 'server', 'agent'] as const);
      killed[kind]++;
      if (kind === 'redis') {
        await redis.kill();
        await clock.sleep(draw() * 500);
        await redis.start();
      } else {
        const program = pick<Server | Agent>(kind === 'server' ? fleet.servers : fleet.agents);
        await program.end();
        await clock.sleep(draw() * 500);
        program.launch();
      }
    }
    expect(Math.min(killed.redis, killed.server, killed.agent)).toBeGreaterThan(0);
    const told = await witness.end();
    await until('the queues are empty', () => fleet.settled());
    await until('all is there', () => fleet.whole());
    for (const { place } of fleet.servers) expect(await missing(place, told)).toEqual([]);
    await expectNothingLost(fleet.agents);
    await expectEachOnce(fleet, told);
  });
});

describe.skipIf(!redisAvailable)('a fleet', () => {
  const fleet = new Fleet();
  let redis: TestRedis;
  let first: Server;
  let second: Server;
  beforeAll(async () => {
    redis = await TestRedis.start({ appendOnly: true });
    await startFleet(fleet, redis, '3s');
    [first, second] = fleet.servers as [Server, Server];
  });
  afterAll(async () => {
    await fleet.remove();
    await redis?.remove();
  });

  const cycles = () => Promise.all(fleet.agents.map((agent) => agent.metric('symkeep_agent_cycles_total')));
  const missed = () =>
    Promise.all(
      fleet.agents.map(async (agent) =>
        (await agent.metrics()).get('symkeep_agent_checks_total{result="missing"}'),
      ),
    );

  it('is whole within two cycles after FLUSHALL', async () => {
    const epoch = await first.epoch();
    const before = await cycles();
    await redis.cli('FLUSHALL');
    // Until a server has seen the loss, its cache hides it.
    for (const server of fleet.servers) {
      await until('the loss is seen', async () => (await server.epoch()) !== epoch || 'the old epoch');
    }
    await until('all is there again', () => fleet.whole());
    const after = await cycles();
    for (const [at, count] of after.entries()) expect(count - before[at]!).toBeLessThanOrEqual(2);
    await until('the queues are empty', () => fleet.settled());
    // They were asked and found missing, not believed to be there.
    for (const count of await missed()) expect(count).toBeGreaterThan(0);
    await expectEachOnce(fleet);
  });

  /** Whether each agent has failed to report since, and has what it could not report in its queue. */
  async function keptAfterFailures(failed: readonly number[]): Promise<true | string> {
    for (const [at, agent] of fleet.agents.entries()) {
      if ((await failuresOf(agent)) === failed[at]) return `agent ${at} has not tried`;
      const queued = await agent.metric('symkeep_agent_queue');
      if (queued < newCount) return `agent ${at} has ${queued} in its queue`;
    }
    return true;
  }

  it.each([
    ['held', 20_000],
    ['killed', 30_000],
  ] as const)('loses nothing while Redis is %s', async (how, from) => {
    // The second server, and the agent behind it, have read only some of what the first was told.
    const agent = fleet.agents[1]!;
    const ids = fleet.agents[0]!.host.run(numbers(from, newCount)).map((one) => one.ids[0]!);
    await until('all is reported', () => fleet.settled());
    // Once it has heard of these, what it reads of them stays in its cache.
    await rename(`/opt/${how}/program`, [second]);
    const [read, unread] = [ids.slice(0, 10), ids.slice(10)] as [string[], [string, string, string]];
    for (const program of [second, agent]) expect(await outcomes(program, read)).toEqual(read);
    const failed = await Promise.all(fleet.agents.map(failuresOf));

    if (how === 'held') redis.suspend();
    else await redis.kill();
    try {
      const started = fleet.agents.map(({ host }, at) => host.run(numbers(from + 100 * (at + 1), newCount)));
      for (const program of [second, agent]) {
        // What is cached goes on; what is not is unavailable, not unknown …
        expect(await outcomes(program, read)).toEqual(read);
        const mixed = await outcomes(program, [read[0]!, unread[0], unread[1]]);
        expect(mixed).toEqual([read[0], 'unavailable', 'unavailable']);
        const { status, headers } = await program.ask(`/v1/executables/${unread[2]}`);
        expect(status).toBe(503);
        expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
      }
      // … except what runs on the very host that is asked, as soon as it has been found.
      const own = agent.host.executables.at(-1)!.ids[0]!;
      await until('the agent knows its own', async () => {
        const [answer] = await outcomes(agent, [own]);
        return answer === own || answer!;
      });
      await until('each agent has tried, and keeps what it could not report', () =>
        keptAfterFailures(failed),
      );
      // What ends meanwhile is in the queue and nowhere else.
      for (const [at, { host }] of fleet.agents.entries()) host.end(started[at]!);
      await until('each agent has seen their end', async () => {
        for (const one of fleet.agents) {
          const found = await one.metric('symkeep_agent_executables');
          if (found !== one.host.live) return `${found} are live, not ${one.host.live}`;
        }
        return true;
      });
      const failedSince = await Promise.all(fleet.agents.map(failuresOf));
      await until('each agent has tried again', () => keptAfterFailures(failedSince));
    } finally {
      if (how === 'held') redis.resume();
      else await redis.start();
    }
    await until('the queues are empty', () => fleet.settled());
    await until('all is there', () => fleet.whole());
    await expectNothingLost(fleet.agents);
    await expectEachOnce(fleet);
  });

  /** Reports a further name of an executable at the first server, and waits until others tell it that had cached it. */
  async function rename(name: string, others: readonly (Server | Agent)[]): Promise<void> {
    const [id, hash] = fleet.agents[1]!.host.executables[sharedCount + 1]!.ids as [string, string];
    for (const program of others) expect(await outcomes(program, [id])).toEqual([id]);
    const ids = { gnu: id.replace('gnu:', ''), htlhash: hash.replace('htlhash:', '') };
    expect(await tell(first, { ids, name })).toBe(true);
    for (const { place } of others) {
      await until('the new name is told', async () => {
        const [record] = (await lookup(place, [id])) as [FoundRecord];
        return record.names.includes(name) || record.names.join(' ');
      });
    }
  }

  it('tells at every process what was reported at another, by its events', async () => {
    const [agent] = fleet.agents as [Agent];
    const epoch = await second.epoch();
    const cycle = await agent.metric('symkeep_agent_cycles_total');
    await rename('/opt/elsewhere/program', [second, agent]);
    expect((await agent.metric('symkeep_agent_cycles_total')) - cycle).toBeLessThanOrEqual(2);
    // Nothing else made them forget what they had cached.
    expect(await second.epoch()).toBe(epoch);
  });

  it('sends nothing again after an orderly restart of an agent', async () => {
    const [agent] = fleet.agents as [Agent];
    const { live } = agent.host;
    // An agent that takes longer than it may ends with 1.
    expect(await agent.end('SIGTERM')).toBe(0);
    await agent.start();
    const warm = await afterCycles(agent, 2);
    expect(warm.get('symkeep_agent_snapshots_total{outcome="restored"}')).toBe(1);
    expect(warm.get('symkeep_agent_executables')).toBe(live);
    for (const name of ['enqueued_total', 'reports_total', 'checks_total']) {
      expect([name, sum(warm, `symkeep_agent_${name}`)]).toEqual([name, 0]);
    }
    // Without its snapshot it has to say everything again, and the store learns nothing from it.
    expect(await agent.end('SIGTERM')).toBe(0);
    rmSync(join(agent.data, 'agent/snapshot'));
    await agent.start();
    await until('all is reported', () => agent.settled());
    const cold = await agent.metrics();
    expect(cold.get('symkeep_agent_reports_total{status="unchanged"}')).toBe(live);
    expect(sum(cold, 'symkeep_agent_reports_total')).toBe(live);
  });

  it('is served by a server of two processes, of which any may be killed', async () => {
    const pair = await fleet.addServer(`redis+unix://${redis.socket}`, ['--processes', '2']);
    // The processes that serve end with the one that started them, so that the address is free for the next.
    await pair.end();
    await until('nobody serves there', async () => {
      const { status } = await pair.ask('/healthz');
      return status === 0 || `status ${status}`;
    });
    pair.launch();
    await pair.ready();
    const agent = await fleet.addAgent(numbers(40_000, ownCount), '1s', pair);
    for (let kill = 0; kill < 3; kill++) {
      const before = workersOf(pair.pid);
      const victim = before[kill % 2]!;
      process.kill(victim, 'SIGKILL');
      agent.host.run(numbers(41_000 + 100 * kill, newCount));
      await until('another takes its place', async () => {
        const now = workersOf(pair.pid);
        return (now.length === 2 && !now.includes(victim)) || `${now} after ${before}`;
      });
    }
    await until('all is reported', () => fleet.settled());
    await until('all is there', () => fleet.whole());
    await expectNothingLost([agent]);
    await expectEachOnce(fleet);
    expect(await pair.end('SIGTERM')).toBe(0);
  });
});

function failuresOf(agent: Agent): Promise<number> {
  return agent.metric('symkeep_agent_report_failures_total');
}

/** The metrics of an agent once it has gone through so many cycles and looked at its host. */
async function afterCycles(agent: Agent, count: number): Promise<ReadonlyMap<string, number>> {
  await until(`${count} cycles have passed`, async () => {
    const metrics = await agent.metrics();
    const cycles = metrics.get('symkeep_agent_cycles_total') ?? 0;
    const scans = metrics.get('symkeep_agent_scans_total') ?? 0;
    return (cycles > count && scans > 0) || `${cycles} cycles, ${scans} passes`;
  });
  return agent.metrics();
}

/** Process IDs of the children of a process. */
function workersOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}
