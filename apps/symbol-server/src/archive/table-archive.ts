// Symbol tables beside the store: whole in the blob store, one ranged read a page; and a budget for the pages in Redis.
// Over it the tables that were used longest ago leave Redis, all but their headers; a page of one that is asked for is
// read from the archive and put back, since it is wanted again.
import { type Store, StoreUnavailable, shardCount } from '@symkeep/cache';
import type { ExecutableId } from '@symkeep/protocol';
import { type BlobStore, tableKey } from '../blobs/blob-store.ts';
import { type Catalog, StoredRecord, type TableArchive } from '../catalog/index.ts';
import { tableAt } from '../catalog/keys.ts';

/** Records looked at in one round trip. */
const chunk = 200;
/** Of the budget, what stays after a pass that was over it: else each pass would be. */
const keptShare = 0.9;

export function tableArchive(blobs: BlobStore): TableArchive {
  return ({ id, digest }, range) => blobs.read(tableKey(id, digest), range);
}

interface WarmTable {
  readonly id: ExecutableId;
  readonly digest: string;
  readonly bytes: number;
  readonly idleSeconds: number;
}

/** `cooled` tables have left the store in this pass; `bytes` are those of all warm ones before. */
export interface BudgetPass {
  readonly tables: number;
  readonly bytes: number;
  readonly cooled: number;
}

export interface PageBudgetDeps {
  readonly store: Store;
  readonly catalog: Pick<Catalog, 'executables' | 'tables' | 'epoch'>;
  readonly blobs: BlobStore;
  /** Bytes of pages that may be in the store. */
  readonly bytesMax: number;
}

/** Looks at all tables once, and cools what is over the budget. Throws the outage, and what the blob store throws. */
export async function keepPageBudget(deps: PageBudgetDeps): Promise<BudgetPass> {
  const warm = await warmTables(deps);
  const bytes = warm.reduce((sum, table) => sum + table.bytes, 0);
  if (bytes <= deps.bytesMax) return { tables: warm.length, bytes, cooled: 0 };
  let left = bytes;
  let cooled = 0;
  for (const table of warm.sort((a, b) => b.idleSeconds - a.idleSeconds || b.bytes - a.bytes)) {
    if (left <= deps.bytesMax * keptShare) break;
    if (!(await cool(deps, table))) continue;
    left -= table.bytes;
    cooled++;
  }
  return { tables: warm.length, bytes, cooled };
}

async function warmTables({ store, catalog }: PageBudgetDeps): Promise<WarmTable[]> {
  const warm: WarmTable[] = [];
  for (let shard = 0; shard < shardCount; shard++) {
    for (let after = ''; ; ) {
      const members = known(await store.scanIndex(shard, after, chunk));
      if (members.length === 0) break;
      after = members.at(-1)!;
      const ids = members.map((member) => member.slice(member.lastIndexOf('\0') + 1) as ExecutableId);
      for (const outcome of await catalog.executables.lookup(ids)) {
        const table = outcome instanceof StoredRecord ? await warmTable(store, outcome) : undefined;
        if (table !== undefined) warm.push(table);
      }
    }
  }
  return warm;
}

async function warmTable(store: Store, { record }: StoredRecord): Promise<WarmTable | undefined> {
  const { id, symbols } = record;
  const { digest, bytes, state } = symbols;
  if (state !== 'ready' || digest === undefined) return undefined;
  const at = tableAt(id, digest);
  const [[idleSeconds], fields] = await Promise.all([store.idleSeconds([at]), store.countFields(at)]);
  // Header and mark alone: nothing is left to take out.
  if (known(fields) <= 2 || known(idleSeconds) === null) return undefined;
  return { id, digest, bytes, idleSeconds: known(idleSeconds)! };
}

/** Only what the archive has whole may leave. */
async function cool({ blobs, catalog }: PageBudgetDeps, table: WarmTable): Promise<boolean> {
  const kept = await blobs.info(tableKey(table.id, table.digest));
  if (kept === null || kept.bytes !== table.bytes) return false;
  const sample = known(catalog.epoch.sample());
  known(await catalog.tables.cool(table, sample));
  return true;
}

function known<T>(value: T | StoreUnavailable): T {
  if (value instanceof StoreUnavailable) throw value;
  return value;
}
