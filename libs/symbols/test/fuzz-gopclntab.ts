// Hostile tables of Go: counts, offsets and steps changed in every layout, in tables whose ELF file is whole.
import { bytesSource, ElfError, openElf } from '@symkeep/elf';
import { attempt, type FuzzTarget } from '../../../tools/fuzz/target.ts';
import { type Random, randomOf } from '../../../tools/random.ts';
import { extractGopclntab, mergeRanges, SymbolsError } from '../src/index.ts';
import { elfWithTable, layouts } from './gopclntab-program.ts';
import { symbolizer } from './symbolizer.ts';

/** The ELF header and the section headers, which others fuzz, stand outside. */
const headBytes = 64;
const tailBytes = 400;

export const gopclntabTarget: FuzzTarget = {
  name: 'gopclntab',
  weight: 8,
  open: () => {
    const originals = layouts.map(({ version, ...encoding }) => ({
      bytes: elfWithTable(version, encoding),
      littleEndian: encoding.littleEndian,
    }));
    return (seed) => {
      const random = randomOf(seed);
      const { bytes: original, littleEndian } = originals[random(originals.length)]!;
      const bytes = Buffer.from(original);
      for (let change = random(5); change >= 0; change--) {
        if (random(2) === 0) changeByte(bytes, random);
        else changeWord(bytes, random, littleEndian);
      }
      return read(bytes);
    };
  },
};

function changeByte(bytes: Buffer, random: Random): void {
  const at = headBytes + random(bytes.length - headBytes - tailBytes);
  const flipped = (bytes[at] as number) ^ (1 << random(8));
  bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random(256), flipped][random(7)] as number;
}

/** Offsets to elsewhere in the table, counts near and far: words are aligned in all layouts. */
function changeWord(bytes: Buffer, random: Random, littleEndian: boolean): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const wordAt = () => headBytes + 4 * random(Math.floor((bytes.length - headBytes - tailBytes) / 4));
  const at = wordAt();
  const old = view.getUint32(at, littleEndian);
  const other = view.getUint32(wordAt(), littleEndian);
  const near = old + random(9) - 4;
  const far = [0, 1, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][random(6)] as number;
  view.setUint32(at, [near, far, other, random(bytes.length)][random(4)] as number, littleEndian);
}

function read(bytes: Uint8Array): string {
  return attempt([SymbolsError, ElfError], () => {
    const table = extractGopclntab(openElf(bytesSource(bytes)));
    if (table !== undefined) symbolizer(mergeRanges([table]));
    return 'read';
  });
}
