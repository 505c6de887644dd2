// Where the sections of a relocatable file are: all say 0, so that code of one section would be taken for that of another.
// Linux' loader of modules puts executable sections one behind the other in file order, each at its alignment, and those
// of `.init` elsewhere (kernel/module, layout_sections); so addresses here count from where a module is loaded. `.text`
// is the first in modules and in what compilers emit, and stays at 0.
import { type VirtualAddress, virtualAddress } from './address-space.ts';
import type { ElfHeader } from './header.ts';
import { type Section, sectionFlags } from './sections.ts';

/** So far addresses are exact; hostile sizes reach further. */
const addressMax = 2 ** 52;
/** Of a huge page; what asks for more has a broken header. */
const alignMax = 2 ** 21;

/** The sections, with addresses if the file is relocatable and none of them has one. `names` by index. */
export function placeSections(
  header: ElfHeader,
  sections: readonly Section[],
  names: readonly string[],
): readonly Section[] {
  const inMemory = sections.filter(({ flags }) => (flags & sectionFlags.alloc) !== 0);
  if (header.type !== 'rel' || inMemory.some(({ address }) => address !== 0n)) return sections;
  const rank = (section: Section): number => {
    if ((section.flags & sectionFlags.execute) === 0) return 2;
    return names[section.index]?.startsWith('.init') ? 1 : 0;
  };
  const addresses = new Map<number, VirtualAddress>();
  let end = 0;
  for (const section of inMemory.toSorted((a, b) => rank(a) - rank(b) || a.index - b.index)) {
    const align = section.align > 1 && section.align <= alignMax ? section.align : 1;
    const start = Math.ceil(end / align) * align;
    end = start + section.size;
    if (end > addressMax) return sections;
    addresses.set(section.index, virtualAddress(BigInt(start)));
  }
  return sections.map((section) => {
    return { ...section, address: addresses.get(section.index) ?? section.address };
  });
}
