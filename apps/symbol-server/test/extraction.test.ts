import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ManualClock } from '@symkeep/cache';
import { openSymbolTable } from '@symkeep/symbols';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ExtractedTable,
  ExtractionFailure,
  Extractor,
  type ExtractorOptions,
  extractTable,
} from '../src/extraction/index.ts';

const fixture = fileURLToPath(new URL('../../../libs/symbols/fixtures/dwarf/gcc5', import.meta.url));
const alternate = fileURLToPath(new URL('../../../libs/symbols/fixtures/dwarf/alt-one', import.meta.url));
const otherDwz = fileURLToPath(new URL('../../../libs/elf/fixtures/debug-dwz', import.meta.url));
/** A library whose debug file is large, if both are installed (Debian's openjdk-17-dbg). */
const installed = ['/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so'].find((path) =>
  existsSync(path),
);
/** Of util-linux; without it a child that hangs is left behind by a server that is killed. */
const hasSetpriv = spawnSync('setpriv', ['--version']).status === 0;
const program = (name: string) => new URL(`extraction-children/${name}.ts`, import.meta.url);

let directory: string;
let output: string;
let clock: ManualClock;
const extractors: Extractor[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'symkeep-extraction-'));
  output = join(directory, 'table');
  clock = new ManualClock();
});

afterEach(async () => {
  await Promise.all(extractors.splice(0).map((extractor) => extractor.stop()));
  rmSync(directory, { recursive: true });
});

function extractor(options: Partial<ExtractorOptions> = {}): Extractor {
  const made = new Extractor({ clock, ...options });
  extractors.push(made);
  return made;
}

function fileOf(content: string | Uint8Array): string {
  const path = join(directory, 'input');
  writeFileSync(path, content);
  return path;
}

function codeOf(outcome: ExtractedTable | ExtractionFailure): string {
  return outcome instanceof ExtractionFailure ? outcome.code : 'made';
}

describe('an extraction', () => {
  it('makes the table that one in this process makes, and writes it whole', async () => {
    const files = { executable: fixture, search: false };
    const table = await extractor().extract(files, output);
    const own = { files, output: join(directory, 'own'), threads: 1, bytesMax: undefined };
    expect(table).toEqual(await extractTable(own));
    expect(readFileSync(output)).toEqual(readFileSync(own.output));
    const { digest, pages } = table as ExtractedTable;
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(openSymbolTable(readFileSync(output)).pageCount).toBe(pages);
  });

  it('says which dwz file is missing', async () => {
    const table = await extractor().extract({ executable: alternate, search: false }, output);
    expect(table).toMatchObject({ missingAlternate: expect.stringMatching(/^[0-9a-f]{40}$/) });
  });

  it('case 8: a dwz file of another build is as good as none, and the right one is better', async () => {
    const extract = async (shared: string | undefined, name: string) => {
      const files = { executable: alternate, alternate: shared, search: false };
      return (await extractor().extract(files, join(directory, name))) as ExtractedTable;
    };
    const none = await extract(undefined, 'none');
    const wrong = await extract(otherDwz, 'wrong');
    const right = await extract(`${dirname(alternate)}/alt-shared.dwz`, 'right');
    expect(none.missingAlternate).toMatch(/^[0-9a-f]{40}$/);
    expect([wrong.missingAlternate, wrong.digest]).toEqual([none.missingAlternate, none.digest]);
    expect(right.missingAlternate).toBeUndefined();
    expect(right.digest).not.toBe(none.digest);
  });

  it('uses one child for many files, bad ones among them', async () => {
    const one = extractor();
    const files = { executable: fixture, search: false };
    expect(codeOf(await one.extract(files, output))).toBe('made');
    expect(codeOf(await one.extract({ executable: fileOf('#!/bin/sh\n'), search: false }, output))).toBe(
      'not_elf',
    );
    expect(codeOf(await one.extract(files, output))).toBe('made');
    expect(one.metrics()).toEqual({
      ...{ extractions: 3, tables: 2, failures: 1 },
      ...{ childrenStarted: 1, inFlight: 0, waiting: 0 },
    });
  });

  it('waits for its turn', async () => {
    const one = extractor({ children: 2 });
    const files = { executable: fixture, search: false };
    const all = ['a', 'b', 'c', 'd'].map((name) => one.extract(files, join(directory, name)));
    expect(one.metrics()).toMatchObject({ inFlight: 2, waiting: 2 });
    expect((await Promise.all(all)).map(codeOf)).toEqual(['made', 'made', 'made', 'made']);
    expect(one.metrics()).toMatchObject({ childrenStarted: 2, inFlight: 0, waiting: 0 });
  });
});

