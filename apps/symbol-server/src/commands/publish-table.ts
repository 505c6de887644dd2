// Gives a table file to the servers of a Redis: what a worker does at the end of a job, by hand.
import { open } from 'node:fs/promises';
import { type Clock, RedisStore, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, type Quality, qualityRank, type SymbolsSummary } from '@symkeep/protocol';
import {
  type Catalog,
  createCatalog,
  type Published,
  StoredRecord,
  type TableSummary,
} from '../catalog/index.ts';
import type { ExtractedTable } from '../extraction/index.ts';
import { createRedis, redisReady } from '../redis.ts';

const redisWaitMs = 3_000;
/** It only writes. */
const cacheBytes = 1024 * 1024;

export interface TableFile {
  readonly path: string;
  readonly table: Pick<ExtractedTable, 'digest' | 'quality' | 'functions' | 'ranges' | 'bytes' | 'sources'>;
}

/** Publishes a table unless what is there is better. Rejects with a line for people if Redis does not take it. */
export async function publishTable(
  id: ExecutableId,
  file: TableFile,
  { redisUrl, namespace }: { readonly redisUrl: string; readonly namespace: string },
  clock: Clock,
): Promise<Published> {
  const client = createRedis(redisUrl, () => undefined);
  try {
    await redisReady(client, redisWaitMs, clock);
    const store = new RedisStore(client, { clock, namespace });
    const catalog = createCatalog({ store, clock, cacheBytes });
    await catalog.epoch.check();
    const published = await publishIn(catalog, id, file);
    if (published instanceof StoreUnavailable) throw new Error(`Redis: ${published.message}`);
    return published;
  } finally {
    client.disconnect();
  }
}

/** The same in a catalog that is there. */
export async function publishIn(
  catalog: Catalog,
  asked: ExecutableId,
  { path, table }: TableFile,
): Promise<Published | StoreUnavailable> {
  const sample = catalog.epoch.sample();
  if (sample instanceof StoreUnavailable) return sample;
  const [found] = await catalog.executables.lookup([asked]);
  if (found === 'unavailable') return new StoreUnavailable('unreachable', 'the store does not answer');
  const record = found instanceof StoredRecord ? found.record : undefined;
  const id = record?.id ?? asked;
  const { digest, quality, functions, ranges, bytes } = table;
  if (record !== undefined && isBetter(record.symbols, quality)) {
    return { status: 'kept', generation: record.generation };
  }
  const outage = await writeFile(catalog, { id, digest }, path);
  if (outage !== undefined) return outage;
  const sources = table.sources.map(({ source }) => source);
  const summary: TableSummary = { digest, quality, functions, ranges, bytes, sources };
  // It follows from no set of sources: any set that comes later goes before it.
  const setVersion = record?.symbols.setVersion ?? 0;
  const published = await catalog.states.ready(id, summary, setVersion, sample);
  return sample.outage() ?? published;
}

function isBetter({ state, quality }: SymbolsSummary, than: Quality): boolean {
  return state === 'ready' && qualityRank(quality) > qualityRank(than);
}

async function writeFile(
  { tables, epoch }: Catalog,
  key: { readonly id: ExecutableId; readonly digest: string },
  path: string,
): Promise<StoreUnavailable | undefined> {
  const sample = epoch.sample();
  if (sample instanceof StoreUnavailable) return sample;
  const file = await open(path);
  const bytesOf = async (start: number, end: number) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    return buffer.subarray(0, bytesRead);
  };
  try {
    return (await tables.write(key, bytesOf, sample)) ?? sample.outage() ?? undefined;
  } finally {
    await file.close();
  }
}
