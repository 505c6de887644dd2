import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fuzzSuite } from '../../../tools/fuzz/suite.ts';
import { nameCharsMax, outputCharsMax } from '../src/demangle/bounds.ts';
import { demangle } from '../src/demangle/index.ts';
import { nameTarget } from './fuzz-names.ts';

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

fuzzSuite(nameTarget, 30_000, ['demangled', 'raw']);

describe('hostile names', () => {
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
