// The agent's memory of what the store has: one mark per executable and epoch, set only by an acknowledgement that came
// with that epoch. The marks of several epochs are kept, so that two stores that answer in turn behind one address are
// each told once: that raises an alert, not a storm.
import type { ExecutableId } from '@symkeep/protocol';

/** Epochs whose marks are kept. */
export const epochsMax = 4;
/** Marks of an epoch; one lost to the bound costs one report more. */
export const marksMax = 65_536;

export interface Mark {
  /** The ID under which the store keeps the executable: its htlhash if its GNU ID is ambiguous. */
  readonly id: ExecutableId;
  readonly generation: number;
  /** Under which it was reported. */
  readonly name: string;
  /** The store refuses it for good: it was erased, or is no report it accepts. */
  readonly refused: boolean;
  /** When it is to be checked next, in the clock's milliseconds. */
  readonly checkAt: number;
}

interface EpochMarks {
  readonly epoch: string;
  readonly marks: Map<string, Mark>;
}

/** `known`: an epoch from before is back. */
export type Heard = 'same' | 'new' | 'known';

export class ReportedMarks {
  /** The epoch heard last comes first. */
  readonly #epochs: EpochMarks[] = [];

  /** The epoch heard last. */
  get epoch(): string | undefined {
    return this.#epochs[0]?.epoch;
  }

  /** How many marks are kept, over all epochs. */
  get size(): number {
    return this.#epochs.reduce((sum, { marks }) => sum + marks.size, 0);
  }

  hear(epoch: string): Heard {
    if (epoch === this.epoch) return 'same';
    const at = this.#epochs.findIndex((known) => known.epoch === epoch);
    const [found] = at < 0 ? [] : this.#epochs.splice(at, 1);
    this.#epochs.unshift(found ?? { epoch, marks: new Map() });
    this.#epochs.length = Math.min(this.#epochs.length, epochsMax);
    return found === undefined ? 'new' : 'known';
  }

  /** The mark in the epoch heard last. */
  get(key: string): Mark | undefined {
    return this.#epochs[0]?.marks.get(key);
  }

  /** The mark in the epoch heard last, or else in the one heard before it, and so on. */
  latest(key: string): Mark | undefined {
    for (const { marks } of this.#epochs) {
      const mark = marks.get(key);
      if (mark !== undefined) return mark;
    }
    return undefined;
  }

  /** Of the two epochs heard last, the one that has no mark: where two stores answer in turn, what one of them lacks. */
  missingIn(key: string): string | undefined {
    return this.#epochs.slice(0, 2).find(({ marks }) => !marks.has(key))?.epoch;
  }

  /** Notes an acknowledgement under its own epoch. One of an epoch no longer kept is worth nothing. */
  set(epoch: string, key: string, mark: Mark): void {
    const marks = this.#epochs.find((known) => known.epoch === epoch)?.marks;
    if (marks === undefined) return;
    marks.delete(key);
    const [oldest] = marks.size < marksMax ? [] : marks.keys();
    if (oldest !== undefined) marks.delete(oldest);
    marks.set(key, mark);
  }

  delete(epoch: string, key: string): void {
    this.#epochs.find((known) => known.epoch === epoch)?.marks.delete(key);
  }

  /** The epoch heard last at the end. */
  epochs(): string[] {
    return this.#epochs.map(({ epoch }) => epoch).reverse();
  }

  /** Oldest epoch first, so that hearing and setting them in this order gives the same. */
  *entries(): Generator<readonly [epoch: string, key: string, mark: Mark]> {
    for (const { epoch, marks } of [...this.#epochs].reverse()) {
      for (const [key, mark] of marks) yield [epoch, key, mark];
    }
  }
}
