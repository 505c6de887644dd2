// The real files under fixtures/, and what readelf said of them.
import { readFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import { type ByteSource, bytesSource } from '../src/index.ts';
import { parseReadelf, type ReadelfFacts } from './readelf.ts';

const folder = new URL('../fixtures/', import.meta.url);

/** A copy of its own, so that a test may change it. */
export function fixtureBytes(name: string): Uint8Array<ArrayBuffer> {
  const bytes = readFileSync(new URL(name, folder));
  return Uint8Array.from(name.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes);
}

export function fixtureText(name: string): string {
  return readFileSync(new URL(name, folder), 'utf8');
}

export function fixture(name: string): ByteSource {
  return bytesSource(fixtureBytes(name));
}

export function factsOf(name: string): ReadelfFacts {
  return parseReadelf(fixtureText(`${name}.readelf`));
}

/** Files of every class, byte order and type that share one source. */
export const shapes = [
  'shapes-aarch64',
  'shapes-arm',
  'shapes-i386',
  'shapes-mips',
  'shapes-mips64el',
  'shapes-powerpc',
  'shapes-powerpc64',
  'shapes-powerpc64le',
  'shapes-riscv64',
  'shapes-s390x',
  'shapes-x86_64',
  'shapes-stripped',
  'shapes-high',
  'shapes-no-id',
  'shapes-no-sections',
  'shapes-id8',
  'shapes-id16',
  'shapes.o',
  'go-id',
  'go-redacted',
];
