#!/usr/bin/env node
// Runs src/main.ts, which is TypeScript: on this Node if it is new enough, else on the one that npm installed beside us.
// Plain JavaScript that old versions of Node can read.
import { spawn } from 'node:child_process';
import module, { createRequire } from 'node:module';
import { dirname } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** The first that runs TypeScript without being asked to, and has zstd. */
const majorMin = 24;

if (Number.parseInt(process.versions.node, 10) >= majorMin) {
  module.enableCompileCache();
  // Threads and child processes use it only where the environment says so, and then start in half the time.
  const cache = module.getCompileCacheDir();
  if (cache !== undefined) process.env.NODE_COMPILE_CACHE ??= dirname(cache);
  await import('../src/main.ts');
} else {
  runOn(pinnedNode());
}

function pinnedNode() {
  const name = `node-${process.platform}-${process.arch}/bin/node`;
  try {
    return createRequire(import.meta.url).resolve(name);
  } catch {
    process.stderr.write(
      `symkeep needs Node ${majorMin}; this is ${process.version}, and npm installed none (run npm ci)\n`,
    );
    process.exit(1);
  }
}

function runOn(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  // A terminal sends its signals to both; what is sent to this process alone goes on to the other.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'])
    process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`symkeep: ${node} cannot be run: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    process.removeAllListeners(signal ?? 'exit');
    if (signal === null) process.exit(code ?? 1);
    else process.kill(process.pid, signal);
  });
}
