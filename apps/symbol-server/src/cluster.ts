// Several server processes behind one port: a primary that serves nothing itself, replaces processes that end, and adds
// up their metrics. Each process has its own cache; the store's event logs keep them coherent.
import cluster, { type Worker } from 'node:cluster';
import type { Clock } from '@symkeep/cache';
import type { Logger } from 'pino';
import { AggregatorRegistry } from 'prom-client';
import type { ServerMetrics } from './metrics.ts';

/** Between a process' end and its replacement: at once after a long life, later the shorter it was. */
const replaceMsMax = 5_000;
/** A process that lived this long did not end because of how it was started. */
const livedMs = 10_000;
/** For the answer of the primary to a request for metrics. */
const metricsMs = 6_000;

type Aggregator = InstanceType<typeof AggregatorRegistry>;

interface MetricsMessage {
  readonly symkeep: 'metrics';
  readonly request: number;
  readonly text?: string;
  readonly error?: string;
}

export interface Processes {
  /** Resolves once every process listens; rejects if one ends before. */
  readonly listening: Promise<{ host: string; port: number }>;
  stop(): Promise<void>;
}

/** Starts `count` processes of this program with the same arguments. */
export function startProcesses(count: number, clock: Clock, log: Logger): Processes {
  const aggregator = new AggregatorRegistry();
  const started = new Map<number, number>();
  const { promise: listening, resolve, reject } = Promise.withResolvers<{ host: string; port: number }>();
  let ending = false;
  let ready = 0;

  const fork = () => {
    const worker = cluster.fork();
    started.set(worker.id, clock.now());
    worker.on('message', (message: unknown) => void answerMetrics(worker, message, aggregator));
    worker.once('listening', ({ address, port }) => {
      if (++ready === count) resolve({ host: address, port });
    });
    worker.once('exit', (code, signal) => {
      if (ending) return;
      if (ready < count)
        return reject(new Error('a server process could not start; its line above says why'));
      log.error({ pid: worker.process.pid, code, signal }, 'a server process ended; it is replaced');
      const lived = clock.now() - started.get(worker.id)!;
      clock.setTimer(lived > livedMs ? 0 : replaceMsMax * (1 - lived / livedMs), () => {
        if (!ending) fork();
      });
    });
  };
  for (let index = 0; index < count; index++) fork();

  const stop = async () => {
    ending = true;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    const ended = workers.map((worker) => new Promise<void>((done) => worker.once('exit', () => done())));
    for (const worker of workers) worker.process.kill('SIGTERM');
    await Promise.all(ended);
  };
  return { listening, stop };
}

async function answerMetrics(worker: Worker, message: unknown, aggregator: Aggregator): Promise<void> {
  if (!isMetricsMessage(message)) return;
  const { request } = message;
  try {
    worker.send({ symkeep: 'metrics', request, text: await aggregator.clusterMetrics() });
  } catch (error) {
    if (worker.isConnected()) worker.send({ symkeep: 'metrics', request, error: (error as Error).message });
  }
}

/** In a process of several: asks the primary for the metrics of all. */
export function askPrimaryForMetrics(clock: Clock): (own: ServerMetrics) => Promise<string> {
  new AggregatorRegistry(); // its constructor makes this process answer the primary
  const open = new Map<number, (message: MetricsMessage) => void>();
  process.on('message', (message: unknown) => {
    if (isMetricsMessage(message)) open.get(message.request)?.(message);
  });
  let requests = 0;
  return ({ registry }) => {
    AggregatorRegistry.setRegistries(registry);
    const request = requests++;
    return new Promise<string>((resolve, reject) => {
      const cancel = clock.setTimer(metricsMs, () =>
        settle({ symkeep: 'metrics', request, error: 'no answer in time' }),
      );
      const settle = ({ text, error }: MetricsMessage) => {
        cancel();
        open.delete(request);
        if (text === undefined) reject(new Error(`metrics of all processes: ${error}`));
        else resolve(text);
      };
      open.set(request, settle);
      process.send?.({ symkeep: 'metrics', request });
    });
  };
}

function isMetricsMessage(message: unknown): message is MetricsMessage {
  return (message as Partial<MetricsMessage> | null)?.symkeep === 'metrics';
}
