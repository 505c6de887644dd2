// symkeep-agent run: the agent of this host, until SIGTERM.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '@symkeep/cache';
import { defineCommand, UsageError, type Values } from '@symkeep/options';
import { type Agent, createAgent } from '../agent.ts';
import { nodeFiles } from '../discovery/host-files.ts';
import { ProcessScanner } from '../discovery/process-scanner.ts';
import { httpTransport } from '../http-transport.ts';
import { jsonLog, type Log } from '../log.ts';
import { runOptions } from '../options.ts';
import { createReadApi } from '../read-api/api.ts';
import { isLoopback, type Listening, listenOnLoopback, listenOnSocket } from '../read-api/listener.ts';
import { metricsText } from '../read-api/metrics-text.ts';
import { snapshotFile } from '../snapshot-file.ts';
import { HostFileFinder } from '../uploading/file-finder.ts';
import { version } from '../version.ts';
import { startWarm } from '../warm-start.ts';

/** What a stop may take in all; supervisors kill after ten seconds or more. */
const stopMs = 4_500;

type RunValues = Values<typeof runOptions>;

export function runCommand(clock: Clock) {
  return defineCommand({
    name: 'run',
    describe: 'find, report and answer for the executables of this host, until SIGTERM',
    options: runOptions,
    more: 'Reads are answered on <data>/agent/agent.sock, and on --listen if given.',
    run: (values) => {
      startWarm();
      return runAgent(values, clock);
    },
  });
}

async function runAgent(values: RunValues, clock: Clock): Promise<number> {
  const mistakes = mistakesIn(values);
  if (mistakes.length > 0) throw new UsageError(mistakes);
  const log = jsonLog(
    () => new Date(clock.wall()).toISOString(),
    (line) => process.stderr.write(line),
  );
  // Whoever read the log may be gone; the agent is not there for its log.
  let linesLost = 0;
  process.stderr.on('error', () => linesLost++);
  const directory = join(values.data, 'agent');
  mkdirSync(directory, { recursive: true, mode: 0o750 });
  const server = httpTransport(values.server);
  const agent = createAgent({
    ...{ clock, transport: server.transport, log, random: Math.random },
    scanner: new ProcessScanner({ files: nodeFiles, proc: values.proc, sys: values.sys }),
    options: {
      ...values,
      ...{ version, compress: !isNear(values.server) },
      ...{ cycleMs: values.cycle, scanIntervalMs: values.scanInterval, cacheIdleMs: values.cacheIdle },
      follow: values.events === 'follow',
    },
    snapshots: snapshotFile(join(directory, 'snapshot')),
    ...(values.upload === 'asked' ? { finder: new HostFileFinder(nodeFiles, values.proc) } : {}),
  });
  const listening = await listen(agent, values, join(directory, 'agent.sock'));
  const ended = untilSignal();
  log.info('the agent starts', {
    version,
    server: values.server,
    listening: listening.map(({ address }) => address),
  });
  await agent.start();
  const { executables, processes } = agent.metrics();
  log.info('the first pass is done', { executables, processes });
  log.info('the agent stops', { signal: await ended });
  await stop(agent, listening, clock, log);
  server.close();
  return 0;
}

function mistakesIn({ listen: address }: RunValues): string[] {
  if (address === undefined || isLoopback(address.host)) return [];
  return [`--listen: ${address.host} is not loopback: the agent has no tokens to guard it with`];
}

async function listen(agent: Agent, { listen: tcp }: RunValues, socket: string): Promise<Listening[]> {
  const api = createReadApi({
    catalog: agent.catalog,
    version,
    epoch: () => agent.epoch,
    metricsText: () => metricsText(agent.metrics(), version),
  });
  const listening = [await listenOnSocket(api, socket)];
  try {
    if (tcp !== undefined) listening.push(await listenOnLoopback(api, tcp));
    return listening;
  } catch (error) {
    await Promise.all(listening.map((one) => one.close()));
    throw error;
  }
}

async function stop(agent: Agent, listening: readonly Listening[], clock: Clock, log: Log): Promise<void> {
  const cancel = clock.setTimer(stopMs, () => {
    log.warn('the stop took too long; what had not been acknowledged is reported after the next start');
    process.exit(1);
  });
  await Promise.all(listening.map((one) => one.close()));
  await agent.stop();
  cancel();
}

function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

// Between two processes of one host compressing costs more than it saves.
function isNear(server: string): boolean {
  return server.startsWith('unix:') || isLoopback(new URL(server).hostname.replace(/^\[|\]$/g, ''));
}
