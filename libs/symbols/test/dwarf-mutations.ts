// Makes DWARF hostile where it matters: forms and attributes of abbreviations, unit headers, references, line
// programs and range lists, besides bytes anywhere.

import type { ElfImage, ElfSection } from '@symkeep/elf';
import type { Random } from '../../../tools/random.ts';
import type { DebugSections } from '../src/dwarf/debug-sections.ts';

export type Contents = Map<string, Uint8Array>;

const suffixes = ['', '.dwo'];
const names = [
  'info',
  'abbrev',
  'line',
  'str',
  'line_str',
  'str_offsets',
  'addr',
  'ranges',
  'rnglists',
  'cu_index',
];

/** The sections of an image that can be mutated, in memory. */
export function contentsOf(image: ElfImage): Contents {
  const contents: Contents = new Map();
  for (const suffix of suffixes) {
    for (const name of names) {
      const section: ElfSection | undefined = image.section(`.debug_${name}${suffix}`);
      if (section !== undefined) contents.set(section.name, section.contents());
    }
  }
  return contents;
}

export function sectionsWith(base: DebugSections, contents: Contents): DebugSections {
  return { ...base, section: (name) => contents.get(name) };
}

const forms = [
  0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
  0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25,
  0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d,
];
const attributes = [
  0x01, 0x03, 0x10, 0x11, 0x12, 0x1b, 0x31, 0x3b, 0x3c, 0x47, 0x55, 0x57, 0x58, 0x59, 0x6e, 0x72, 0x73, 0x74,
  0x76,
];
const tags = [0x01, 0x04, 0x0b, 0x11, 0x1d, 0x2e, 0x3c, 0x41, 0x48, 0x4a];
const bytes = [0, 1, 2, 3, 4, 5, 8, 0x0f, 0x7f, 0x80, 0xfe, 0xff];
const words = [0, 1, 2, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_fffe, 0xffff_ffff];

export type Mutation = (contents: Contents, random: Random) => void;

function pick<T>(values: readonly T[], random: Random): T {
  return values[random(values.length)]!;
}

/** A copy of a section that may be written to; undefined if there is nothing in it. */
function writable(contents: Contents, name: string): Uint8Array | undefined {
  const bytesOf = contents.get(name);
  if (bytesOf === undefined || bytesOf.length === 0) return undefined;
  const copy = Uint8Array.from(bytesOf);
  contents.set(name, copy);
  return copy;
}

function anySection(contents: Contents, random: Random): string {
  return pick([...contents.keys()], random);
}

function named(contents: Contents, part: string, random: Random): string {
  const fitting = [...contents.keys()].filter((name) => name.startsWith(`.debug_${part}`));
  return fitting.length === 0 ? '' : pick(fitting, random);
}

function put(section: Uint8Array, at: number, values: readonly number[]): void {
  values.forEach((value, index) => {
    if (at + index < section.length) section[at + index] = value;
  });
}

function word(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}

function changeByte(contents: Contents, random: Random): void {
  const section = writable(contents, anySection(contents, random));
  if (section === undefined) return;
  const at = random(section.length);
  section[at] = random(2) === 0 ? section[at]! ^ (1 << random(8)) : pick(bytes, random);
}

function changeWord(contents: Contents, random: Random): void {
  const section = writable(contents, anySection(contents, random));
  if (section !== undefined) put(section, random(section.length), word(pick(words, random)));
}

function truncate(contents: Contents, random: Random): void {
  const name = anySection(contents, random);
  contents.set(name, contents.get(name)!.subarray(0, random(contents.get(name)!.length + 1)));
}

function lengthenLeb(contents: Contents, random: Random): void {
  const section = writable(contents, anySection(contents, random));
  if (section !== undefined) section.fill(0x80 | random(128), random(section.length));
}

function padLeb(contents: Contents, random: Random): void {
  const section = writable(contents, anySection(contents, random));
  if (section === undefined) return;
  const at = random(section.length);
  section.fill(0x80, at, at + random(24));
}

/** References to anywhere in the section, its own entry included: cycles, and siblings behind. */
function redirect(contents: Contents, random: Random): void {
  const section = writable(contents, named(contents, 'info', random));
  if (section !== undefined) put(section, random(section.length), word(random(section.length)));
}

