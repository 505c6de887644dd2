// Answers of llvm-symbolizer (--output-style=GNU --addresses), as the fixtures' Makefiles store them.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

export interface ExpectedFrame {
  readonly name: string;
  /** Last component; `''` if unknown. */
  readonly file: string;
  readonly line: number;
}

export interface ExpectedAt {
  readonly address: bigint;
  /** Empty where nothing is known. */
  readonly frames: readonly ExpectedFrame[];
}

export function fixturePath(name: string): string {
  return new URL(`../fixtures/${name}`, import.meta.url).pathname;
}

export function readExpected(name: string): ExpectedAt[] {
  const answers: { address: bigint; frames: ExpectedFrame[] }[] = [];
  let named: string | undefined;
  for (const line of readFileSync(fixturePath(name), 'utf8').split('\n')) {
    if (/^0x[0-9a-f]+$/.test(line)) answers.push({ address: BigInt(line), frames: [] });
    else if (line !== '' && named === undefined) named = line;
    else if (line !== '') {
      const frame = frameOf(named as string, line);
      if (frame.name !== '' || frame.file !== '') answers.at(-1)?.frames.push(frame);
      named = undefined;
    }
  }
  return answers;
}

function frameOf(name: string, place: string): ExpectedFrame {
  const [, file = '', line = '0'] = /^(.*):(\d+|\?)( .*)?$/.exec(place) ?? [];
  return {
    name: name === '??' ? '' : name,
    file: file === '??' ? '' : basename(file),
    line: Number(line) || 0,
  };
}
