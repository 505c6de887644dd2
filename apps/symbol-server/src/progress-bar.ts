// A bar on a terminal, and nothing elsewhere.
import type { Clock } from '@symkeep/cache';

const drawEveryMs = 100;
const barColumns = 24;
const lineColumnsDefault = 80;

interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class ProgressBar {
  readonly #terminal: Terminal | undefined;
  readonly #clock: Clock;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal, clock: Clock) {
    this.#terminal = terminal.isTTY === true ? terminal : undefined;
    this.#clock = clock;
  }

  /** `part` is what is done, 0 to 1. */
  show(part: number, text: string): void {
    const now = this.#clock.now();
    if (this.#terminal === undefined || now - this.#drawnAt < drawEveryMs) return;
    this.#drawnAt = now;
    // A terminal that does not know its width says 0.
    const columns = this.#terminal.columns || lineColumnsDefault;
    this.#terminal.write(`\r\x1b[K${barOf(part, text, columns)}`);
  }

  /** Takes the bar away. */
  end(): void {
    this.#terminal?.write('\r\x1b[K');
    this.#drawnAt = Number.NEGATIVE_INFINITY;
  }
}

export function barOf(part: number, text: string, columns: number): string {
  const bounded = Math.min(1, Math.max(0, part));
  const filled = Math.round(bounded * barColumns);
  const percent = String(Math.floor(bounded * 100)).padStart(3);
  const bar = `[${'#'.repeat(filled)}${' '.repeat(barColumns - filled)}] ${percent}%  ${text}`;
  return bar.slice(0, Math.max(0, columns - 1));
}
