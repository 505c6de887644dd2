// A worker as a child process.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@symkeep/cache';
import { type BlobsPlace, formatBlobsPlace } from '../blobs/open-blobs.ts';
import { startGuarded } from './guarded-child.ts';
import { type KeptChild, keepChild, lockSeconds } from './kept-child.ts';

const launcher = fileURLToPath(new URL('../../bin/symkeep.js', import.meta.url));

export interface WorkerOptions {
  readonly redisUrl: string;
  readonly namespace: string;
  readonly data: string;
  readonly blobs: BlobsPlace['blobs'];
  readonly retainDebugFiles: string;
  /** Said when it ends by itself. */
  readonly onEnd: (why: string) => void;
  /** Its log goes to ours. */
  readonly verbose: boolean;
}

export function startWorkerChild(
  { redisUrl, namespace, data, blobs, retainDebugFiles, onEnd, verbose }: WorkerOptions,
  clock: Clock,
): KeptChild {
  const command = [process.execPath, launcher, 'worker'];
  const place = blobs === undefined ? {} : { SYMKEEP_BLOBS: formatBlobsPlace(blobs) };
  const own = {
    ...{ REDIS_URL: redisUrl, SYMKEEP_NAMESPACE: namespace, SYMKEEP_DATA: data },
    ...{ SYMKEEP_RETAIN_DEBUG_FILES: retainDebugFiles, ...place },
  };
  const env = { ...process.env, ...own };
  const lock = join(data, 'worker.lock');
  return keepChild(
    { name: 'the worker', spawn: () => startGuarded({ lock, lockSeconds, command, env, verbose }), onEnd },
    clock,
  );
}
