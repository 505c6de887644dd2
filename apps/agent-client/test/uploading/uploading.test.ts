// Files that the server asks an agent for, through the agent's front door: sent when asked, never else, slowly, one at a
// time, and given back when they are not sent.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { ManualClock } from '@symkeep/cache';
import { gnuId, type UploadRequest } from '@symkeep/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentOptions } from '../../src/agent.ts';
import { ProcessScanner } from '../../src/discovery/process-scanner.ts';
import { HostFileFinder } from '../../src/uploading/file-finder.ts';
import { FakeProc, fixture } from '../discovery/fake-proc.ts';
import { agentOn, type Setup, started } from '../fake-host.ts';
import { MemoryServer } from '../memory-server.ts';

const id = gnuId('8c9e72df13abdc3cb3ab325156716669a66bdd51');
const plain = readFileSync(fixture('debug-plain'));
const check = '/v1/executables/check';

let proc: FakeProc;
let server: MemoryServer;
let setup: Setup;

beforeEach(() => {
  proc = new FakeProc();
  server = new MemoryServer();
});
afterEach(async () => {
  await setup.agent.stop();
  proc.remove();
});

function run(name = 'debug-plain'): void {
  proc.run(1, [{ file: proc.install(name, 'srv/program') }]);
}

async function start(
  options: Partial<AgentOptions> = {},
  upload: 'asked' | 'never' = 'asked',
): Promise<void> {
  const { files, sys } = proc;
  const scanner = new ProcessScanner({ files, proc: proc.proc, sys });
  const finder = upload === 'asked' ? { finder: new HostFileFinder(files, proc.proc) } : {};
  setup = await started(agentOn(options, { clock: new ManualClock(), server, scanner, ...finder }));
}

function asking(lease: string, more: Partial<UploadRequest> = {}): UploadRequest {
  return { id, lease, url: `/v1/executables/${id}/debuginfo`, ...more };
}

/** Lets time pass until something holds. */
async function until(holds: () => boolean, stepMs = 100): Promise<void> {
  for (let step = 0; step < 5_000 && !holds(); step++) await setup.clock.advance(stepMs);
  expect(holds()).toBe(true);
}

const uploads = () => setup.agent.metrics().uploads!;

