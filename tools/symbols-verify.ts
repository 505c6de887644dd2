// npm run symbols:verify -- FILE…: compares what symkeep says of an ELF file with what llvm-symbolizer says, at random
// addresses of its `.text` and at call-return addresses minus 1, which is what profiles hold. Every disagreement is
// counted in a class, with samples. Exits with 1 below 99.9 % exact or 99.95 % of innermost lines.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import type { OpenedElf } from '../apps/symbol-server/src/elf-files.ts';
import { openElfFile } from '../apps/symbol-server/src/elf-files.ts';
import {
  bytesSource,
  type ElfImage,
  type ElfSection,
  openElf,
  sectionFlags,
  sectionTypes,
} from '../libs/elf/src/index.ts';
import type { Frame } from '../libs/protocol/src/index.ts';
import {
  type DecodedPage,
  decodePage,
  extract,
  extractGopclntab,
  framesAt,
  mergeRanges,
  openSymbolTable,
  pageOf,
  relativeTo,
  writeSymbolTable,
} from '../libs/symbols/src/index.ts';

const usage = `usage: symbols-verify [options] FILE…
  --count N        addresses of each kind (20000)
  --seed N         of the choice of addresses (1)
  --samples N      disagreements shown of each class (3)
  --code FILE      disassemble this file instead: a .debug file has no code
  --before FILE    ask llvm of this file instead: the same code before dwz moved what it shares elsewhere
  --source go      compare Go's own table alone, with llvm's reading of DWARF
  --reference go   compare all with go tool addr2line, which reads that table: outermost name, innermost line; by
                   default that is asked only where that table alone knows something, which llvm does not read
  --json           one JSON object per file and kind of address`;

const exactMin = 99.9;
const lineMin = 99.95;

/** A frame as far as it is compared. */
interface Line {
  readonly name: string;
  readonly file: string;
  readonly line: number;
}

interface Disagreement {
  readonly address: bigint;
  readonly ours: readonly Line[];
  readonly theirs: readonly Line[];
  readonly cause: string;
}

interface Comparison {
  readonly addresses: number;
  readonly exact: number;
  readonly innermostLines: number;
  /** Addresses that Go's reader was asked for. */
  readonly byGo: number;
  readonly disagreements: readonly Disagreement[];
}

type Lookup = (address: bigint) => Found;

