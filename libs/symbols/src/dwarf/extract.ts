// DWARF in, a range table out.
import type { RangeTable } from '../ranges.ts';
import { Budget, defaultBytesMax } from './budget.ts';
import type { DebugSections } from './debug-sections.ts';
import { type DwarfStats, Extraction } from './extraction.ts';

export interface DwarfOptions {
  /** Most bytes that are held beside the sections. */
  readonly bytesMax?: number;
}

export interface DwarfExtraction {
  readonly table: RangeTable;
  readonly stats: DwarfStats;
}

/**
 * All that DWARF says of where functions, inlined functions and lines are. Units that are broken are noted in
 * the stats; a table without ranges means that there is no DWARF. Throws `limit` where the budget ends.
 */
export function extractDwarf(sections: DebugSections, options: DwarfOptions = {}): DwarfExtraction {
  const extraction = new Extraction(sections, new Budget(options.bytesMax ?? defaultBytesMax));
  const { units } = extraction.file.scan;
  extraction.noteScanDamage();
  units.forEach((unit, index) => {
    extraction.addUnit(unit, index);
  });
  return { table: extraction.finish(), stats: extraction.stats };
}