/** Positions of tags, of children flags, and of pairs of attribute and form. */
function abbreviationFields(section: Uint8Array): { readonly tags: number[]; readonly pairs: number[] } {
  const found = { tags: [] as number[], pairs: [] as number[] };
  let at = 0;
  const leb = (): number => {
    const start = at;
    while (at < section.length && section[at]! >= 0x80) at++;
    return section[start] === 0 && at++ === start ? 0 : ++at;
  };
  while (at < section.length) {
    if (leb() === 0) continue;
    found.tags.push(at);
    leb();
    at++;
    for (;;) {
      const pair = at;
      const isEnd = section[pair] === 0 && section[pair + 1] === 0;
      leb();
      const isConstant = section[at] === 0x21;
      leb();
      if (isConstant) leb();
      if (isEnd || at >= section.length) break;
      found.pairs.push(pair);
    }
  }
  return found;
}

function changeAbbreviation(contents: Contents, random: Random): void {
  const section = writable(contents, named(contents, 'abbrev', random));
  if (section === undefined) return;
  const fields = abbreviationFields(section);
  if (fields.pairs.length === 0) return;
  const pair = pick(fields.pairs, random);
  const tag = pick(fields.tags, random);
  const change = random(5);
  if (change === 0) put(section, tag, [pick(tags, random)]);
  else if (change === 1) put(section, tag + 1, [random(2)]);
  else if (change === 2) put(section, pair, [pick(attributes, random)]);
  else put(section, pair + 1, [pick(forms, random)]);
}

function changeUnitHeader(contents: Contents, random: Random): void {
  const section = writable(contents, named(contents, 'info', random));
  if (section !== undefined) put(section, random(Math.min(24, section.length)), [pick(bytes, random)]);
}

/** Opcodes in a row: what no compiler writes. */
function changeLineProgram(contents: Contents, random: Random): void {
  const section = writable(contents, named(contents, 'line', random));
  if (section === undefined) return;
  const isHeader = random(3) === 0;
  const at = isHeader ? random(Math.min(40, section.length)) : random(section.length);
  put(
    section,
    at,
    Array.from({ length: isHeader ? 1 : 1 + random(12) }, () => random(16)),
  );
}

function changeRanges(contents: Contents, random: Random): void {
  const section = writable(contents, named(contents, pick(['rnglists', 'ranges', 'addr'], random), random));
  if (section === undefined) return;
  put(section, random(section.length), [
    random(10),
    ...Array.from({ length: random(4) }, () => pick(bytes, random)),
  ]);
}

function swap(contents: Contents, random: Random): void {
  const [one, two] = [anySection(contents, random), anySection(contents, random)];
  const kept = contents.get(one)!;
  contents.set(one, contents.get(two)!);
  contents.set(two, kept);
}

/** By what they aim at; `all` aims at everything, at what breaks readers most often. */
export const mutations = {
  all: [
    changeByte,
    changeByte,
    changeWord,
    truncate,
    padLeb,
    redirect,
    redirect,
    changeAbbreviation,
    changeAbbreviation,
    changeAbbreviation,
    changeUnitHeader,
    changeLineProgram,
    changeLineProgram,
    changeRanges,
    swap,
    lengthenLeb,
  ],
  abbreviations: [changeAbbreviation],
  entries: [redirect, changeUnitHeader, inSections('info', changeByte), inSections('info', changeWord)],
  lines: [changeLineProgram, inSections('line', changeByte), inSections('line', padLeb)],
  ranges: [changeRanges, inSections('rnglists', changeWord), inSections('ranges', changeWord)],
} as const satisfies Record<string, readonly Mutation[]>;

/** A mutation of any section, aimed at some. */
function inSections(part: string, mutation: Mutation): Mutation {
  return (contents, random) => {
    const name = named(contents, part, random);
    const only: Contents = new Map(name === '' ? contents : [[name, contents.get(name)!]]);
    mutation(only, random);
    for (const [changed, bytesOf] of only) contents.set(changed, bytesOf);
  };
}

/** One to six mutations of sections, which themselves stay as they are. */
export function mutate(
  contents: Contents,
  random: Random,
  kinds: readonly Mutation[] = mutations.all,
): Contents {
  const mutant = new Map(contents);
  for (let left = 1 + random(6); left > 0; left--) pick(kinds, random)(mutant, random);
  return mutant;
}
