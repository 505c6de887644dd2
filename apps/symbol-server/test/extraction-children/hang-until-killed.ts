// A server whose extraction hangs: prints its child's process ID, to be ended itself.
import { readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { SystemClock } from '@symkeep/cache';
import { Extractor } from '../../src/extraction/index.ts';

const extractor = new Extractor({ clock: new SystemClock(), program: new URL('./hang.ts', import.meta.url) });
void extractor.extract({ executable: 'any', search: false }, 'nowhere');
await setImmediate();
process.stdout.write(readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8'));