interface Found {
  readonly source: string;
  readonly frames: readonly Line[];
}

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    samples: { type: 'string', default: '3' },
    code: { type: 'string' },
    before: { type: 'string' },
    source: { type: 'string' },
    reference: { type: 'string', default: 'llvm' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

async function verify(file: string): Promise<boolean> {
  const opened = openElfFile({ executable: file, search: true });
  const lookup = lookupIn(opened);
  const usesAlternate = opened.companions.alternate !== undefined && options.before === undefined;
  const isRelocatable = opened.image.header.type === 'rel';
  const code = codeOf(opened.image);
  opened.close();
  // Given a stripped file, llvm would name functions by its dynamic symbols; the debug file has all of them.
  const debugFile = options.before ?? opened.debugFile ?? file;
  const symbolsFile = isRelocatable ? placedCopy(debugFile) : debugFile;
  const shift = isRelocatable ? placedFrom : 0n;
  const random = randomNumbers(Number(options.seed));
  const count = Number(options.count);
  const anywhere = Array.from({ length: count }, () => code(random()));
  const calls = await callReturns(options.code ?? (isRelocatable ? symbolsFile : file), isRelocatable);
  const picked = Array.from({ length: calls.length === 0 ? 0 : count }, () => {
    return (calls[Math.floor(random() * calls.length)] as bigint) - 1n - shift;
  });
  if (calls.length === 0) console.log(`${file}: no calls found (a file without code needs --code)`);
  const results = [
    await check(file, symbolsFile, 'random', anywhere, lookup, { usesAlternate, shift }),
    ...(picked.length === 0
      ? []
      : [await check(file, symbolsFile, 'call', picked, lookup, { usesAlternate, shift })]),
  ];
  if (symbolsFile !== debugFile) rmSync(symbolsFile);
  return results.every(Boolean);
}

async function check(
  file: string,
  symbolsFile: string,
  kind: string,
  addresses: readonly bigint[],
  lookup: Lookup,
  { usesAlternate, shift }: { readonly usesAlternate: boolean; readonly shift: bigint },
): Promise<boolean> {
  const ours = addresses.map(lookup);
  const onlyGo = options.reference === 'go';
  const asked = addresses.map((address) => address + shift);
  const theirs = onlyGo ? addresses.map(() => []) : await askLlvm(symbolsFile, asked);
  const names = usesAlternate ? await askElfutils(symbolsFile, addresses) : [];
  // llvm does not read Go's table: where that alone knows something, it is compared with Go's own reader.
  const inTable = addresses.filter((_, index) => {
    return onlyGo || (ours[index]?.source === 'gopclntab' && !theirs[index]?.some(({ line }) => line > 0));
  });
  const byGo = inTable.length === 0 ? new Map() : await askGo(symbolsFile, inTable);
  const comparison = compare(addresses, ours, theirs, names, byGo);
  report(file, kind, comparison);
  const percent = (part: number) => (100 * part) / comparison.addresses;
  return percent(comparison.exact) >= exactMin && percent(comparison.innermostLines) >= lineMin;
}

/** What the stored table answers, not what the extractors meant. */
function lookupIn({ image, companions }: OpenedElf): Lookup {
  const goTable = options.source === 'go' ? extractGopclntab(image) : undefined;
  const extracted = goTable === undefined ? extract(image, companions) : undefined;
  for (const { source, error } of extracted?.damage ?? []) console.log(`  ${source}: ${error.message}`);
  const { header, pages } = writeSymbolTable(extracted?.ranges ?? mergeRanges(goTable ? [goTable] : []));
  const table = openSymbolTable(header);
  const decoded: DecodedPage[] = [];
  return (address) => {
    const relative = relativeTo(table.imageBase, address);
    const page = pageOf(table, relative);
    if (page < 0) return { source: 'none', frames: [] };
    decoded[page] ??= decodePage(table, page, pages[page] as Buffer);
    const { source, frames } = framesAt(table, decoded[page], relative);
    return { source, frames: frames.map(lineOf) };
  };
}

function lineOf({ rawName, file, line }: Frame): Line {
  return { name: rawName, file, line };
}

// --- addresses

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The address at each fraction of `.text`; of all code of a relocatable file, which may have a section per function. */
function codeOf({ header, sections }: ElfImage): (fraction: number) => bigint {
  const isCode = ({ name, flags }: ElfSection) =>
    header.type === 'rel' ? (flags & sectionFlags.execute) !== 0 : name === '.text';
  const spans = sections.filter((section) => isCode(section) && section.size > 0);
  const total = spans.reduce((sum, { size }) => sum + size, 0);
  if (total === 0) throw new Error('no code');
  return (fraction) => {
    let rest = Math.floor(fraction * total);
    const span = spans.find(({ size }) => {
      if (rest < size) return true;
      rest -= size;
      return false;
    });
    return (span as ElfSection).address + BigInt(rest);
  };
}

/** Far from 0, where the debug information of what `ld -r` dropped points. */
const placedFrom = 0x1000_0000n;

/**
 * A relocatable file whose section headers have the addresses that symkeep gives them, and `placedFrom`: in the file itself
 * all say 0, and llvm takes the code of one section for that of another. Without `.debug_aranges`, which llvm does not
 * relocate.
 */
function placedCopy(file: string): string {
  const bytes = readFileSync(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { header, sections } = openElf(bytesSource(bytes));
  const { offset, entryBytes } = header.sectionTable;
  for (const { index, address, name, flags } of sections) {
    const at = offset + index * entryBytes;
    const placed = address + ((flags & sectionFlags.alloc) === 0 ? 0n : placedFrom);
    if (header.class === 64) view.setBigUint64(at + 16, placed, header.littleEndian);
    else view.setUint32(at + 12, Number(placed), header.littleEndian);
    if (name === '.debug_aranges') view.setUint32(at + 4, sectionTypes.nobits, header.littleEndian);
  }
  const copy = join(tmpdir(), `symbols-verify-${process.pid}-${basename(file)}`);
  writeFileSync(copy, bytes);
  return copy;
}

/** Calls on x86, ARM, AArch64, PowerPC, s390x, MIPS, RISC-V. */
const callInstruction = /^(call[lqw]?|blx?|blr|bctrl|brasl|basr|bas|jalr?|bal)$/;

/** Addresses behind each call in `.text`, or in all code. GNU's objdump knows this machine only; llvm's takes debug files for the file. */
async function callReturns(file: string, inAll: boolean): Promise<bigint[]> {
  const flags = ['-d', '--no-show-raw-insn', ...(inAll ? [] : ['-j', '.text']), file];
  const found = await callReturnsBy('objdump', flags);
  return found.length > 0 ? found : callReturnsBy('llvm-objdump-19', flags);
}

async function callReturnsBy(program: string, flags: readonly string[]): Promise<bigint[]> {
  const returns: bigint[] = [];
  const objdump = spawn(program, flags, {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let wasCall = false;
  for await (const line of createInterface({ input: objdump.stdout })) {
    const match = /^\s*([0-9a-f]+):\s+(\S+)/.exec(line);
    if (match === null) continue;
    if (wasCall) returns.push(BigInt(`0x${match[1]}`));
    wasCall = callInstruction.test(match[2] as string);
  }
  return returns;
}

// --- references

async function askLlvm(file: string, addresses: readonly bigint[]): Promise<Line[][]> {
  const flags = ['--inlines', '--no-demangle', '--functions=linkage', '--output-style=JSON'];
  const answers: Line[][] = [];
  for await (const text of ask('llvm-symbolizer-19', [`--obj=${file}`, ...flags], addresses)) {
    const { Symbol: found = [] } = JSON.parse(text) as { Symbol?: LlvmFrame[] };
    const frames = found.map((frame) => {
      return { name: frame.FunctionName, file: frame.FileName, line: frame.Line };
    });
    // One empty frame stands for none; an empty one among others is a frame.
    const [first] = frames;
    const isNothing = frames.length === 1 && first?.name === '' && first.file === '' && first.line === 0;
    answers.push(isNothing ? [] : frames);
  }
  return answers;
}

interface LlvmFrame {
  readonly FunctionName: string;
  readonly FileName: string;
  readonly Line: number;
}

/** By address one frame: the function that the code is in, and the line of the innermost one. Empty without Go. */
async function askGo(file: string, addresses: readonly bigint[]): Promise<Map<bigint, Line[]>> {
  const lines: string[] = [];
  try {
    for await (const text of ask('go', ['tool', 'addr2line', file], addresses)) lines.push(text);
  } catch (error) {
    console.log(`  go tool addr2line: ${error instanceof Error ? error.message : error}`);
    return new Map();
  }
  return new Map(
    addresses.map((address, index) => {
      const name = lines[2 * index] ?? '?';
      const [, path = '', line = '0'] = /^(.*):(\d+)$/.exec(lines[2 * index + 1] ?? '') ?? [];
      return [address, name === '?' ? [] : [{ name, file: path, line: Number(line) }]];
    }),
  );
}

/** Names, innermost first, by `eu-addr2line -f -i`, which follows dwz references. */
async function askElfutils(file: string, addresses: readonly bigint[]): Promise<string[][]> {
  const answers: string[][] = [];
  // It ends with 1 if it does not know one of the addresses.
  for await (const text of ask('eu-addr2line', ['-a', '-f', '-i', '-e', file], addresses, [0, 1])) {
    if (/^0x[0-9a-f]+$/.test(text)) answers.push([]);
    else if (!/(:\d+|\?\?:0)( .*)?$/.test(text) || text.includes(' inlined at ')) {
      answers.at(-1)?.push(text.replace(/ inlined at .*/, '').replace('??', ''));
    }
  }
  if (answers.length !== addresses.length) throw new Error('eu-addr2line does not read the file');
  return answers;
}

/** The lines a program answers to addresses on its stdin. */
async function* ask(
  program: string,
  flags: readonly string[],
  addresses: readonly bigint[],
  goodCodes: readonly number[] = [0],
) {
  const child = spawn(program, flags, { stdio: ['pipe', 'pipe', 'ignore'] });
  const input = addresses.map((address) => `0x${address.toString(16)}\n`).join('');
  Readable.from([input]).pipe(child.stdin);
  const closed = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout })) if (line !== '') yield line;
  const [code] = (await closed) as [number];
  if (!goodCodes.includes(code)) throw new Error(`${program} ended with ${code}`);
}

// --- comparison

function compare(
  addresses: readonly bigint[],
  ours: readonly Found[],
  theirs: readonly (readonly Line[])[],
  names: readonly (readonly string[])[],
  byGo: ReadonlyMap<bigint, readonly Line[]>,
): Comparison {
  const disagreements: Disagreement[] = [];
  let innermostLines = 0;
  for (const [index, address] of addresses.entries()) {
    const { source, frames } = ours[index] as Found;
    const mine = byGo.has(address) ? asOneFrame(frames) : frames;
    const named = names[index];
    const answer = byGo.get(address) ?? theirs[index] ?? [];
    const yours = named === undefined ? answer : withNames(answer, named, mine);
    if (sameLine(mine[0], yours[0])) innermostLines++;
    const cause = causeOf(mine, yours, source);
    if (cause !== undefined) disagreements.push({ address, ours: mine, theirs: yours, cause });
  }
  const exact = addresses.length - disagreements.length;
  const asked = addresses.filter((address) => byGo.has(address)).length;
  return { addresses: addresses.length, exact, innermostLines, byGo: asked, disagreements };
}

function asOneFrame(frames: readonly Line[]): Line[] {
  const [innermost, outermost] = [frames[0], frames.at(-1)];
  return innermost === undefined || outermost === undefined ? [] : [{ ...innermost, name: outermost.name }];
}

/**
 * llvm does not follow dwz references: where it has no name, or only the plain one of a function whose linkage name is in
 * the other file, that of elfutils counts if it sees as many frames. A name that neither has in full is not compared.
 */
function withNames(
  frames: readonly Line[],
  names: readonly string[],
  ours: readonly Line[],
): readonly Line[] {
  return frames.map((frame, index) => {
    const mine = ours[index]?.name ?? '';
    if (frame.name !== '' && !isPlainNameOf(frame.name, mine)) return frame;
    const name = names.length === frames.length ? (names[index] ?? '') : '';
    return { ...frame, name: name === '' || isPlainNameOf(name, mine) ? mine : name };
  });
}

/** Whether `linkage` is a C++ name of a function called `plain`: `add` for `…3add…`. */
function isPlainNameOf(plain: string, linkage: string): boolean {
  return linkage.startsWith('_Z') && linkage.includes(`${plain.length}${plain}`);
}

/** Undefined if both say the same; else what they differ in. */
function causeOf(ours: readonly Line[], theirs: readonly Line[], source: string): string | undefined {
  if (ours.length === 0 && theirs.length === 0) return undefined;
  if (ours.length === 0) {
    const known = theirs.some(({ line }) => line > 0);
    return known
      ? 'only llvm has frames'
      : 'only llvm has a name: a symbol without size reaches on, or ends elsewhere';
  }
  if (theirs.length === 0) {
    return `only symkeep has frames (${source}${source === 'gopclntab' ? ', which llvm does not read' : ''})`;
  }
  if (ours.length !== theirs.length) return 'another number of inlined frames';
  for (const [index, mine] of ours.entries()) {
    const yours = theirs[index] as Line;
    const where = index === ours.length - 1 ? 'outermost' : 'inlined';
    if (mine.name !== yours.name) {
      if (yours.name === '') return `llvm has no name for an ${where} frame (dwz, or none in DWARF)`;
      return `another name of an ${where} frame`;
    }
    if (!sameLine(mine, yours)) {
      if (mine.line === 0 && yours.line !== 0) return `symkeep has no line for an ${where} frame`;
      return basename(mine.file) === basename(yours.file) ? 'another line' : 'another file';
    }
  }
  return undefined;
}

function sameLine(a: Line | undefined, b: Line | undefined): boolean {
  return (a?.line ?? 0) === (b?.line ?? 0) && basename(a?.file ?? '') === basename(b?.file ?? '');
}

// --- report

function report(file: string, kind: string, comparison: Comparison): void {
  const { addresses, exact, innermostLines, byGo, disagreements } = comparison;
  const classes = Object.entries(Object.groupBy(disagreements, ({ cause }) => cause));
  const percent = (part: number) => ((100 * part) / addresses).toFixed(3);
  if (options.json) {
    const counts = Object.fromEntries(classes.map(([cause, of]) => [cause, of?.length]));
    const figures = { addresses, exactPercent: percent(exact), innermostPercent: percent(innermostLines) };
    console.log(JSON.stringify({ file, kind, ...figures, byGo, disagreements: counts }));
    return;
  }
  const goNote = byGo === 0 ? '' : ` (${byGo} by go tool addr2line)`;
  console.log(
    `${file} · ${addresses} ${kind} addresses: exact ${percent(exact)} %, innermost line ${percent(innermostLines)} %${goNote}`,
  );
  for (const [cause, of = []] of classes) {
    console.log(`  ${of.length} × ${cause}`);
    for (const { address, ours, theirs } of of.slice(0, Number(options.samples))) {
      console.log(`    0x${address.toString(16)}`);
      console.log(`      symkeep  ${framesText(ours)}`);
      console.log(`      other    ${framesText(theirs)}`);
    }
  }
}

function framesText(frames: readonly Line[]): string {
  if (frames.length === 0) return 'nothing';
  return frames.map(({ name, file, line }) => `${name || '??'} ${basename(file)}:${line}`).join(' < ');
}

if (options.help || files.length === 0) {
  console.log(usage);
  process.exitCode = options.help ? 0 : 2;
} else {
  for (const file of files) {
    const isRight = await verify(file).catch((error: Error) => {
      console.error(`${file}: ${error.message}`);
      return false;
    });
    if (!isRight) process.exitCode = 1;
  }
}
