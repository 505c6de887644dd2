// The blob contract on a directory, and what only a directory can do wrong: run full, or be left half written.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@symkeep/cache';
import { describe, expect, test } from 'vitest';
import { DirectoryStore } from '../../src/blobs/directory-store.ts';
import { describeBlobStore } from './blob-contract.ts';

const folder = (): string => mkdtempSync(join(tmpdir(), 'blobs-'));

describeBlobStore('a directory', async (clock) => new DirectoryStore(join(folder(), 'deep/blobs'), clock));

describe('a directory', () => {
  test('is not made before something comes', async () => {
    const place = join(folder(), 'blobs');
    const store = new DirectoryStore(place, new ManualClock());
    expect(await store.read('files/aa/x')).toBeNull();
    expect(await store.sweep(0)).toBe(0);
    expect(existsSync(place)).toBe(false);
  });

  test('whose folders somebody removed is made again', async () => {
    const place = join(folder(), 'blobs');
    const store = new DirectoryStore(place, new ManualClock());
    await store.keepBytes('files/aa/x', Buffer.from('x'));
    execFileSync('rm', ['-r', join(place, 'files')]);
    await store.keepBytes('files/aa/x', Buffer.from('x')).catch(() => undefined);
    await store.keepBytes('files/aa/x', Buffer.from('x'));
    expect(statSync(join(place, 'files/aa/x')).size).toBe(1);
  });

  test('that cannot be written says that it is away, not that nothing is there', async () => {
    const file = join(folder(), 'file');
    writeFileSync(file, '');
    const store = new DirectoryStore(join(file, 'blobs'), new ManualClock());
    await expect(store.keepBytes('files/aa/x', Buffer.from('x'))).rejects.toMatchObject({
      code: 'unavailable',
      details: { reason: 'blobs' },
    });
  });

  const mounted = mountSmall();
  test.skipIf(mounted === undefined)('that is full says so, and keeps no half file', async () => {
    const store = new DirectoryStore(mounted!, new ManualClock());
    try {
      const large = Buffer.alloc(2 * 2 ** 20, 1);
      await expect(store.keepBytes('files/aa/x', large)).rejects.toMatchObject({
        code: 'unavailable',
        details: { reason: 'disk_full' },
      });
      expect(await store.info('files/aa/x')).toBeNull();
      expect(await store.sweep(-1_000)).toBe(0);
      await store.keepBytes('files/aa/y', Buffer.from('small'));
      expect(await store.info('files/aa/y')).toMatchObject({ bytes: 5 });
    } finally {
      execFileSync('umount', [mounted!]);
    }
  });

  test('holds only whole files after its writer was killed', async () => {
    const place = join(folder(), 'blobs');
    mkdirSync(place);
    const writer = new URL('./endless-writer.ts', import.meta.url).pathname;
    for (let round = 0; round < 5; round++) {
      const child = spawn(process.execPath, [writer, place], { stdio: ['ignore', 'pipe', 'inherit'] });
      // Killed in the middle of what follows the first few.
      for (let lines = 0; lines < 3 + round; ) {
        const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
        lines += chunk.toString().split('\n').length - 1;
      }
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const store = new DirectoryStore(place, new ManualClock());
    let kept = 0;
    for await (const { key } of store.list('')) {
      const digest = createHash('sha256')
        .update(readFileSync(join(place, key)))
        .digest('hex');
      expect(key.endsWith(digest), key).toBe(true);
      kept++;
    }
    expect(kept).toBeGreaterThanOrEqual(15);
  });
});

/** A file system of 1 MiB, where this process may mount one. */
function mountSmall(): string | undefined {
  const place = folder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place], { stdio: 'ignore' });
    return place;
  } catch {
    return undefined;
  }
}
