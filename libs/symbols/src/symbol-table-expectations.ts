// What the locations of a page so far suggest of its next one: what is as expected is written as 0, and zeros in a row
// compress to next to nothing. Writer and reader keep it alike.
import { none } from './ranges.ts';

/** All indexes are the page's. */
export class Expectations {
  parent = none;
  // Index 0 stands for "none", the others are shifted by one.
  readonly #functionIn: number[] = [none];
  readonly #fileOf: number[] = [none];
  readonly #lineOf: number[] = [0];

  functionIn(parent: number): number {
    return this.#functionIn[parent + 1] as number;
  }

  fileOf(func: number): number {
    return this.#fileOf[func + 1] as number;
  }

  /** The line last seen in the function, at first that of its declaration. */
  lineOf(func: number): number {
    return this.#lineOf[func + 1] as number;
  }

  addFunction(startLine: number): void {
    this.#fileOf.push(none);
    this.#lineOf.push(startLine);
  }

  note(parent: number, func: number, file: number, line: number): void {
    this.parent = parent;
    this.#functionIn[parent + 1] = func;
    this.#functionIn.push(none);
    this.#fileOf[func + 1] = file;
    this.#lineOf[func + 1] = line;
  }

  clear(): void {
    this.parent = none;
    this.#functionIn.length = 1;
    this.#fileOf.length = 1;
    this.#lineOf.length = 1;
    this.#functionIn[0] = none;
    this.#fileOf[0] = none;
    this.#lineOf[0] = 0;
  }
}
