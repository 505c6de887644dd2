// Each read of a socket makes a buffer of 64 KiB outside of V8's heap, of which V8 lets over a hundred megabytes pile up
// before it looks: more than all else that a server holds. While files stream in, it is told to look more often; what is
// young and dead costs it a millisecond or two.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Of files received, in this process. */
const collectEveryBytes = 8 * 1024 * 1024;

type Collect = (options: { readonly type: 'minor' }) => void;

let collect: Collect | undefined;
let uncollected = 0;

/** To be told of what was read and is not needed any more. */
export function forgetBuffers(bytes: number): void {
  uncollected += bytes;
  if (uncollected < collectEveryBytes) return;
  uncollected = 0;
  collect ??= exposedCollect();
  collect({ type: 'minor' });
}

function exposedCollect(): Collect {
  setFlagsFromString('--expose-gc');
  const exposed = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return exposed;
}
