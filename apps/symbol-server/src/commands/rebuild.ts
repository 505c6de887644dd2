// `symkeep rebuild`: fills an empty Redis from the blob store. Servers and agents may run meanwhile.
import { type Clock, RedisStore, StoreUnavailable } from '@symkeep/cache';
import { defineCommand, type Values } from '@symkeep/options';
import { type Rebuilt, rebuild as rebuildFrom } from '../archive/rebuild.ts';
import { openBlobs } from '../blobs/open-blobs.ts';
import { createCatalog } from '../catalog/index.ts';
import { blobs, data, json, namespace, ownRedisUrl } from '../options.ts';
import { createRedis, redisReady, withoutPassword } from '../redis.ts';
import { ownRedisUrlOf } from '../up/redis-child.ts';

const redisWaitMs = 3_000;
const cacheBytes = 64 * 2 ** 20;

const options = { redisUrl: ownRedisUrl, namespace, data, blobs, json } as const;

export function rebuild(clock: Clock) {
  return defineCommand({
    name: 'rebuild',
    describe: 'fills an empty Redis from the blob store: records, frames, symbol tables',
    options,
    more:
      'What Redis has already is joined, never overwritten: it may be run beside servers and agents, and again.\n' +
      'Until it ends, servers answer what is not there yet as unavailable.',
    run: (values) => runRebuild(values, clock),
  });
}

async function runRebuild(values: Values<typeof options>, clock: Clock): Promise<number> {
  const url = values.redisUrl ?? ownRedisUrlOf(values.data) ?? 'redis://127.0.0.1:6379';
  const client = createRedis(url, () => undefined);
  const store = new RedisStore(client, { clock, namespace: values.namespace });
  const catalog = createCatalog({ store, clock, cacheBytes });
  try {
    if (!(await redisReady(client, redisWaitMs, clock)))
      throw new Error(`${withoutPassword(url)} does not answer: start it, or set REDIS_URL`);
    await catalog.start();
    const place = await openBlobs(values, clock);
    const done = await rebuildFrom({ store, catalog, blobs: place, clock, onProgress: show });
    process.stdout.write(values.json ? `${JSON.stringify(done)}\n` : `${textOf(done, place.place)}\n`);
    return done.missingTables === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    throw new Error(
      `Redis failed on the way (${error.message}); run it again, it goes on where that matters`,
    );
  } finally {
    await catalog.stop();
    await store.close();
    client.disconnect();
  }
}

function show({ records, tables }: Rebuilt): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${records} executables, ${tables} symbol tables`);
}

function textOf(
  { records, frameWindows, tables, tombstones, missingTables }: Rebuilt,
  place: string,
): string {
  const missing = missingTables === 0 ? '' : `; ${missingTables} symbol tables are not in ${place}`;
  return (
    `${records} executables, ${tables} symbol tables, agents' frames in ${frameWindows} windows and ` +
    `${tombstones} erasures are back${missing}`
  );
}
