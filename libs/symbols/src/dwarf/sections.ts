// ELF images as the DWARF reader wants them: one image, and the images that belong to it.
import type { ElfImage, ElfSection } from '@symkeep/elf';
import type { DebugSections, SplitUnitName } from './debug-sections.ts';
import { streamOf } from './section-stream.ts';

/** `SHF_GROUP` */
const inGroup = 0x200;

/**
 * Files that hold parts of an image's DWARF, where they were found; that they fit is for the caller to check.
 */
export interface CompanionImages {
  /** What `.gnu_debugaltlink` names. */
  readonly alternate?: ElfImage | undefined;
  /** The `.dwp` file. */
  readonly package?: ElfImage | undefined;
  /** Finds the `.dwo` file of a split unit. */
  readonly split?: (unit: SplitUnitName) => ElfImage | undefined;
}

/**
 * Sections are read, decompressed and relocated when they are asked for, each time. They throw `ElfError`.
 */
export function debugSectionsOf(image: ElfImage, companions: CompanionImages = {}): DebugSections {
  const { alternate, package: packed, split } = companions;
  return {
    littleEndian: image.header.littleEndian,
    imageBase: image.base,
    executable: image.executableRanges().map(([start, end]) => ({ start, end })),
    section: (name) => sectionOf(image, name)?.contents(),
    stream: (name) => {
      const section = sectionOf(image, name);
      return section && streamOf(section);
    },
    ...(alternate && { alternate: debugSectionsOf(alternate) }),
    ...(packed && { package: debugSectionsOf(packed) }),
    ...(split && {
      split: (unit: SplitUnitName) => {
        const found = split(unit);
        return found && debugSectionsOf(found);
      },
    }),
  };
}

/** Relocatable files also have one per type unit, in groups of which the linker keeps one. */
function sectionOf(image: ElfImage, name: string): ElfSection | undefined {
  const sections = image.sectionsNamed(name);
  return sections.find(({ flags }) => (flags & inGroup) === 0) ?? sections[0];
}
