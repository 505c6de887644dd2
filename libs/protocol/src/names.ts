// The names under which hosts saw one executable. A record keeps the best few by a total order and counts the rest.
// "Keep the K smallest" is associative, "keep the K newest" is not: any order of reports must give one record.
import { createHash } from 'node:crypto';

/** Names kept per executable; more are counted only. Containers and build trees make thousands. */
export const namesMax = 16;
/** Longer names are refused: PATH_MAX of Linux. */
export const nameLengthMax = 4096;

// Distinct names beyond those kept are counted by linear counting (Whang et al. 1990) over this many bits: merging is OR,
// so the count does not depend on the order of reports. 256 bits estimate up to about 1,400 names, and saturate there.
const sketchBits = 256;

export interface Names {
  /** At most `namesMax`, best first. */
  readonly names: readonly string[];
  /** Hex of the bit set; only once more than `namesMax` names were seen. */
  readonly nameSketch?: string;
}

const volatile = /^(\/tmp\/|\/var\/tmp\/|\/dev\/shm\/|\/run\/)/;
const deleted = ' (deleted)';

/** The name as it is kept: without the kernel's mark of a deleted file, and with lone surrogates replaced. */
export function cleanName(name: string): string {
  const bare = name.endsWith(deleted) ? name.slice(0, -deleted.length) : name;
  return bare.toWellFormed();
}

/** Lower is better: lasting files before temporary ones before those without a file. */
function rankOf(name: string): number {
  if (name.startsWith('/memfd:') || name.startsWith('memfd:')) return 2;
  return volatile.test(name) ? 1 : 0;
}

/** A total order over names: rank, then length (the shorter path is the less peculiar one), then code units. */
export function compareNames(a: string, b: string): number {
  return rankOf(a) - rankOf(b) || a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** Commutative, associative and idempotent. */
export function mergeNames(a: Names, b: Names): Names {
  const union = [...new Set([...a.names, ...b.names])].sort(compareNames);
  if (union.length <= namesMax && a.nameSketch === undefined && b.nameSketch === undefined)
    return { names: union };
  const sketch = sketchOf(a);
  for (const [index, byte] of sketchOf(b).entries()) sketch[index]! |= byte;
  return { names: union.slice(0, namesMax), nameSketch: sketch.toString('hex') };
}

/** How many distinct names were seen: exact up to `namesMax`, an estimate beyond. */
export function countNames({ names, nameSketch }: Names): number {
  if (nameSketch === undefined) return names.length;
  let zeros = 0;
  for (const byte of Buffer.from(nameSketch, 'hex')) {
    for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) === 0) zeros++;
  }
  const estimate = Math.round(-sketchBits * Math.log(Math.max(zeros, 1) / sketchBits));
  return Math.max(estimate, namesMax + 1);
}

/** The last path component of the best name; `""` when no name is known. */
export function fileNameOf(names: readonly string[]): string {
  const best = names[0] ?? '';
  return best.slice(best.lastIndexOf('/') + 1);
}

function sketchOf({ names, nameSketch }: Names): Buffer {
  if (nameSketch !== undefined) return Buffer.from(nameSketch, 'hex');
  const sketch = Buffer.alloc(sketchBits / 8);
  for (const name of names) {
    const bit = createHash('sha256').update(name).digest()[0]!;
    sketch[bit >> 3]! |= 1 << (bit & 7);
  }
  return sketch;
}
