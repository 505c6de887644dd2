// What every blob store promises, run on a directory and on a bucket.
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@symkeep/cache';
import { gnuId } from '@symkeep/protocol';
import { describe, expect, test } from 'vitest';
import { type BlobStore, debugFileKey, tableKey } from '../../src/blobs/blob-store.ts';

/** An empty store, by a clock that tells the real time when it is made. */
export type OpenBlobStore = (clock: ManualClock) => Promise<BlobStore>;

const id = gnuId('ab'.repeat(20));
const hourMs = 3_600_000;
const realTime = (): ManualClock => new ManualClock({ wallMs: Date.now() });
/** More than one part of an upload. */
const large = Buffer.from(Array.from({ length: 6 * 2 ** 20 }, (_, index) => (index * 7) % 251));

async function collect(store: BlobStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

async function bytesOf(stream: AsyncIterable<Uint8Array> | null): Promise<Buffer | null> {
  if (stream === null) return null;
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

export function describeBlobStore(name: string, open: OpenBlobStore): void {
  describe(`${name} keeps the blob contract`, () => {
    describeKeeping(open);
    describeReading(open);
    describeListing(open);
  });
}

function describeKeeping(open: OpenBlobStore): void {
  test('a staged file is consumed and is there whole', async () => {
    const store = await open(realTime());
    for (const bytes of [Buffer.from('few'), Buffer.alloc(0), large]) {
      const path = await store.stagingPath();
      writeFileSync(path, bytes);
      await store.keepFile('files/aa/x', path);
      expect(existsSync(path)).toBe(false);
      expect(await store.info('files/aa/x')).toMatchObject({ key: 'files/aa/x', bytes: bytes.length });
      expect(Buffer.from((await store.read('files/aa/x'))!).equals(bytes)).toBe(true);
    }
  });

  test('a file from elsewhere is consumed as well', async () => {
    const store = await open(realTime());
    // On most hosts another disk than the temporary directory.
    const path = join(mkdtempSync(existsSync('/dev/shm') ? '/dev/shm/blob-' : join(tmpdir(), 'blob-')), 'f');
    writeFileSync(path, large);
    await store.keepFile('files/aa/x', path);
    expect(existsSync(path)).toBe(false);
    expect(Buffer.from((await store.read('files/aa/x'))!).equals(large)).toBe(true);
    expect(await store.sweep(0)).toBe(0);
  });

  test('keeping again renews when it was written', async () => {
    const store = await open(realTime());
    await store.keepBytes('tables/aa/x', Buffer.from('table'));
    const first = (await store.info('tables/aa/x'))!;
    // What a bucket tells has whole seconds.
    expect(Math.abs(first.writtenAt - Date.now())).toBeLessThan(60_000);
    await store.keepBytes('tables/aa/x', Buffer.from('table'));
    const again = (await store.info('tables/aa/x'))!;
    expect(again.writtenAt).toBeGreaterThanOrEqual(first.writtenAt);
    expect(again.bytes).toBe(5);
  });

  test('what is removed is gone, and removing nothing is no mistake', async () => {
    const store = await open(realTime());
    await store.keepBytes('files/aa/x', Buffer.from('x'));
    await store.remove('files/aa/x');
    await store.remove('files/aa/x');
    expect(await store.info('files/aa/x')).toBeNull();
    expect(await collect(store, '')).toEqual([]);
  });

  test('what stays behind in staging is swept once it is old', async () => {
    const clock = realTime();
    const store = await open(clock);
    const path = await store.stagingPath();
    writeFileSync(path, 'half');
    expect(await store.sweep(hourMs)).toBe(0);
    clock.advanceSync(2 * hourMs);
    expect(await store.sweep(hourMs)).toBe(1);
    expect(existsSync(path)).toBe(false);
    expect(await collect(store, '')).toEqual([]);
  });

  test('a key that leads elsewhere is refused', async () => {
    const store = await open(realTime());
    for (const key of [
      'x',
      '',
      '/a/b',
      '../a/b',
      'a/../../b',
      'a//b',
      '.staging/x',
      'a/.b',
      'a/b\0',
      'A/b',
    ]) {
      await expect(store.keepBytes(key, Buffer.from('x')), key).rejects.toThrow('is no key');
      await expect(store.read(key), key).rejects.toThrow('is no key');
    }
  });
}

function describeReading(open: OpenBlobStore): void {
  test('nothing is null, however it is asked for', async () => {
    const store = await open(realTime());
    const key = debugFileKey(id, 'ab'.repeat(32));
    expect(await store.info(key)).toBeNull();
    expect(await store.read(key)).toBeNull();
    expect(await store.read(key, { start: 3, end: 3 })).toBeNull();
    expect(await store.stream(key)).toBeNull();
    expect(await store.stream(key, { start: 0, end: 9 })).toBeNull();
    expect(await store.withFile(key, async () => 'used')).toBeNull();
  });

  test('a range is those bytes, as far as there are any', async () => {
    const store = await open(realTime());
    const key = tableKey(id, 'cd'.repeat(32));
    await store.keepBytes(key, Buffer.from('0123456789'));
    const ranges: [number, number, string][] = [
      [0, 10, '0123456789'],
      [3, 6, '345'],
      [9, 10, '9'],
      [8, 99, '89'],
      [4, 4, ''],
      [10, 12, ''],
      [70, 80, ''],
    ];
    for (const [start, end, text] of ranges) {
      expect(Buffer.from((await store.read(key, { start, end }))!).toString(), `${start}`).toBe(text);
      expect((await bytesOf(await store.stream(key, { start, end })))!.toString(), `${start}`).toBe(text);
    }
  });

  test('a stream is all of it, and a local file while it is used', async () => {
    const store = await open(realTime());
    await store.keepBytes('files/aa/x', large);
    expect((await bytesOf(await store.stream('files/aa/x')))!.equals(large)).toBe(true);
    const seen = await store.withFile('files/aa/x', async (path) => readFileSync(path).equals(large));
    expect(seen).toBe(true);
    const failing = store.withFile('files/aa/x', async () => Promise.reject(new Error('mine')));
    await expect(failing).rejects.toThrow('mine');
    expect(await store.sweep(-hourMs)).toBe(0);
  });
}

function describeListing(open: OpenBlobStore): void {
  test('a list is in the order of the keys, from any part of them', async () => {
    const store = await open(realTime());
    const keys = [
      ...['files/aa/1', 'files/aa/2', 'files/ab/0', 'files/ab0/z', 'journal/00/0001', 'journal/00/0002'],
      ...['journal/0/x', 'journal/00.x', 'tables/ff/9'],
    ];
    for (const key of [...keys].reverse()) await store.keepBytes(key, Buffer.from(key));
    const sorted = [...keys].sort();
    for (const prefix of [
      '',
      'files/',
      'files/a',
      'files/aa/',
      'files/ab',
      'journal/0',
      'tables/ff/9',
      'no/',
    ]) {
      expect(await collect(store, prefix), prefix).toEqual(sorted.filter((key) => key.startsWith(prefix)));
    }
  });

  test('a list of more than a page is whole', async () => {
    const store = await open(realTime());
    const keys = Array.from({ length: 1_050 }, (_, index) => `files/aa/${String(index).padStart(4, '0')}`);
    for (let at = 0; at < keys.length; at += 50) {
      await Promise.all(keys.slice(at, at + 50).map((key) => store.keepBytes(key, Buffer.from('.'))));
    }
    expect(await collect(store, 'files/')).toEqual(keys);
  });
}
