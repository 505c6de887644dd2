// A thread beside the one that reads inputs: ends the process when one input takes far too long, and says which.
import { writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

const lookEveryMs = 500;
/** 20 seconds; looks, not time: a process that was stopped meanwhile has not been looked at. */
const looksMax = 40;
const { current, name } = workerData as { readonly current: Int32Array; readonly name: string };

let seen = Atomics.load(current, 0);
let looks = 0;
setInterval(() => {
  const seed = Atomics.load(current, 0);
  looks = seed === seen ? looks + 1 : 0;
  seen = seed;
  if (looks < looksMax) return;
  writeSync(2, `${name}: seed ${seed} hangs\n`);
  process.kill(process.pid, 'SIGKILL');
}, lookEveryMs);
parentPort?.postMessage('watching');
