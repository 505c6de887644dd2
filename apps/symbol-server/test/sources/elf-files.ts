// Real ELF files for tests: those of libs/elf, whose IDs readelf told.
import { readFileSync } from 'node:fs';

const folder = new URL('../../../../libs/elf/fixtures/', import.meta.url);

export function elfFile(name: string): Buffer<ArrayBuffer> {
  return Buffer.from(readFileSync(new URL(name, folder)));
}

/** One build: `debug-plain` whole, `debug-stripped` without symbols, `debug-only` as its separate debug file. */
export const buildId = '8c9e72df13abdc3cb3ab325156716669a66bdd51';
/** `debug-dwz`, to which `debug-dwz1` refers. */
export const dwzId = '279bc483650ab122cf33a0619a8dc4972dbbee8e';

/** The file with another GNU build ID of the same length: another build, as far as anyone can see. */
export function withBuildId(file: Buffer<ArrayBuffer>, from: string, to: string): Buffer<ArrayBuffer> {
  const copy = Buffer.from(file);
  const at = copy.indexOf(Buffer.from(from, 'hex'));
  if (at < 0) throw new Error(`no build ID ${from}`);
  copy.write(to, at, 'hex');
  return copy;
}
