// Keeps files of random bytes under their digest until it is killed, a line for each.
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { ManualClock } from '@symkeep/cache';
import { DirectoryStore } from '../../src/blobs/directory-store.ts';

const store = new DirectoryStore(process.argv[2]!, new ManualClock());
for (let files = 0; files < 10_000; files++) {
  const bytes = randomBytes(300_000);
  const key = `files/${createHash('sha256').update(bytes).digest('hex')}`;
  if (files % 2 === 0) await store.keepBytes(key, bytes);
  else {
    const path = await store.stagingPath();
    await writeFile(path, bytes);
    await store.keepFile(key, path);
  }
  process.stdout.write('kept\n');
}
