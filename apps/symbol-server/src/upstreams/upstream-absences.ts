// What upstreams did not have, shared by all workers: asked again after intervals that grow, until a file comes or an admin
// asks. One value per executable in the store, with an entry per upstream.
import { type Store, StoreUnavailable } from '@symkeep/cache';
import { decode, type ExecutableId, encode } from '@symkeep/protocol';
import { upstreamAbsencesAt } from '../catalog/keys.ts';

const hourMs = 3_600_000;
/** After the first 404: a distribution publishes debug files hours after its packages. */
const intervalMsMin = hourMs;
/** What is not there after months will hardly come; a week keeps the cost of asking near nothing. */
const intervalMsMax = 7 * 24 * hourMs;
/** Others ask at other moments: a fleet that meets one new build must not come back as one. */
const jitter = 0.2;

export interface UpstreamAbsence {
  /** When it was asked last, Unix milliseconds by the store's clock. */
  readonly at: number;
  /** 404s in a row. */
  readonly misses: number;
  /** Not asked again before. */
  readonly retryAt: number;
}

export type Absences = Readonly<Record<string, UpstreamAbsence>>;

export class UpstreamAbsences {
  readonly #store: Store;
  readonly #random: () => number;

  /** `random` is uniform in [0, 1). */
  constructor(store: Store, random: () => number) {
    this.#store = store;
    this.#random = random;
  }

  /** By the upstream's URL. */
  async of(ids: readonly ExecutableId[]): Promise<(Absences | StoreUnavailable)[]> {
    const read = await this.#store.get(ids.map(upstreamAbsencesAt));
    return read.map((bytes) => (bytes instanceof StoreUnavailable ? bytes : absencesOf(bytes)));
  }

  /** Notes that an upstream has nothing for an executable. Of two workers that note it at once, one counts. */
  async note(id: ExecutableId, upstream: string): Promise<StoreUnavailable | undefined> {
    const at = upstreamAbsencesAt(id);
    const [now, [read]] = await Promise.all([this.#store.now(), this.#store.get([at])]);
    if (now instanceof StoreUnavailable) return now;
    if (read instanceof StoreUnavailable) return read;
    const expected = read === null ? null : new Uint8Array(read!);
    const absences = absencesOf(expected);
    const misses = (absences[upstream]?.misses ?? 0) + 1;
    const intervalMs = Math.min(intervalMsMin * 2 ** (misses - 1), intervalMsMax);
    const retryAt = Math.round(now + intervalMs * (1 + jitter * (2 * this.#random() - 1)));
    const value = encode({ ...absences, [upstream]: { at: now, misses, retryAt } }, 'msgpack');
    const [swapped] = await this.#store.swap([{ at, expected, value }]);
    return swapped instanceof StoreUnavailable ? swapped : undefined;
  }

  /** Everything is asked anew: a file came, or an admin wants it tried. */
  cancel(ids: readonly ExecutableId[]): Promise<StoreUnavailable | undefined> {
    return this.#store.drop(ids.map(upstreamAbsencesAt));
  }
}

function absencesOf(bytes: Uint8Array | null): Absences {
  return bytes === null ? {} : (decode(bytes, 'msgpack') as Absences);
}
