// What kind of symbols an image has, from its section table and a few bounded reads.
import { functionsIn } from './coverage.ts';
import { ElfError } from './elf-error.ts';
import type { ElfImage, ElfSection } from './elf-image.ts';
import { sectionTypes } from './sections.ts';

/** Worst first. */
export type SymbolQuality = 'none' | 'dynsym' | 'symtab' | 'gopclntab' | 'dwarf';

/** The best that is there; what is broken counts as absent. */
export function qualityOf(image: ElfImage): SymbolQuality {
  const has = (name: string) => image.section(name) !== undefined;
  // A dwz file may hold strings alone.
  if (has('.debug_info') || has('.debug_str')) return 'dwarf';
  if (has('.gopclntab') || has('.data.rel.ro.gopclntab')) return 'gopclntab';
  if (symbolTableIn(image, 'symtab') !== undefined || has('.gnu_debugdata')) return 'symtab';
  // Every dynamic executable has one; most define nothing in it.
  return definedIn(image, 'dynsym').functions === 0 ? 'none' : 'dynsym';
}

export function symbolTableIn(image: ElfImage, name: 'symtab' | 'dynsym'): ElfSection | undefined {
  return image.sections.find(({ type, hasContents }) => type === sectionTypes[name] && hasContents);
}

/** The functions of a symbol table, and the sum of their sizes; none if it is absent or broken. */
export function definedIn(image: ElfImage, name: 'symtab' | 'dynsym'): { functions: number; bytes: number } {
  const table = symbolTableIn(image, name);
  try {
    return table === undefined ? { functions: 0, bytes: 0 } : functionsIn(table);
  } catch (error) {
    if (error instanceof ElfError) return { functions: 0, bytes: 0 };
    throw error;
  }
}
