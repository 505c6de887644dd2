// The DWARF fixtures: ELF files, and what llvm-symbolizer says of every byte of their code.
import { readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { bytesSource, type ElfImage, openElf } from '@symkeep/elf';
import { expect } from 'vitest';
import { type ExtractOptions, extract } from '../src/index.ts';
import { symbolizer } from './symbolizer.ts';

const folder = fileURLToPath(new URL('../fixtures/dwarf/', import.meta.url));

export function fixtureBytes(name: string): Buffer {
  return readFileSync(folder + name);
}

export function fixtureImage(name: string): ElfImage {
  return openElf(bytesSource(fixtureBytes(name)));
}

/** As text, innermost first: `name file:line`; `''` and 0 for what is unknown. */
export type Answer = string;

export interface Expected {
  readonly start: bigint;
  readonly end: bigint;
  readonly answer: Answer;
}

/** Runs of addresses with one answer. */
export function readExpected(name: string): Expected[] {
  const raw = fixtureBytes(name);
  const text = (name.endsWith('.gz') ? gunzipSync(raw) : raw).toString();
  const found: { start: bigint; end: bigint; lines: string[] }[] = [];
  const close = (end: bigint): void => {
    const last = found.at(-1);
    if (last?.end === 0n) last.end = end;
  };
  for (const line of text.split('\n')) {
    const [, isEnd, address] = /^(# )?(0x[0-9a-f]+)$/.exec(line) ?? [];
    if (address === undefined) {
      if (line !== '') found.at(-1)?.lines.push(line);
    } else {
      close(BigInt(address));
      if (isEnd === undefined) found.push({ start: BigInt(address), end: 0n, lines: [] });
    }
  }
  return found.map(({ start, end, lines }) => ({ start, end, answer: answerOf(lines) }));
}

function answerOf(lines: readonly string[]): Answer {
  const frames: string[] = [];
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const [, path = '', line = '0'] = /^(.*):(\d+|\?)$/.exec(lines[at + 1]!) ?? [];
    frames.push(frameText(known(lines[at]!), known(path), Number(line) || 0));
  }
  return joined(frames);
}

/** llvm-symbolizer tells a frame of which nothing is known from none only by the frames around it. */
function joined(frames: readonly string[]): Answer {
  return frames.length === 1 && frames[0] === ' :0' ? '' : frames.join(' < ');
}

function known(text: string): string {
  return text === '??' ? '' : text;
}

function frameText(name: string, path: string, line: number): string {
  return `${name} ${basename(path)}:${line}`;
}

/** Answers addresses as `Expected` has them, through extraction, merge, writer and reader. */
export function answerer(image: ElfImage, options: ExtractOptions = {}): (address: bigint) => Answer {
  const lookup = symbolizer(extract(image, options).ranges);
  return (address) =>
    joined(lookup(address).map((frame) => frameText(frame.rawName, frame.file, frame.line)));
}

/**
 * Compares every byte; `except` are answers in which llvm-symbolizer is known to be less right, and what is
 * right.
 */
export function expectEveryByte(
  answer: (address: bigint) => Answer,
  expected: readonly Expected[],
  except: Readonly<Record<Answer, Answer>> = {},
): void {
  const wrong: string[] = [];
  let bytes = 0;
  for (const run of expected) {
    for (let address = run.start; address < run.end; address++, bytes++) {
      const ours = answer(address);
      if (ours !== run.answer && except[ours] !== run.answer) {
        wrong.push(`0x${address.toString(16)}: ${ours} instead of ${run.answer}`);
      }
    }
  }
  expect(bytes).toBeGreaterThan(0);
  expect(wrong.slice(0, 5)).toEqual([]);
}

/** Finds the `.dwo` files of split fixtures, which stand beside them. */
export function splitFixture(unit: { readonly name: string; readonly directory: string }): ElfImage {
  expect(dirname(unit.name)).toBe('.');
  return fixtureImage(unit.name);
}
