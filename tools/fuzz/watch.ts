// A thread beside the one that reads inputs: ends the process when one input takes far too long, and says which.
import { writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

const hangMs = 20_000;
const { current, name } = workerData as { readonly current: Int32Array; readonly name: string };

let seen = Atomics.load(current, 0);
let since = performance.now();
setInterval(() => {
  const seed = Atomics.load(current, 0);
  if (seed !== seen) {
    seen = seed;
    since = performance.now();
  } else if (performance.now() - since > hangMs) {
    writeSync(2, `${name}: seed ${seed} hangs\n`);
    process.kill(process.pid, 'SIGKILL');
  }
}, 500);
parentPort?.postMessage('watching');
