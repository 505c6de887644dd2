// Real tables, published, and looked up through the front door by several servers on one store.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EpochSample } from '@symkeep/cache';
import { bytesSource, openElf } from '@symkeep/elf';
import {
  type Frame,
  type FramesReply,
  formatAddress,
  parseExecutableId,
  readFrameColumns,
} from '@symkeep/protocol';
import {
  extractSymbols,
  mergeRanges,
  openSymbolTable,
  type RangeTable,
  writeSymbolTable,
} from '@symkeep/symbols';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tableOf } from '../../../libs/symbols/test/tables.ts';
import { type Catalog, createCatalog } from '../src/catalog/index.ts';
import { tableAt, tableHeaderAt, tablePageAt } from '../src/catalog/keys.ts';
import { publishIn, type TableFile } from '../src/commands/publish-table.ts';
import { extractTable } from '../src/extraction/index.ts';
import { type AppUnderTest, agent, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

const id = parseExecutableId(bashId);
const fixtures = fileURLToPath(new URL('../../../libs/symbols/fixtures/dwarf/', import.meta.url));
const cacheBytes = 4 * 2 ** 20;
const tenMinutes = 600_000;
const oneHour = 3_600_000;

let directory: string;
let dwarf: TableFile;
/** The same program from its symbols alone. */
let symtab: TableFile;
/** 2,000 functions in four pages: `f<n>` at 16 n. */
let pages: TableFile;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'symkeep-tables-'));
  const path = join(directory, 'dwarf');
  const files = { executable: join(fixtures, 'gcc5'), search: false };
  dwarf = { path, table: await extractTable({ files, output: path, threads: 1, bytesMax: undefined }) };
  const image = openElf(bytesSource(readFileSync(files.executable)));
  symtab = tableFile('symtab', extractSymbols(image, 'symtab')!);
  const frame = (n: number) => ({ name: `f${n}`, startLine: 1, file: 'f.c', line: n, column: 0 });
  const ranges = Array.from({ length: 2_000 }, (_, n) => ({ start: 16 * n, frames: [frame(n)] }));
  pages = tableFile('pages', tableOf('dwarf', 0x1000n, [...ranges, { start: 32_000, frames: [] }]));
});

afterAll(() => rmSync(directory, { recursive: true }));

function tableFile(name: string, ranges: RangeTable): TableFile {
  const { header, pages, digest } = writeSymbolTable(mergeRanges([ranges]));
  const path = join(directory, name);
  const bytes = Buffer.concat([header, ...pages]);
  writeFileSync(path, bytes);
  const table = openSymbolTable(header);
  return { path, table: { ...table, digest, bytes: bytes.length } };
}

/** What llvm-symbolizer says, by address: raw name and file:line of each frame, innermost first. */
function expectedFrames(): Map<bigint, string[]> {
  const expected = new Map<bigint, string[]>();
  let frames: string[] = [];
  for (const line of readFileSync(join(fixtures, 'gcc5.expected'), 'utf8').split('\n')) {
    if (line.startsWith('# ') || line.startsWith('0x')) frames = [];
    if (line.startsWith('0x')) expected.set(BigInt(line), frames);
    else if (line !== '') frames.push(line);
  }
  // What it prints where nothing is known.
  for (const lines of expected.values()) if (lines.join() === '??,??:0') lines.length = 0;
  return expected;
}

let server: AppUnderTest;

beforeEach(async () => {
  server = await startApp();
  await server.post('/v1/executables', reportOf(bash));
});

/** Another server process on the same store. */
async function another(): Promise<AppUnderTest> {
  const { store, clock } = server;
  const catalog = createCatalog({ store, clock, cacheBytes });
  await catalog.start();
  return startApp({ catalog });
}

function publish(file: TableFile, catalog: Catalog = server.deps.catalog) {
  return publishIn(catalog, id, file);
}

interface OneAddress {
  readonly status: number;
  readonly source: string;
  readonly generation: number;
  readonly frames: readonly Frame[];
}

async function at(address: bigint, from: AppUnderTest = server): Promise<OneAddress> {
  const requests = [{ id: bashId, addresses: [formatAddress(address)] }];
  const { strings, results } = await messageOf<FramesReply>(
    await from.post('/v1/frames/lookup', { requests }),
  );
  const [found] = readFrameColumns(strings, results[0]!);
  return { ...found!, generation: results[0]!.generation };
}

const nameAt = async (address: bigint, from?: AppUnderTest) => (await at(address, from)).frames[0]?.function;
const statusAt = async (address: bigint, from?: AppUnderTest) => (await at(address, from)).status;

