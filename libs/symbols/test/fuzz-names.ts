// Hostile linkage names: whatever stands in them, a bounded text, and the name itself if it is none.
import { readFileSync } from 'node:fs';
import type { FuzzTarget } from '../../../tools/fuzz/target.ts';
import { type Random, randomOf } from '../../../tools/random.ts';
import { ItaniumGrammar } from '../fixtures/demangle/grammar-cpp.ts';
import { RustGrammar } from '../fixtures/demangle/grammar-rust.ts';
import { outputCharsMax } from '../src/demangle/bounds.ts';
import { demangle } from '../src/demangle/index.ts';

const files = ['cpp.tsv', 'rust-v0.tsv', 'rust-legacy.tsv'];
const piecesMax = 12;

export const nameTarget: FuzzTarget = {
  name: 'names',
  weight: 10,
  open: () => {
    const names = files.flatMap(namesIn);
    return (seed) => {
      const random = randomOf(seed);
      const name = random(4) === 0 ? generated(random) : mutantOf(names, random);
      const readable = demangle(name);
      if (readable === name) return 'raw';
      if (readable.length > outputCharsMax + name.length) throw new Error(`${readable.length} characters`);
      return 'demangled';
    };
  },
};

function namesIn(file: string): string[] {
  const text = readFileSync(new URL(`../fixtures/demangle/${file}`, import.meta.url), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(0, line.indexOf('\t')));
}

function generated(random: Random): string {
  return random(2) === 0 ? new ItaniumGrammar(random).name() : new RustGrammar(random).name();
}

/** Cuts, repeats and splices: what is left is nearly a name. */
function mutantOf(names: readonly string[], random: Random): string {
  let name = names[random(names.length)]!;
  for (let count = 1 + random(4); count > 0; count--) {
    const at = 2 + random(name.length);
    const other = names[random(names.length)]!;
    const from = random(other.length);
    const piece = other.slice(from, from + random(piecesMax));
    const inserted = random(30) === 0 ? piece.repeat(random(200)) : piece;
    name = name.slice(0, at) + inserted + name.slice(at + random(4));
  }
  return name;
}
