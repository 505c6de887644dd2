import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Demangler, demangle } from '../src/demangle/index.ts';

const fixtures = join(import.meta.dirname, '../fixtures/demangle');

/** `name<TAB>what the yardstick prints` */
function readPairs(file: string): [name: string, readable: string][] {
  const lines = readFileSync(join(fixtures, file), 'utf8').trimEnd().split('\n');
  return lines.map((line) => {
    const tab = line.indexOf('\t');
    return [line.slice(0, tab), line.slice(tab + 1)];
  });
}

describe('agreement with llvm-cxxfilt 19 and rustc-demangle', () => {
  const files = readdirSync(fixtures).filter((file) => file.endsWith('.tsv'));

  it('has names of every kind to compare', () => {
    expect(files.sort()).toEqual(['cpp.tsv', 'rust-legacy.tsv', 'rust-v0.tsv', 'tricky.tsv']);
    expect(files.flatMap(readPairs).length).toBeGreaterThan(3000);
  });

  it.each(files)('%s: every name prints the same', (file) => {
    const pairs = readPairs(file);
    expect(pairs.filter(([name, readable]) => demangle(name) !== readable)).toEqual([]);
    expect(pairs.filter(([name, readable]) => name !== readable).length).toBeGreaterThan(pairs.length * 0.8);
  });
});

describe('what stands around a name', () => {
  it.each([
    ['_ZNSt6localeC1Ev@@GLIBCXX_3.4', 'std::locale::locale()@@GLIBCXX_3.4'],
    ['_ZNSt6localeC1Ev@GLIBCXX_3.4', 'std::locale::locale()@GLIBCXX_3.4'],
    ['_ZN1A3fooEv.cold@V1', 'A::foo() (.cold)@V1'],
    ['_ZN1A3fooEv.part.0.isra.1', 'A::foo() (.part.0.isra.1)'],
    ['_RNvC1a1b.llvm.123@V1', 'a::b (.llvm.123)@V1'],
    ['._ZN1A3fooEv', '.A::foo()'],
  ])('is kept: %s', (name, readable) => {
    expect(demangle(name)).toBe(readable);
  });

  it.each([
    '',
    '_',
    '.',
    '@',
    '_Z',
    '_R',
    '_ZN',
    '_Z3fo',
    '_Z1fvx',
    '_ZN1A3fooEv-cold',
    '_ZTV',
    'main',
    '__libc_start_main@@GLIBC_2.34',
    '_dl_start',
    '_GLOBAL__sub_I_main.cpp',
    '__Z3foov',
    '____Z3foov_block_invoke',
    '.._Z3foov',
    '_RNvC1a1b-x',
    '_Z1fvx@V1',
    'ZN1A3fooEv',
    ' _Z1fv',
  ])('is no reason to touch what is no mangled name: %j', (name) => {
    expect(demangle(name)).toBe(name);
  });

  it('counts bytes, not characters, in C++ identifiers', () => {
    expect(demangle('_ZN7größe8straße1Ev')).toBe('größe::straße1()');
    expect(demangle('_Z4🙂v')).toBe('🙂()');
    expect(demangle('_Z2🙂v')).toBe('_Z2🙂v');
  });
});

describe('Rust and C++ apart', () => {
  it.each([
    ['_ZN4core3fmt5write17h0123456789abcdefE', 'core::fmt::write'],
    ['_ZN4core3fmt5write17h0123456789abcdefE.llvm.12AB', 'core::fmt::write'],
    ['_ZN4core3fmt5write17h0123456789abcdefE.exit.i', 'core::fmt::write.exit.i'],
    ['_ZN4core3fmt5write17h0123456789abcdefE.0.llvm.17', 'core::fmt::write.0'],
    ['_ZN4core17h0123456789abcdefE@V1', 'core@V1'],
  ])('a hash of 16 digits at the end makes %s legacy Rust', (name, readable) => {
    expect(demangle(name)).toBe(readable);
  });

  it.each([
    ['_ZN1a17h0000000000000000E', 'a::h0000000000000000'],
    ['_ZN1a17h0123012301230123E', 'a::h0123012301230123'],
    ['_ZN1a17h0123456789abcdeE', '_ZN1a17h0123456789abcdeE'],
    ['_ZN1a17h0123456789abcdegE', 'a::h0123456789abcdeg'],
    ['_ZN1a17h0123456789abcdefEv', 'a::h0123456789abcdef()'],
    ['_ZN1a17h0123456789abcdef1bE', 'a::h0123456789abcdef::b'],
  ])('%s is C++', (name, readable) => {
    expect(demangle(name)).toBe(readable);
  });

  it.each([
    ['$LP$i8$RP$', '(i8)'],
    ['_$LT$T$u20$as$u20$a..B$GT$', '<T as a::B>'],
    ['a..b', 'a::b'],
    ['a.b', 'a.b'],
    ['_$u7b$$u7d$', '{}'],
    ['$u7f$', '$u7f$'],
    ['$ud800$', '$ud800$'],
    ['$u110000$', '$u110000$'],
    ['$u1f642$', '🙂'],
    ['$XX$a..b', '$XX$a..b'],
    ['a..b$XX', 'a::b$XX'],
  ])('the escapes of %s are decoded as rustc does', (element, readable) => {
    expect(demangle(`_ZN${element.length}${element}17h0123456789abcdefE`)).toBe(readable);
  });
});

describe('Demangler', () => {
  it('answers as demangle does, the first and every other time', () => {
    const demangler = new Demangler();
    const pairs = readPairs('tricky.tsv');
    for (const [name, readable] of [...pairs, ...pairs]) expect(demangler.demangle(name)).toBe(readable);
  });

  it.each([0, 200, 5000])('answers right with room for %d characters', (charsMax) => {
    const demangler = new Demangler(charsMax);
    const pairs = readPairs('rust-v0.tsv');
    for (const [name, readable] of [...pairs, ...pairs]) expect(demangler.demangle(name)).toBe(readable);
  });
});
