// All that is fuzzed.
import { elfTargets } from '../../libs/elf/test/fuzz-targets.ts';
import { dwarfTargets } from '../../libs/symbols/test/fuzz-dwarf.ts';
import { gopclntabTarget } from '../../libs/symbols/test/fuzz-gopclntab.ts';
import { imageTarget } from '../../libs/symbols/test/fuzz-images.ts';
import { nameTarget } from '../../libs/symbols/test/fuzz-names.ts';
import { tableTargets } from '../../libs/symbols/test/fuzz-tables.ts';
import type { FuzzTarget } from './target.ts';

export const targets: readonly FuzzTarget[] = [
  ...elfTargets,
  ...dwarfTargets,
  gopclntabTarget,
  ...tableTargets,
  imageTarget,
  nameTarget,
];
