// How several backfills share what there is room for: smooth weighted round robin. Each turn every one that wants more
// rises by its weight; the highest takes one, and falls by the weight of all. So in any row of turns each has its share, and
// none waits long for its first.

export interface Wish {
  readonly id: string;
  /** A positive number: the share beside others. */
  readonly weight: number;
  readonly wants: number;
}

export class Shares {
  readonly #credit = new Map<string, number>();

  /** How many of `room` each may have, by ID: never more than it wants. */
  deal(room: number, wishes: readonly Wish[]): Map<string, number> {
    const dealt = new Map(wishes.map(({ id }) => [id, 0]));
    for (const id of this.#credit.keys()) if (!dealt.has(id)) this.#credit.delete(id);
    for (let left = room; left > 0; left--) {
      const hungry = wishes.filter(({ id, wants }) => dealt.get(id)! < wants);
      if (hungry.length === 0) break;
      const id = this.#turn(hungry);
      dealt.set(id, dealt.get(id)! + 1);
    }
    return dealt;
  }

  #turn(hungry: readonly Wish[]): string {
    let best: Wish | undefined;
    let all = 0;
    for (const wish of hungry) {
      all += wish.weight;
      this.#credit.set(wish.id, this.#of(wish.id) + wish.weight);
      if (best === undefined || this.#of(wish.id) > this.#of(best.id)) best = wish;
    }
    this.#credit.set(best!.id, this.#of(best!.id) - all);
    return best!.id;
  }

  #of(id: string): number {
    return this.#credit.get(id) ?? 0;
  }
}