describe('a published table', () => {
  it.each(['json', 'msgpack'] as const)('answers as llvm-symbolizer does (%s)', async (encoding) => {
    expect(await publish(dwarf)).toMatchObject({ status: 'published' });
    const expected = expectedFrames();
    const addresses = [...expected.keys()];
    const requests = [
      { id: bashId, addresses: addresses.map((one) => (encoding === 'json' ? formatAddress(one) : one)) },
    ];
    const send = encoding === 'json' ? server.post : server.postMessagePack;
    const { strings, results } = await messageOf<FramesReply>(await send('/v1/frames/lookup', { requests }));
    const found = readFrameColumns(strings, results[0]!);
    const text = ({ rawName, file, line }: { rawName: string; file: string; line: number }) => [
      rawName || '??',
      `${file || '??'}:${line}`,
    ];
    expect(found.map(({ frames }) => frames.flatMap(text))).toEqual([...expected.values()]);
    expect(found.some(({ frames }) => frames.length > 1)).toBe(true);
  });

  it('turns "not ready" into names, for one address too, readable and with what is inlined', async () => {
    const [address, frames] = [...expectedFrames()].find(([, lines]) => lines.length > 2)!;
    const path = `/v1/executables/${bashId}/frames/${formatAddress(address)}`;
    const before = await messageOf<OneAddress>(await server.get(path));
    expect(before).toMatchObject({ status: 2, source: 'none', frames: [] });
    await publish(dwarf);
    const after = await messageOf<OneAddress>(await server.get(path));
    expect(after).toMatchObject({ status: 0, source: 'dwarf' });
    expect(after.generation).not.toBe(before.generation);
    expect(after.frames.map(({ rawName }) => rawName)).toEqual(frames.filter((_, line) => line % 2 === 0));
    expect(after.frames[0]!.function).toMatch(/^[a-z][\w:]*.*\(/);
    const record = await messageOf(await server.get(`/v1/executables/${bashId}`));
    const { quality, functions, ranges } = dwarf.table;
    expect(record).toMatchObject({
      symbols: { state: 'ready', quality, functions, ranges, sources: ['dwarf'] },
    });
  });

  it('says that nothing is there where nothing is: before the start, past the end', async () => {
    await publish(pages);
    expect(await statusAt(0xfffn)).toBe(1);
    expect(await nameAt(0x1000n)).toBe('f0');
    expect(await nameAt(0x1000n + 31_999n)).toBe('f1999');
    expect(await statusAt(0x1000n + 32_000n)).toBe(1);
    expect(await statusAt(0xffff_ffff_ffff_ffffn)).toBe(1);
  });

  it('is seen by other servers at once', async () => {
    const second = await another();
    expect(await statusAt(0x1000n, second)).toBe(2);
    await publish(pages);
    await expect.poll(() => nameAt(0x1000n, second)).toBe('f0');
    await publish(dwarf);
    await expect.poll(() => statusAt(0x401000n, second)).toBe(0);
  });

  it('reads each page once, however many ask at once', async () => {
    await publish(pages);
    await Promise.all(Array.from({ length: 50 }, (_, n) => nameAt(0x1000n + BigInt(n * 600))));
    expect(server.deps.catalog.metrics().pages).toMatchObject({ loadedKeys: pages.table.bytes > 0 ? 4 : 0 });
    expect(server.deps.catalog.metrics().tables).toMatchObject({ loadedKeys: 1, damaged: 0 });
  });

  it('is not replaced by a worse one', async () => {
    await publish(dwarf);
    expect(await publish(symtab)).toMatchObject({ status: 'kept' });
    expect((await at(0x401000n)).source).toBe('dwarf');
  });

  it('wins where it says anything; elsewhere what agents reported does', async () => {
    const reported = [0x1004n, 0x100000n].map((address) => ({
      ...{ id: bashId, address: formatAddress(address), function: 'reported', file: 'r.c', line: 1 },
    }));
    await server.post('/v1/frames', { agent, frames: reported });
    expect(await at(0x1004n)).toMatchObject({ source: 'agent', frames: [{ function: 'reported' }] });
    await publish(pages);
    expect(await at(0x1004n)).toMatchObject({ source: 'dwarf', frames: [{ function: 'f0' }] });
    expect(await at(0x100000n)).toMatchObject({ source: 'agent', frames: [{ function: 'reported' }] });
  });
});

describe('a table on its way', () => {
  it('is not seen before all of it is there, and goes by itself if it never is', async () => {
    const { digest } = pages.table;
    const sample = server.deps.catalog.epoch.sample() as EpochSample;
    const file = readFileSync(pages.path);
    const header = openSymbolTable(file);
    const dies = async (start: number, end: number) => {
      if (end > header.pageOffsets[0]!) throw new Error('killed');
      return file.subarray(start, end);
    };
    await expect(server.deps.catalog.tables.write({ id, digest }, dies, sample)).rejects.toThrow('killed');
    const page = file.subarray(header.pageOffsets[0]!, header.pageOffsets[1]!);
    const first = { at: tablePageAt(id, digest, 0), expected: null, value: page };
    await server.store.swap([{ ...first, leave: { key: first.at.key, ms: oneHour } }]);
    expect(await statusAt(0x1000n)).toBe(2);
    await server.clock.advance(oneHour);
    expect(await server.store.countFields(tableAt(id, digest))).toBe(0);
  });

  it('that was written stays for good once it is named, and goes after an hour if it is not', async () => {
    const { catalog } = server.deps;
    const bytes = async (start: number, end: number) => readFileSync(pages.path).subarray(start, end);
    await catalog.tables.write(
      { id, digest: pages.table.digest },
      bytes,
      catalog.epoch.sample() as EpochSample,
    );
    await publish(dwarf);
    await server.clock.advance(oneHour);
    expect(await server.store.countFields(tableAt(id, pages.table.digest))).toBe(0);
    expect(await server.store.countFields(tableAt(id, dwarf.table.digest))).toBe(2);
    expect(await statusAt(0x401000n, await another())).toBe(0);
  });

  it('leaves ten minutes to readers of the last one; later ones find the new one', async () => {
    await publish(pages);
    const reader = await another();
    expect(await nameAt(0x1000n, reader)).toBe('f0');
    // It hears of nothing from now on, and has one of four pages.
    await reader.deps.catalog.events.stop();
    await publish(dwarf);
    expect(await nameAt(0x1000n + 16_000n, reader)).toBe('f1000');
    await server.clock.advance(tenMinutes);
    expect(await server.store.countFields(tableAt(id, pages.table.digest))).toBe(0);
    expect(await at(0x1000n + 31_000n, reader)).toMatchObject({ status: 1, frames: [] });
    expect(await at(0x401000n, reader)).toMatchObject({ status: 0, source: 'dwarf' });
  });
});

describe('a table of which a part is lost or damaged', () => {
  const page = () => tablePageAt(id, pages.table.digest, 1);
  /** In the second of four pages. */
  const inside = 0x1000n + 16n * 600n;

  async function change(change: (bytes: Uint8Array) => Uint8Array | null, key = page()): Promise<void> {
    const [bytes] = await server.store.get([key]);
    await server.store.swap([{ at: key, expected: bytes as Uint8Array, value: change(bytes as Uint8Array) }]);
  }

  const flipped = (bytes: Uint8Array) =>
    bytes.map((byte, index) => (index === bytes.length >> 1 ? byte ^ 1 : byte));

  beforeEach(async () => {
    await publish(pages);
  });

  it.each([
    ['damaged', flipped],
    ['cut', (bytes: Uint8Array) => bytes.subarray(0, 50)],
    ['another page', () => readFileSync(pages.path).subarray(-100)],
  ])('%s: unavailable at its addresses alone, and counted', async (_, damage) => {
    await change(damage);
    const fresh = await another();
    expect(await at(inside, fresh)).toMatchObject({ status: 4, frames: [] });
    expect(await nameAt(0x1000n, fresh)).toBe('f0');
    expect(fresh.deps.catalog.metrics().tables.damaged).toBe(1);
  });

  it('a damaged header: unavailable everywhere, and counted', async () => {
    await change(flipped, tableHeaderAt(id, pages.table.digest));
    const fresh = await another();
    expect(await statusAt(0x1000n, fresh)).toBe(4);
    expect(fresh.deps.catalog.metrics().tables.damaged).toBe(1);
  });

  it('a lost page: unavailable, never "nothing there"', async () => {
    await change(() => null);
    const fresh = await another();
    expect(await statusAt(inside, fresh)).toBe(4);
    const path = `/v1/executables/${bashId}/frames/${formatAddress(inside)}`;
    expect((await fresh.get(path)).status).toBe(503);
  });

  it.each([
    ['damaged', flipped],
    ['lost', () => null],
  ])('%s: mended by publishing it again, for good', async (_, damage) => {
    await change(damage);
    await change(damage, tablePageAt(id, pages.table.digest, 0));
    const before = await at(0x1000n, await another());
    expect(before.status).toBe(4);
    expect(await publish(pages)).toMatchObject({ status: 'unchanged', generation: before.generation });
    await server.clock.advance(2 * oneHour);
    const fresh = await another();
    expect(await nameAt(0x1000n, fresh)).toBe('f0');
    expect(await nameAt(inside, fresh)).toBe('f600');
  });

  it('an outage of the store: unavailable, what is in this process is served', async () => {
    expect(await nameAt(0x1000n)).toBe('f0');
    server.store.down(0);
    expect(await nameAt(0x1000n)).toBe('f0');
    expect(await statusAt(inside)).toBe(4);
    server.store.up(0);
    expect(await nameAt(inside)).toBe('f600');
  });
});
