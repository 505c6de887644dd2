// One `up` per data directory. The lock is an abstract unix socket named after the directory: the kernel gives it to one
// process and takes it back when that ends, however it ends.
import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import { createServer } from 'node:net';

/** Makes the directory if it is not there, and holds it until `release`. Rejects if another process holds it. */
export async function lockData(path: string): Promise<{ folder: string; release: () => void }> {
  mkdirSync(path, { recursive: true });
  const folder = realpathSync(path);
  if (process.platform !== 'linux') return { folder, release: () => undefined };
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new Error(`another symkeep up runs on ${folder}`) : error),
    );
    server.listen(`\0symkeep-up-${name}`, resolve);
  });
  return { folder, release: () => void server.close() };
}
