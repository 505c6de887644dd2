import type { ExtractionCode } from './messages.ts';

/** Why there is no table. A value as any other: it is returned, never thrown. */
export class ExtractionFailure extends Error {
  override readonly name = 'ExtractionFailure';
  readonly code: ExtractionCode;

  constructor(code: ExtractionCode, message: string) {
    super(message);
    this.code = code;
  }

  /** It happened to the process: the same file may fare better another time, with more memory, or with more time. */
  get isOfTheProcess(): boolean {
    return ['timeout', 'out_of_memory', 'crashed', 'unreadable'].includes(this.code);
  }
}
