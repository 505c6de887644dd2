// A small program as gcc makes it, whole, stripped, and its debug information in a file of its own.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, copyFileSync, fstatSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileSource, identify } from '@symkeep/elf';
import { type ExecutableId, gnuId } from '@symkeep/protocol';

export const gccAvailable = ['gcc', 'strip', 'objcopy', 'nm'].every(
  (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0,
);

const source = `
#include <stdio.h>
static inline __attribute__((always_inline)) int twice(int x) {
  volatile int y = x;
  return y + y;
}
__attribute__((noinline)) static int inner(int x) {
  return twice(x) + 1;
}
int exported(int x) {
  return inner(x) * 3;
}
int main(int argc, char **argv) {
  printf("%d %s\\n", exported(argc), argv[0]);
  return 0;
}
`;

export interface SmallProgram {
  readonly id: ExecutableId;
  readonly full: string;
  /** Has its dynamic symbols alone: `exported`. */
  readonly stripped: string;
  readonly debug: string;
  /** Virtual address of a function, by name. */
  readonly addressOf: (name: string) => bigint;
}

/** Builds it in a directory; another `variant` is another program, with another build ID. */
export function buildProgram(directory: string, variant = 0): SmallProgram {
  const path = (name: string) => join(directory, `${name}-${variant}`);
  const code = `${path('program')}.c`;
  const [full, stripped, debug] = [path('full'), path('stripped'), path('full.debug')];
  writeFileSync(code, `${source}int variant_${variant}(void) { return ${variant}; }\n`);
  execFileSync('gcc', ['-g', '-O1', '-rdynamic', '-Wl,--build-id=sha1', '-o', full, code]);
  copyFileSync(full, stripped);
  execFileSync('strip', ['--strip-all', stripped]);
  execFileSync('objcopy', ['--only-keep-debug', full, debug]);
  const symbols = execFileSync('nm', [full], { encoding: 'utf8' });
  const addressOf = (name: string) => {
    const [, hex] = new RegExp(`^([0-9a-f]+) [tT] ${name}$`, 'm').exec(symbols) ?? [];
    return BigInt(`0x${hex}`);
  };
  return { id: gnuId(gnuOf(full)), full, stripped, debug, addressOf };
}

function gnuOf(path: string): string {
  const descriptor = openSync(path, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const read = (buffer: Uint8Array, offset: number) =>
      readSync(descriptor, buffer, 0, buffer.length, offset);
    return identify(fileSource(size, read)).gnu!;
  } finally {
    closeSync(descriptor);
  }
}

export function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