describe('a file that is asked for', () => {
  it('in the reply to a report is sent, with its digest and its lease', async () => {
    run();
    server.asks.set(id, asking('7-lease'));
    await start();
    await until(() => server.uploads.length === 1);
    const [{ path, headers, bytes }] = server.uploads as [(typeof server.uploads)[0]];
    expect(bytes.equals(plain)).toBe(true);
    expect([path, headers['symkeep-lease']]).toEqual([`/v1/executables/${id}/debuginfo`, '7-lease']);
    const digest = createHash('sha256').update(plain).digest('base64');
    expect(headers['content-digest']).toBe(`sha-256=:${digest}:`);
    expect(server.agent).toMatchObject({ host: 'test-host', uploads: true });
    await until(() => uploads().running === 0);
    expect(uploads()).toMatchObject({ asked: 1, sent: 1, bytes: plain.length });
    expect(server.returned).toEqual([]);
  });

  it('later, once it is missed, is sent in the next cycle', async () => {
    run();
    await start();
    await setup.clock.advance(60_000);
    server.asks.set(id, asking('7-lease'));
    const checks = server.count(check);
    server.miss(id);
    await setup.clock.advance(66_000);
    expect(server.count(check)).toBe(checks + 1);
    await until(() => server.uploads.length === 1);
  });

  it('of another agent waits: it is checked again in each cycle until it is sought no more', async () => {
    run();
    await start();
    await setup.clock.advance(60_000);
    server.sought.add(id);
    server.miss(id);
    await setup.clock.advance(66_000);
    const checks = server.count(check);
    await setup.clock.advance(180_000);
    expect(server.count(check)).toBe(checks + 3);
    server.asks.set(id, asking('7-lease'));
    server.sought.clear();
    await setup.clock.advance(66_000);
    await until(() => server.uploads.length === 1);
    await until(() => uploads().running === 0);
    // What came of it is looked at once.
    await setup.clock.advance(66_000);
    const after = server.count(check);
    await setup.clock.advance(180_000);
    expect(server.count(check)).toBe(after);
  });

  it('that says no names here is given back', async () => {
    run('debug-stripped');
    server.asks.set(id, asking('7-lease'));
    await start();
    await until(() => server.returned.length === 1);
    expect(server.returned).toEqual(['7-lease reason=absent']);
    expect(server.uploads).toEqual([]);
    await until(() => uploads().absent === 1);
  });

  it('that ended meanwhile is given back', async () => {
    run();
    await start({ scanIntervalMs: 3_600_000 });
    proc.end(1);
    server.asks.set(id, asking('7-lease'));
    server.miss(id);
    await until(() => server.returned.length === 1);
    expect(server.returned).toEqual(['7-lease reason=absent']);
  });

  it('is sent no faster than told', async () => {
    run();
    server.asks.set(id, asking('7-lease'));
    const rate = 32_768;
    await start({ uploadRate: rate });
    await until(() => server.partsComing > 0, 1);
    const from = setup.clock.now();
    await until(() => server.uploads.length === 1, 1);
    const part = rate / 8;
    const leastMs = ((Math.ceil(plain.length / part) - 1) * part * 1_000) / rate;
    expect(setup.clock.now() - from).toBeGreaterThanOrEqual(leastMs - 1);
  });

  it('is refused: then it is given back as failed, unless the server was away', async () => {
    run();
    await start();
    await setup.clock.advance(60_000);
    for (const [code, reason] of [
      ['unprocessable', 'failed'],
      ['unavailable', 'unavailable'],
    ] as const) {
      const before = server.returned.length;
      server.refusingFiles = code;
      server.asks.set(id, asking('7-lease'));
      server.miss(id);
      await until(() => server.returned.length > before);
      expect(server.returned.at(-1)).toBe(`7-lease reason=${reason}`);
    }
    expect(uploads()).toMatchObject({ failed: 2, sent: 0 });
  });

  it.each([
    'http://elsewhere/v1/executables/x/debuginfo',
    '/v1/admin/backfills',
    '/v1/executables/../debuginfo',
  ])('goes nowhere but to a file of this server: %s', async (url) => {
    run();
    server.asks.set(id, asking('7-lease', { url }));
    await start();
    await until(() => uploads().failed === 1);
    expect([server.uploads, server.returned]).toEqual([[], []]);
  });

  it('is sent after the one before', async () => {
    const other = Buffer.from(plain);
    other.write('cd'.repeat(20), other.indexOf(Buffer.from(id.slice(4), 'hex')), 'hex');
    const file = proc.install('debug-plain', 'srv/other');
    writeFileSync(file, other);
    proc.run(1, [{ file }, { file: proc.install('debug-plain', 'srv/program') }]);
    const otherId = gnuId('cd'.repeat(20));
    const url = `/v1/executables/${otherId}/debuginfo`;
    server.asks.set(id, asking('7-lease'));
    server.asks.set(otherId, asking('8-lease', { id: otherId, url }));
    await start({ uploadRate: 32_768 });
    await until(() => server.uploads.length === 2, 10);
    const sent = server.uploads.map(({ bytes }) => (bytes.equals(other) ? 'other' : bytes.equals(plain)));
    expect(sent).toHaveLength(2);
    expect(new Set(sent)).toEqual(new Set(['other', true]));
    expect(server.receivingMost).toBe(1);
  });
});

describe('an agent', () => {
  it('that never uploads says so, and sends nothing even if it is asked', async () => {
    run();
    server.asks.set(id, asking('7-lease'));
    server.sought.add(id);
    await start({}, 'never');
    await setup.clock.advance(60_000);
    const checks = server.count(check);
    server.miss(id);
    await setup.clock.advance(180_000);
    expect(server.agent).toMatchObject({ uploads: false });
    expect([server.uploads, server.returned, server.count(check)]).toEqual([[], [], checks]);
  });

  it('sends nothing unasked', async () => {
    run();
    await start();
    await setup.clock.advance(600_000);
    server.miss(id);
    await setup.clock.advance(600_000);
    expect(server.uploads).toEqual([]);
  });

  it('that stops gives back what it was sending', async () => {
    run();
    server.asks.set(id, asking('7-lease'));
    await start({ uploadRate: 32_768 });
    await until(() => server.partsComing > 0, 10);
    expect(server.uploads).toEqual([]);
    const stopped = setup.agent.stop();
    await setup.clock.advance(5_000);
    await stopped;
    expect([server.uploads, server.returned]).toEqual([[], ['7-lease reason=stopped']]);
    expect(uploads()).toMatchObject({ asked: 1, returned: 1, running: 0 });
  });
});
