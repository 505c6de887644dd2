// Notes: the small tagged records in which linkers leave build IDs (gABI, "Note Section").
import { ElfError } from './elf-error.ts';
import { Fields } from './fields.ts';

export interface Note {
  /** Without its terminator, e.g. `GNU` or `Go`. */
  readonly name: string;
  readonly type: number;
  readonly desc: Uint8Array;
}

const noteHeaderBytes = 12;

/**
 * The notes in `bytes`, a note section or segment, or a buffer of notes alone such as `/sys/kernel/notes` and
 * `/sys/module/<m>/notes/.note.gnu.build-id`. `align` is that of the section or segment; other values than 8 mean 4, as
 * in binutils. Throws `truncated` at the first note that does not fit, after having given those before it.
 */
export function* notesIn(
  bytes: Uint8Array,
  littleEndian: boolean,
  align = 4,
  what = 'notes',
): Generator<Note> {
  const fields = new Fields(bytes, { class: 32, littleEndian });
  const unit = align === 8 ? 8 : 4;
  let at = 0;
  for (let index = 0; at + noteHeaderBytes <= bytes.length; index++) {
    const nameBytes = fields.u32(at);
    const descBytes = fields.u32(at + 4);
    const nameAt = at + noteHeaderBytes;
    const descAt = alignUp(nameAt + nameBytes, unit);
    const end = descAt + descBytes;
    if (nameAt + nameBytes > bytes.length || (descBytes > 0 && end > bytes.length)) {
      throw new ElfError('truncated', `${what}: note ${index}`, `ends at ${end} of ${bytes.length} bytes`);
    }
    yield {
      name: nameOf(bytes.subarray(nameAt, nameAt + nameBytes)),
      type: fields.u32(at + 8),
      desc: bytes.subarray(descAt, Math.max(descAt, end)),
    };
    at = alignUp(end, unit);
  }
}

/** All of `notesIn`. */
export function parseNotes(bytes: Uint8Array, littleEndian: boolean, align = 4): Note[] {
  return [...notesIn(bytes, littleEndian, align)];
}

function nameOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end)).toString('latin1');
}

function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
