import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ItaniumGrammar } from '../fixtures/demangle/grammar-cpp.ts';
import { RustGrammar } from '../fixtures/demangle/grammar-rust.ts';
import { nameCharsMax, outputCharsMax } from '../src/demangle/bounds.ts';
import { demangle } from '../src/demangle/index.ts';

const fixtures = join(import.meta.dirname, '../fixtures/demangle');
const names = ['cpp.tsv', 'rust-v0.tsv', 'rust-legacy.tsv'].flatMap((file) =>
  readFileSync(join(fixtures, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(0, line.indexOf('\t'))),
);

/** mulberry32: a failure can be repeated. */
function seeded(start: number): (n: number) => number {
  let state = start;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
  };
}

/** Cuts, repeats and splices: what is left is nearly a name. */
function mutate(random: (n: number) => number): string {
  let name = names[random(names.length)]!;
  for (let count = 1 + random(4); count > 0; count -= 1) {
    const at = 2 + random(name.length);
    const other = names[random(names.length)]!;
    const from = random(other.length);
    const piece = other.slice(from, from + random(12));
    const inserted = random(30) === 0 ? piece.repeat(random(200)) : piece;
    name = name.slice(0, at) + inserted + name.slice(at + random(4));
  }
  return name;
}

/** The readable name; fails when it is longer than the output may be with the suffix behind it. */
function demangleBounded(name: string): string {
  const readable = demangle(name);
  if (readable !== name && readable.length > outputCharsMax + name.length) {
    expect.fail(`${readable.length} characters for ${name}`);
  }
  return readable;
}

function substitution(index: number): string {
  return index === 0 ? 'S_' : `S${(index - 1).toString(36).toUpperCase()}_`;
}

/** Every recursive production, nested `n` deep. */
const nestings: Record<string, (n: number) => string> = {
  pointer: (n) => `_Z1f${'P'.repeat(n)}i`,
  qualified: (n) => `_Z1f${'KP'.repeat(n)}i`,
  vendor: (n) => `_Z1f${'U3foo'.repeat(n)}i`,
  array: (n) => `_Z1f${'A1_'.repeat(n)}i`,
  member: (n) => `_Z1f${'M1a'.repeat(n)}i`,
  function: (n) => `_Z1f${'PF'.repeat(n)}i${'vE'.repeat(n)}`,
  template: (n) => `_Z1f${'1aI'.repeat(n)}i${'E'.repeat(n)}`,
  pack: (n) => `_Z1fI${'J'.repeat(n)}${'E'.repeat(n)}Evv`,
  nested: (n) => `_ZN${'1a'.repeat(n)}E`,
  tags: (n) => `_Z1a${'B1b'.repeat(n)}`,
  modules: (n) => `_Z${'W1a'.repeat(n)}1b`,
  local: (n) => `_Z${'Z'.repeat(n)}1fv${'E1a'.repeat(n)}`,
  lambda: (n) => `_Z1f${'N1aUl'.repeat(n)}i${'E_E'.repeat(n)}`,
  binary: (n) => `_Z1fIX${'plLi1E'.repeat(n)}Li1EEEvv`,
  cast: (n) => `_Z1fIX${'cvi'.repeat(n)}Li1EEEvv`,
  braced: (n) => `_Z1fIXil${'di1a'.repeat(n)}Li1EEEEvv`,
  declaration: (n) => `_Z1fI${'Tt'.repeat(n)}Ty${'E'.repeat(n)}iEvv`,
  substitution: (n) => `_Z1f1a${Array.from({ length: n }, (_, i) => `P${substitution(i)}`).join('')}`,
  'rust reference': (n) => `_RINvC1a1b${'R'.repeat(n)}uE`,
  'rust path': (n) => `_R${'Nv'.repeat(n)}C1a${'1b'.repeat(n)}`,
  'rust impl': (n) => `_R${'MC1a'.repeat(n)}u`,
};

/** Each parameter is a function of the one before it, twice: the text doubles with each. */
function doubling(first: string, start: number, count: number): string {
  const parameter = (_: unknown, i: number): string => `F${substitution(start + i).repeat(2)}E`;
  return `_Z1f${first}${Array.from({ length: count }, parameter).join('')}`;
}

describe('bounds', () => {
  it.each(Object.keys(nestings))('100 nested levels of %s are read', (kind) => {
    const name = nestings[kind]!(100);
    expect(demangle(name)).not.toBe(name);
  });

  it.each(Object.keys(nestings))('no depth of %s throws', (kind) => {
    for (const depth of [380, 390, 1000, 5000]) demangleBounded(nestings[kind]!(depth));
    const deepest = nestings[kind]!(30_000);
    expect(demangleBounded(deepest)).toBe(deepest);
  });

  it.each([
    ['substitutions that double', doubling('N1AE', 0, 60)],
    ['packs that double', doubling('IJEJEEvDpT_', 1, 60)],
    ['thousands that double', doubling('N1AE', 0, 5000)],
    ['rust: bound lifetimes', '_RMC0FGZZZ_Eu'],
    ['rust: a path in itself', '_RNvB_1a'],
    ['rust: a type in itself', '_RMC0RB2_'],
    ['rust: back references that double', '_RYFG_FGyyEvRYFF_EvRYFFEvERLB_B_B_ERLRjB_B_B_'],
    ['rust: an endless identifier', `_RNvC1au60000_${'a'.repeat(60_000)}`],
    ['a length beyond all', `_Z${'9'.repeat(400)}a`],
    ['a substitution beyond all', `_Z1fS${'Z'.repeat(400)}_`],
  ])('the raw name comes back for %s', (_, name) => {
    expect(demangle(name)).toBe(name);
  });

  it('the raw name comes back when it is longer than names are', () => {
    const longest = `_Z${nameCharsMax}${'a'.repeat(nameCharsMax)}v`;
    expect(demangle(longest)).toBe(longest);
    expect(demangle(`_Z60000${'a'.repeat(60_000)}v`)).toBe(`${'a'.repeat(60_000)}()`);
  });
});

describe('hostile names', () => {
  it('100,000 mutated names: none throws', () => {
    const random = seeded(1);
    let demangled = 0;
    for (let count = 0; count < 100_000; count += 1) {
      const name = mutate(random);
      if (demangleBounded(name) !== name) demangled += 1;
    }
    expect(demangled).toBeGreaterThan(1000);
  });

  it('20,000 names of the grammars: none throws', () => {
    const random = seeded(2);
    const grammars = [new ItaniumGrammar(random), new RustGrammar(random)];
    let demangled = 0;
    for (let count = 0; count < 20_000; count += 1) {
      const name = grammars[count % 2]!.name();
      if (demangleBounded(name) !== name) demangled += 1;
    }
    expect(demangled).toBeGreaterThan(5000);
  });

  it('any text: nothing throws, and what does not start as a name stays', () => {
    const alphabet = fc.constantFrom(...'_ZNRISTKLEJXDCPF0123456789abcfimpstuv$.@ü'.split(''), '\ud800');
    const tail = fc.string({ unit: alphabet, maxLength: 60 });
    fc.assert(
      fc.property(fc.constantFrom('_Z', '_R', '___Z', '_ZN', '_ZTV', '._Z', 'x'), tail, (start, rest) => {
        const readable = demangleBounded(start + rest);
        if (start === 'x') expect(readable).toBe(start + rest);
      }),
      { numRuns: 20_000 },
    );
  });
});
