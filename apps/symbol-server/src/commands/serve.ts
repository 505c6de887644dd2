// `symkeep serve`: the server, in one process or several.
import cluster from 'node:cluster';
import type { Clock } from '@symkeep/cache';
import { defineCommand, UsageError, type Values } from '@symkeep/options';
import { askPrimaryForMetrics, startProcesses } from '../cluster.ts';
import { createLog } from '../log.ts';
import { json, processes, redisUrl, serverOptions } from '../options.ts';
import { refusedConfig, startProcess } from '../process.ts';
import { untilSignal } from '../signals.ts';

const options = { ...serverOptions, redisUrl, processes, json } as const;
type ServeValues = Values<typeof options>;

export function serve(clock: Clock, version: string) {
  return defineCommand({
    name: 'serve',
    describe: 'the symbol server, on a Redis that runs already',
    options,
    more: `Examples:
  symkeep serve --redis-url redis://10.0.0.5:6379
  symkeep serve --listen 0.0.0.0:8520 --tokens-file tokens --processes 4`,
    run: async (values) => {
      const refused = refusedConfig(values);
      if (refused !== undefined) throw new UsageError([`--listen: ${refused}`]);
      const running = await start(values, clock, version);
      if (values.json && cluster.isPrimary) {
        process.stdout.write(`${JSON.stringify({ url: running.url, pid: process.pid })}\n`);
      }
      await untilSignal();
      await running.stop();
      // The channel to the primary would keep this process.
      cluster.worker?.disconnect();
      return 0;
    },
  });
}

interface Running {
  readonly url: string;
  stop(): Promise<void>;
}

async function start(values: ServeValues, clock: Clock, version: string): Promise<Running> {
  const log = createLog(values.logLevel);
  if (values.processes === 1 || cluster.isWorker) {
    const aggregated = cluster.isWorker ? { metricsText: askPrimaryForMetrics(clock) } : {};
    const { host, port, stop } = await startProcess(values, { clock, log, version, ...aggregated });
    const url = urlOf(host, port);
    log.info({ url }, 'listening');
    return { url, stop };
  }
  const { listening, stop } = startProcesses(values.processes, clock, log);
  try {
    const { port } = await listening;
    return { url: urlOf(values.listen.host, port), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