describe('a file that is wrong fails with its code, and leaves no table', () => {
  const elf = () => readFileSync(fixture);
  it.each([
    ['a script', 'not_elf', () => fileOf('#!/bin/sh\n')],
    ['nothing', 'not_elf', () => fileOf('')],
    ['half a header', 'truncated', () => fileOf(elf().subarray(0, 40))],
    ['a directory', 'not_elf', () => directory],
    ['no file', 'unreadable', () => join(directory, 'none')],
  ])('%s: %s', async (_, code, make) => {
    const outcome = await extractor().extract({ executable: make(), search: false }, output);
    expect(codeOf(outcome)).toBe(code);
    expect(readdirSync(directory)).not.toContain('table');
  });

  it('a table that cannot be written: unreadable', async () => {
    const nowhere = join(directory, 'none', 'table');
    expect(codeOf(await extractor().extract({ executable: fixture, search: false }, nowhere))).toBe(
      'unreadable',
    );
  });
});

describe('a child', () => {
  const limits = { memoryBytes: 128 * 1024 ** 2, timeMs: 60_000 };
  const any = { executable: 'any', search: false };

  it('that hangs is ended when its time is over: timeout', async () => {
    const hanging = extractor({ program: program('hang'), limits });
    const outcome = hanging.extract(any, output);
    await clock.advance(limits.timeMs);
    expect(codeOf(await outcome)).toBe('timeout');
  });

  it.each(['grow-arrays', 'grow-heap'])('that allocates without end (%s): out_of_memory', async (name) => {
    const greedy = extractor({ program: program(name), limits });
    expect(codeOf(await greedy.extract(any, output))).toBe('out_of_memory');
  });

  it.each([
    ['crash', 'SIGSEGV'],
    ['exit', 'code 3: gave up'],
  ])('that ends (%s): crashed', async (name, how) => {
    const outcome = await extractor({ program: program(name), limits }).extract(any, output);
    expect(codeOf(outcome)).toBe('crashed');
    expect((outcome as ExtractionFailure).message).toContain(how);
  });

  it.skipIf(installed === undefined)(
    'that cannot hold a big file: out_of_memory, not a worse table',
    async () => {
      const small = extractor({ limits: { memoryBytes: 200 * 1024 ** 2 } });
      expect(codeOf(await small.extract({ executable: installed!, search: true }, output))).toBe(
        'out_of_memory',
      );
    },
  );

  it('that failed is replaced', async () => {
    const failing = extractor({ program: program('crash'), limits });
    expect(codeOf(await failing.extract(any, output))).toBe('crashed');
    expect(codeOf(await failing.extract(any, output))).toBe('crashed');
    expect(failing.metrics()).toMatchObject({ failures: 2, childrenStarted: 2 });
  });

  it.skipIf(!hasSetpriv)('ends with a server that is killed while it hangs', async () => {
    const script = fileURLToPath(program('hang-until-killed'));
    const server = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [text] = (await once(server.stdout, 'data')) as [Buffer];
    const pid = Number(text.toString());
    const isThere = () =>
      existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    expect(isThere()).toBe(true);
    server.kill('SIGKILL');
    await expect.poll(isThere).toBe(false);
  });

  it('ends with the pool, whatever it does', async () => {
    const hanging = extractor({ program: program('hang'), limits });
    const outcome = hanging.extract(any, output);
    await hanging.stop();
    expect(codeOf(await outcome)).toBe('crashed');
    expect(codeOf(await hanging.extract(any, output))).toBe('crashed');
  });
});
