// `symkeep worker`: takes jobs from the queue and makes symbol tables, as many workers as wanted, on any host that reaches
// Redis and the blobs.
import { availableParallelism } from 'node:os';
import type { Clock } from '@symkeep/cache';
import { defineCommand } from '@symkeep/options';
import { startWorker } from '../jobs/worker.ts';
import { createLog } from '../log.ts';
import {
  blobs,
  concurrency,
  data,
  fileBytesMax,
  json,
  logLevel,
  namespace,
  pageBudget,
  redisUrl,
  retainDebugFiles,
  upstreamOptions,
} from '../options.ts';
import { untilSignal } from '../signals.ts';

const options = {
  ...{ redisUrl, namespace, data, blobs, fileBytesMax, retainDebugFiles, concurrency, pageBudget },
  ...{ logLevel, json },
  ...upstreamOptions,
} as const;

export function worker(clock: Clock) {
  return defineCommand({
    name: 'worker',
    describe: 'makes symbol tables of the files that come in',
    options,
    more: `Examples:
  symkeep worker --redis-url redis://10.0.0.5:6379 --blobs s3://symbols/prod
  symkeep worker --concurrency 8`,
    run: async (values) => {
      const signal = untilSignal();
      const log = createLog(values.logLevel);
      const jobsAtOnce = values.concurrency ?? availableParallelism();
      const upstreams = {
        urls: values.upstreams,
        allowedPaths: values.upstreamPaths,
        allowPrivate: values.upstreamPrivate,
        requestsMax: values.upstreamRequests,
      };
      const config = { ...values, concurrency: jobsAtOnce, upstreams };
      const running = await startWorker(config, { clock, log });
      log.info({ concurrency: jobsAtOnce }, 'taking jobs');
      if (values.json)
        process.stdout.write(`${JSON.stringify({ pid: process.pid, concurrency: jobsAtOnce })}\n`);
      await signal;
      await running.stop();
      return 0;
    },
  });
}
