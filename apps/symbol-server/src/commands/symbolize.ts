// `symkeep symbolize <elf file>`: addresses on stdin, a JSON line of frames each, without a server. It answers from the
// table that a server would build of the file.
import { createInterface } from 'node:readline';
import { defineCommand, UsageError } from '@symkeep/options';
import { type Frame, formatAddress, parseAddress } from '@symkeep/protocol';
import {
  type DecodedPage,
  Demangler,
  decodePage,
  extractThreaded,
  type FoundFrames,
  framesAt,
  noFrames,
  openSymbolTable,
  pageOf,
  relativeTo,
  writeSymbolTable,
} from '@symkeep/symbols';
import { openElfFile } from '../elf-files.ts';
import { threadsHere } from '../extraction/extract-table.ts';

export const symbolize = defineCommand({
  name: 'symbolize',
  describe: 'prints the frames at addresses read from stdin, hex, one a line',
  args: '<file>',
  options: {},
  more: `Examples:
  echo 0x31a40 | symkeep symbolize /usr/lib/x86_64-linux-gnu/libc.so.6`,
  run: async (_values, [path = '']) => {
    const lookup = await lookupIn(path);
    const demangler = new Demangler();
    for await (const line of createInterface({ input: process.stdin })) {
      const text = line.trim();
      if (text === '') continue;
      const address = addressOf(text);
      const { source, frames } = lookup(address);
      const readable = frames.map((frame) => frameFields(frame, demangler));
      const result = { address: formatAddress(address), frames: readable, source };
      if (!process.stdout.write(`${JSON.stringify(result)}\n`)) await drained();
    }
    return 0;
  },
});

/** All pages are decoded at most once; the whole of a large table fits the memory its extraction took. */
async function lookupIn(path: string): Promise<(address: bigint) => FoundFrames> {
  const opened = openElfFile({ executable: path, search: true });
  try {
    const options = { ...opened.companions, threads: threadsHere() };
    const { ranges } = await extractThreaded(opened.image, options);
    const { header, pages } = writeSymbolTable(ranges);
    const table = openSymbolTable(header);
    const decoded: DecodedPage[] = [];
    return (address) => {
      const relative = relativeTo(table.imageBase, address);
      const page = pageOf(table, relative);
      if (page < 0) return noFrames;
      decoded[page] ??= decodePage(table, page, pages[page] as Buffer);
      return framesAt(table, decoded[page], relative);
    };
  } finally {
    opened.close();
  }
}

function addressOf(text: string): bigint {
  const hex = /^[0-9a-fA-F]{1,16}$/.test(text) ? `0x${text}` : text;
  try {
    return parseAddress(hex.toLowerCase());
  } catch (error) {
    throw new UsageError([(error as Error).message]);
  }
}

/** Without what is not known: an absent field says less than an empty one claims. */
function frameFields(frame: Frame, demangler: Demangler): Partial<Frame> {
  const { rawName, file, line, column, startLine } = frame;
  return {
    ...(rawName === '' ? {} : { function: demangler.demangle(rawName), rawName }),
    ...(file === '' ? {} : { file }),
    ...(line === 0 ? {} : { line }),
    ...(column === 0 ? {} : { column }),
    ...(startLine === 0 ? {} : { startLine }),
  };
}

function drained(): Promise<void> {
  return new Promise((resume) => {
    process.stdout.once('drain', resume);
  });
}
