// Tables over their budget leave the store but for their headers, and are read from the archive, page by page.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock, MemoryStore, StoreUnavailable } from '@symkeep/cache';
import { type ExecutableId, FRAME_STATUS } from '@symkeep/protocol';
import { mergeRanges, openSymbolTable, writeSymbolTable } from '@symkeep/symbols';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tableOf } from '../../../libs/symbols/test/tables.ts';
import { keepPageBudget, tableArchive } from '../src/archive/table-archive.ts';
import { tableKey } from '../src/blobs/blob-store.ts';
import { DirectoryStore } from '../src/blobs/directory-store.ts';
import { type Catalog, createCatalog } from '../src/catalog/index.ts';
import { tableAt } from '../src/catalog/keys.ts';

const functions = 2_000;
const ids = [1, 2, 3].map((n) => `gnu:${String(n).repeat(40)}` as ExecutableId);

let folder: string;
let clock: ManualClock;
let store: MemoryStore;
let blobs: DirectoryStore;
let catalog: Catalog;
/** Of each table, in the order of the IDs. */
let sizes: number[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'symkeep-budget-'));
  clock = new ManualClock();
  store = new MemoryStore({ clock });
  blobs = new DirectoryStore(folder, clock);
  catalog = await startCatalog();
  sizes = [];
  for (const [n, id] of ids.entries()) {
    await publish(id, n);
    await clock.advance(60_000);
  }
});

afterEach(async () => {
  await catalog.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Another server on the same store, whose cache is empty. */
async function startCatalog(): Promise<Catalog> {
  const made = createCatalog({ store, clock, cacheBytes: 4 * 2 ** 20, archive: tableArchive(blobs) });
  await made.start();
  return made;
}

function sampleOf({ epoch }: Catalog) {
  const sample = epoch.sample();
  if (sample instanceof StoreUnavailable) throw sample;
  return sample;
}

/** 2,000 functions `f<n>` at 16 n, in four pages; `line` tells the tables apart. */
async function publish(id: ExecutableId, line: number): Promise<void> {
  const frame = (n: number) => ({ name: `f${n}`, startLine: 1, file: 'f.c', line: line + 1, column: 0 });
  const ranges = Array.from({ length: functions }, (_, n) => ({ start: 16 * n, frames: [frame(n)] }));
  const written = writeSymbolTable(
    mergeRanges([tableOf('dwarf', 0x1000n, [...ranges, { start: 16 * functions, frames: [] }])]),
  );
  const file = Buffer.concat([written.header, ...written.pages]);
  const table = openSymbolTable(written.header);
  const bytes = table.pageOffsets.at(-1)!;
  sizes.push(bytes);
  const { digest } = written;
  await blobs.keepBytes(tableKey(id, digest), file);
  const sample = sampleOf(catalog);
  await catalog.states.queued(id, 1, sample);
  expect(
    await catalog.tables.write({ id, digest }, async (start, end) => file.subarray(start, end), sample),
  ).toBeUndefined();
  await catalog.states.ready(
    id,
    { digest, quality: 'dwarf', functions, ranges: functions, bytes, sources: ['dwarf'] },
    1,
    sample,
  );
}

async function digestOf(id: ExecutableId): Promise<string> {
  const [outcome] = await catalog.executables.lookup([id]);
  if (typeof outcome === 'string' || outcome?.record.symbols.digest === undefined)
    throw new Error('no table');
  return outcome.record.symbols.digest;
}

async function fieldsOf(id: ExecutableId): Promise<string[]> {
  const fields = await store.listFields(tableAt(id, await digestOf(id)));
  if (fields instanceof StoreUnavailable) throw fields;
  return [...fields].sort();
}

async function namesAt(from: Catalog, id: ExecutableId, addresses: readonly bigint[]): Promise<string[]> {
  const [outcome] = await from.frames.lookup([{ id, addresses }]);
  return outcome!.at.map(({ status, frames }) =>
    status === FRAME_STATUS.resolved ? `${frames[0]!.function}:${frames[0]!.line}` : String(status),
  );
}

function keep(bytesMax: number) {
  return keepPageBudget({ store, catalog, blobs, bytesMax });
}

describe('a budget for pages', () => {
  it('takes out nothing while all fits', async () => {
    const bytes = sizes.reduce((sum, size) => sum + size);
    expect(await keep(bytes)).toEqual({ tables: 3, bytes, cooled: 0 });
    for (const id of ids) expect(await fieldsOf(id)).toEqual(['0', '1', '2', '3', 'h']);
  });

  it('takes out the tables that were used longest ago, all but their headers', async () => {
    await namesAt(await startCatalog(), ids[0]!, [0x1000n]);
    expect(await keep(2 * sizes[0]!)).toMatchObject({ tables: 3, cooled: 2 });
    const fields = await Promise.all(ids.map(fieldsOf));
    expect(fields).toEqual([
      ['0', '1', '2', '3', 'h'],
      ['c', 'h'],
      ['c', 'h'],
    ]);
    expect(await keep(2 * sizes[0]!)).toEqual({ tables: 1, bytes: sizes[0], cooled: 0 });
  });

  it('leaves every frame as it was, and puts back the pages that are asked for', async () => {
    await keep(0);
    const fresh = await startCatalog();
    const addresses = [0x1000n, 0x1000n + 16n * 1_999n, 0x1008n];
    for (const [n, id] of ids.entries()) {
      expect(await namesAt(fresh, id, addresses)).toEqual([`f0:${n + 1}`, `f1999:${n + 1}`, `f0:${n + 1}`]);
      expect(await fieldsOf(id)).toEqual(['0', '3', 'c', 'h']);
      expect(await catalog.tables.isWhole({ id, digest: await digestOf(id) })).toBe(true);
    }
  });

  it('keeps what the archive has not, or not whole', async () => {
    await blobs.remove(tableKey(ids[0]!, await digestOf(ids[0]!)));
    await keep(0);
    expect(await fieldsOf(ids[0]!)).toEqual(['0', '1', '2', '3', 'h']);
  });

  it('answers unavailable, and nothing wrong, when the archive cannot be read', async () => {
    await keep(0);
    rmSync(folder, { recursive: true });
    expect(await namesAt(await startCatalog(), ids[0]!, [0x1000n])).toEqual([
      String(FRAME_STATUS.unavailable),
    ]);
  });
});
