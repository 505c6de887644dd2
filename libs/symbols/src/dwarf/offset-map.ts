// A map from offsets to indexes by open addressing: millions of entries without an object each.
import type { Budget } from './budget.ts';

const empty = -1;
const word = 0x1_0000_0000;

export class OffsetMap {
  #keys = new Float64Array(1024).fill(empty);
  #values = new Int32Array(1024);
  #size = 0;
  readonly #budget: Budget;
  readonly #what: string;

  constructor(budget: Budget, what: string) {
    this.#budget = budget;
    this.#what = what;
  }

  /** The value of `key`, -1 if it has none. */
  get(key: number): number {
    const place = this.#placeOf(key);
    return this.#keys[place] === empty ? -1 : this.#values[place]!;
  }

  /** `key` is an integer of at most 53 bits, not negative. */
  set(key: number, value: number): void {
    const place = this.#placeOf(key);
    this.#values[place] = value;
    if (this.#keys[place] !== empty) return;
    this.#keys[place] = key;
    if (++this.#size * 2 > this.#keys.length) this.#grow();
  }

  #placeOf(key: number): number {
    const mask = this.#keys.length - 1;
    const mixed = Math.imul((key | 0) ^ Math.imul((key / word) | 0, 0x85ebca6b), 0x9e3779b1);
    let place = (mixed ^ (mixed >>> 15)) & mask;
    while (this.#keys[place] !== empty && this.#keys[place] !== key) place = (place + 1) & mask;
    return place;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#budget.hold(keys.length * 12, this.#what);
    this.#keys = new Float64Array(keys.length * 2).fill(empty);
    this.#values = new Int32Array(keys.length * 2);
    for (let place = 0; place < keys.length; place++) {
      if (keys[place] === empty) continue;
      const to = this.#placeOf(keys[place]!);
      this.#keys[to] = keys[place]!;
      this.#values[to] = values[place]!;
    }
  }
}
