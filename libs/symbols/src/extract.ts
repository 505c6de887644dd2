// Everything that an ELF image says of its functions: all sources, merged.
import { ElfError, type ElfImage } from '@symkeep/elf';
import { type DwarfExtraction, type DwarfOptions, extractDwarf } from './dwarf/extract.ts';
import type { DwarfStats } from './dwarf/extraction.ts';
import { type CompanionImages, debugSectionsOf } from './dwarf/sections.ts';
import { extractDwarfThreaded } from './dwarf/threads.ts';
import { extractGopclntab } from './gopclntab.ts';
import { mergeRanges } from './merge.ts';
import type { RangeTable, Source, SymbolRanges } from './ranges.ts';
import { SymbolsError } from './symbols-error.ts';
import { extractSymbols } from './symtab.ts';

/** Files that belong to an image, where they were found. */
export interface ExtractOptions extends CompanionImages {
  /** The mini debuginfo of the image (`openMiniDebugInfo`): symbols that its own tables lack. */
  readonly mini?: ElfImage | undefined;
  /** Most bytes that the DWARF reader holds beside the sections. */
  readonly bytesMax?: number;
}

/** A source that could not be read, or not to its end. The others are extracted all the same. */
export interface SourceDamage {
  readonly source: Source;
  readonly error: ElfError | SymbolsError;
}

export interface Extracted {
  readonly ranges: SymbolRanges;
  /** Undefined if there is no DWARF that could be read. */
  readonly dwarf: DwarfStats | undefined;
  readonly damage: readonly SourceDamage[];
}

/**
 * Extracts and merges all sources. Of a stripped executable and its `.debug` file pass both as one image
 * (`combineImages`). What is broken or over a limit ends up in `damage`; nothing is thrown for what the image holds.
 */
export function extract(image: ElfImage, options: ExtractOptions = {}): Extracted {
  const damage: SourceDamage[] = [];
  const dwarf = attempt(damage, 'dwarf', () =>
    extractDwarf(debugSectionsOf(image, options), boundsOf(options)),
  );
  return merged(image, options, dwarf, damage);
}

/** As `extract`, with the units of a big file read by several threads. */
export async function extractThreaded(
  image: ElfImage,
  { threads, ...options }: ExtractOptions & { readonly threads: number },
): Promise<Extracted> {
  if (threads <= 1) return extract(image, options);
  const damage: SourceDamage[] = [];
  let dwarf: DwarfExtraction | undefined;
  try {
    dwarf = await extractDwarfThreaded(debugSectionsOf(image, options), { threads, ...boundsOf(options) });
  } catch (error) {
    damage.push(damageOf('dwarf', error));
  }
  return merged(image, options, dwarf, damage);
}

function boundsOf({ bytesMax }: ExtractOptions): DwarfOptions {
  return bytesMax === undefined ? {} : { bytesMax };
}

function merged(
  image: ElfImage,
  { mini }: ExtractOptions,
  dwarf: DwarfExtraction | undefined,
  damage: SourceDamage[],
): Extracted {
  const tables: RangeTable[] = dwarf === undefined ? [] : [dwarf.table];
  const add = (source: Source, read: () => RangeTable | undefined) => {
    const table = attempt(damage, source, read);
    if (table !== undefined) tables.push(table);
  };
  add('gopclntab', () => extractGopclntab(image));
  add('symtab', () => extractSymbols(image, 'symtab'));
  if (mini !== undefined) add('symtab', () => extractSymbols(mini, 'symtab', image.base));
  add('dynsym', () => extractSymbols(image, 'dynsym'));
  return { ranges: mergeRanges(tables), dwarf: dwarf?.stats, damage };
}

function attempt<T>(damage: SourceDamage[], source: Source, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    damage.push(damageOf(source, error));
    return undefined;
  }
}

/** Throws what is no fault of the image. */
function damageOf(source: Source, error: unknown): SourceDamage {
  if (!(error instanceof ElfError || error instanceof SymbolsError)) throw error;
  return { source, error };
}
