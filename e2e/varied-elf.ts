// Many small executables out of one that gcc made: each has a build ID and a function name of its own, so that each has a
// table of its own. What the table must be is known by extracting it in this process.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const gccAvailable = ['gcc', 'strip', 'objcopy', 'nm', 'readelf'].every(
  (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0,
);

const placeholder = 'variant_000000';
const source = `
#include <stdio.h>
static inline __attribute__((always_inline)) int twice(int x) {
  volatile int y = x;
  return y + y;
}
__attribute__((noinline)) static int inner(int x) {
  return twice(x) + 1;
}
int ${placeholder}(int x) {
  return inner(x) * 3;
}
int main(int argc, char **argv) {
  printf("%d %s\\n", ${placeholder}(argc), argv[0]);
  return 0;
}
`;

export interface VariedElf {
  readonly buildId: string;
  /** Its function that the others have by another name. */
  readonly name: string;
  readonly path: string;
}

export class VariedElfs {
  readonly #directory: string;
  readonly #bytes: { readonly full: Buffer; readonly stripped: Buffer; readonly debug: Buffer };
  readonly #buildId: Buffer;
  /** Virtual addresses of `inner` and of the varied function. */
  readonly addresses: { readonly inner: string; readonly varied: string };

  constructor(directory: string) {
    this.#directory = directory;
    const path = (name: string) => join(directory, name);
    writeFileSync(path('a.c'), source);
    execFileSync('gcc', ['-g', '-O1', '-rdynamic', '-Wl,--build-id=sha1', '-o', path('full'), path('a.c')]);
    execFileSync('strip', ['--strip-all', '-o', path('stripped'), path('full')]);
    execFileSync('objcopy', ['--only-keep-debug', path('full'), path('debug')]);
    const read = (name: string) => readFileSync(path(name));
    this.#bytes = { full: read('full'), stripped: read('stripped'), debug: read('debug') };
    const notes = execFileSync('readelf', ['-n', path('full')], { encoding: 'utf8' });
    this.#buildId = Buffer.from(/Build ID: ([0-9a-f]{40})/.exec(notes)![1]!, 'hex');
    const symbols = execFileSync('nm', [path('full')], { encoding: 'utf8' });
    const addressOf = (name: string) =>
      `0x${Number.parseInt(new RegExp(`^([0-9a-f]+) [tT] ${name}$`, 'm').exec(symbols)![1]!, 16).toString(16)}`;
    this.addresses = { inner: addressOf('inner'), varied: addressOf(placeholder) };
  }

  make(number: number, form: 'full' | 'stripped' | 'debug' = 'full'): VariedElf {
    const name = `variant_${String(number).padStart(6, '0')}`;
    const buildId = createHash('sha1').update(name).digest();
    const bytes = Buffer.from(this.#bytes[form]);
    replaceAll(bytes, Buffer.from(placeholder), Buffer.from(name));
    replaceAll(bytes, this.#buildId, buildId);
    const path = join(this.#directory, `${form}-${number}`);
    writeFileSync(path, bytes);
    return { buildId: buildId.toString('hex'), name, path };
  }
}

function replaceAll(bytes: Buffer, from: Buffer, to: Buffer): void {
  for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, at + to.length)) to.copy(bytes, at);
}
