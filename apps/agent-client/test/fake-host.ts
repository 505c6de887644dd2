// A host whose live files are what a test says, and an agent on it over a server in memory, on a clock moved by hand.
import { ManualClock } from '@symkeep/cache';
import type { ReportedExecutable } from '@symkeep/protocol';
import { type Agent, type AgentOptions, createAgent, type Scanner } from '../src/agent.ts';
import { noProblems } from '../src/discovery/live-file.ts';
import { silentLog } from '../src/log.ts';
import type { SnapshotPlace } from '../src/snapshot-file.ts';
import type { FileFinder } from '../src/uploading/file-finder.ts';
import { MemoryServer } from './memory-server.ts';

export class FakeHost implements Scanner {
  readonly #files = new Map<string, ReportedExecutable>();
  #seen = new Map<string, ReportedExecutable>();
  readonly remembered: string[] = [];
  scans = 0;

  run(executable: ReportedExecutable, identity = `file of ${executable.ids.htlhash}`): void {
    this.#files.set(identity, executable);
  }

  end(executable: ReportedExecutable, identity = `file of ${executable.ids.htlhash}`): void {
    this.#files.delete(identity);
  }

  async scan() {
    this.scans++;
    const asFile = ([identity, executable]: [string, ReportedExecutable]) => ({
      identity,
      executable,
      processes: 1,
    });
    const appeared = [...this.#files].filter(([identity]) => !this.#seen.has(identity)).map(asFile);
    const vanished = [...this.#seen].filter(([identity]) => !this.#files.has(identity)).map(asFile);
    this.#seen = new Map(this.#files);
    return { appeared, vanished, processes: 1, cpuMs: 0, problems: noProblems() };
  }

  remember({ identity }: { identity: string }): void {
    this.remembered.push(identity);
  }
}

export class MemorySnapshot implements SnapshotPlace {
  bytes: Uint8Array | undefined;
  async read() {
    return this.bytes;
  }
  async write(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

export interface Setup {
  readonly clock: ManualClock;
  readonly server: MemoryServer;
  readonly host: FakeHost;
  readonly agent: Agent;
}

/** `random` is 0.5 throughout: timers run at their nominal time. */
export function agentOn(
  options: Partial<AgentOptions> = {},
  parts: {
    clock?: ManualClock;
    server?: MemoryServer;
    host?: FakeHost;
    scanner?: Scanner;
    finder?: FileFinder;
    snapshots?: SnapshotPlace;
    random?: () => number;
  } = {},
): Setup {
  const {
    clock = new ManualClock(),
    server = new MemoryServer(),
    host = new FakeHost(),
    random = () => 0.5,
  } = parts;
  const agent = createAgent({
    ...{ clock, transport: server.transport, scanner: parts.scanner ?? host, random, log: silentLog },
    options: {
      ...{ host: 'test-host', version: '0.0.0', cycleMs: 60_000, scanIntervalMs: 30_000 },
      ...{ cacheExecutables: 64, cacheFrames: 256 },
      ...options,
    },
    ...(parts.snapshots === undefined ? {} : { snapshots: parts.snapshots }),
    ...(parts.finder === undefined ? {} : { finder: parts.finder }),
  });
  return { clock, server, host, agent };
}

/** Runs the agent from its start until its first reports are through. */
export async function started(setup: Setup): Promise<Setup> {
  const start = setup.agent.start();
  await setup.clock.advance(2_000);
  await start;
  return setup;
}
