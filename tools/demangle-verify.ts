/**
 * `node tools/demangle-verify.ts FILE…`: demangles every symbol of ELF files and archives (or every line of a .txt file)
 * and compares with `llvm-cxxfilt-19`; legacy Rust names, which that tool prints as C++, with binutils' `c++filt`.
 * Prints the agreement of each file and the disagreements; exits 1 below 99.9 %.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { demangle } from '../libs/symbols/src/demangle/index.ts';

const agreementMin = 0.999;
const disagreementsShownMax = 20;
const outputBytesMax = 1 << 30;

const legacyRust = /^_ZN.*17h[0-9a-f]{16}E/;

interface Disagreement {
  name: string;
  expected: string;
  actual: string;
}

function run(tool: string, args: readonly string[], input = ''): string {
  const { stdout, error, status } = spawnSync(tool, args, {
    input,
    encoding: 'utf8',
    maxBuffer: outputBytesMax,
  });
  if (error !== undefined) throw error;
  if (status !== 0 && stdout === '') throw new Error(`${tool} ${args.join(' ')} ended with ${status}`);
  return stdout;
}

/** The names of both symbol tables that a mangling scheme could have made, once each, without versions. */
function namesOf(file: string): string[] {
  const text = file.endsWith('.txt')
    ? readFileSync(file, 'utf8')
    : run('llvm-nm-19', ['--format=just-symbols', file]) +
      run('llvm-nm-19', ['-D', '--format=just-symbols', file]);
  const names = text.split('\n').map((line) => line.replace(/@.*$/, ''));
  return [...new Set(names)].filter((name) => /^\.?_{1,4}[ZR]/.test(name));
}

/** binutils keeps the hash of a legacy Rust name, which we and rustc leave out. */
function dropHash(name: string): string {
  return name.replace(/::h[0-9a-f]{16}$/, '');
}

function compare(names: readonly string[], tool: string): Disagreement[] {
  const printed = run(tool, [], names.join('\n')).split('\n');
  const expected = tool === 'c++filt' ? printed.map(dropHash) : printed;
  return names
    .map((name, index) => ({ name, expected: expected[index] ?? '', actual: demangle(name) }))
    .filter(({ expected, actual }) => expected !== actual);
}

function verify(file: string): boolean {
  const names = namesOf(file);
  // binutils drops what stands behind the hash, rustc keeps it: compared without.
  const legacy = names.flatMap((name) => legacyRust.exec(name)?.[0] ?? []);
  const others = names.filter((name) => !legacyRust.test(name));
  const disagreements = [
    ...compare(others, 'llvm-cxxfilt-19'),
    ...(legacy.length > 0 ? compare(legacy, 'c++filt') : []),
  ];
  const agreement = names.length === 0 ? 1 : 1 - disagreements.length / names.length;
  console.log(`${basename(file)}: ${names.length} names, ${(agreement * 100).toFixed(3)} % agree`);
  for (const { name, expected, actual } of disagreements.slice(0, disagreementsShownMax)) {
    console.log(`  ${name}\n    expected ${expected}\n    actual   ${actual}`);
  }
  return agreement >= agreementMin;
}

const files = process.argv.slice(2);
if (files.length === 0) console.error('usage: node tools/demangle-verify.ts FILE…');
const isGood = files.map(verify).every((good) => good);
process.exitCode = isGood && files.length > 0 ? 0 : 1;
