// Which agent may send the file of an executable: a lease per executable in the store, changed by compare-and-set and over
// when its time is, by the store's clock. Each lease has a greater fence than the one before, so that whoever lost it while
// away cannot file anything under it. The value also remembers who had nothing to give, for a while: absences always end.
import { randomBytes } from 'node:crypto';
import { type Store, StoreUnavailable } from '@symkeep/cache';
import { decode, type ExecutableId, encode, invalid, SymkeepError } from '@symkeep/protocol';
import { uploadLeaseAt } from '../catalog/keys.ts';

/** An agent finds and reads a large file in this time, and a dead one holds up nobody for long. */
export const leaseMsDefault = 120_000;
/** Hosts that are remembered not to have it; with so many, nobody is asked until one is forgotten. */
const triedMax = 16;
/** Somebody may install the debug package, or start another copy of the file. */
const absentMs = 24 * 3_600_000;
/** What broke an upload may be over soon; meanwhile others go first. */
const failedMs = 600_000;
/** What nobody has asked for since holds nothing that is worth keeping. */
const keptMs = 2 * absentMs;
/** Rounds of compare-and-set: a lease has a holder and a server or two that touch it. */
const roundsMax = 8;

/** Why a lease is given back. `stopped`: the agent ends, and has nothing against being asked again. */
export const returnReasons = ['absent', 'failed', 'stopped', 'unavailable'] as const;
export type ReturnReason = (typeof returnReasons)[number];

interface Tried {
  readonly host: string;
  readonly at: number;
  readonly why: 'absent' | 'failed';
}

export interface LeaseState {
  readonly fence: number;
  readonly secret: string;
  readonly host: string;
  /** Unix milliseconds by the store's clock; 0: given back. */
  readonly until: number;
  /** The executable that refers to the file, if that is a dwz file. */
  readonly of?: ExecutableId;
  readonly tried: readonly Tried[];
  /** When a file came under a lease: what it did not mend, another agent's will not mend the same day. */
  readonly sent?: number;
}

/** `not_here`: this host is not asked now, nor soon. `later`: not now. */
export type Standing = 'free' | 'held' | 'later' | 'not_here';

const leaseForm = /^(\d{1,16})-([\w-]{16})$/;

export class UploadLeases {
  readonly #store: Store;
  readonly ms: number;

  /** `ms`: how long an agent may be silent; what it sends renews its lease. */
  constructor(store: Store, ms = leaseMsDefault) {
    this.#store = store;
    this.ms = ms;
  }

  /** In the order of the IDs; null where nobody was ever asked. */
  async read(ids: readonly ExecutableId[]): Promise<(LeaseState | null | StoreUnavailable)[]> {
    const read = await this.#store.get(ids.map(uploadLeaseAt));
    return read.map((bytes) => (bytes instanceof StoreUnavailable ? bytes : stateOf(bytes)));
  }

  /** A lease for a host that the state which was read leaves free; undefined if another was quicker. */
  async grant(
    id: ExecutableId,
    host: string,
    before: LeaseState | null,
    now: number,
    of?: ExecutableId,
  ): Promise<string | undefined> {
    const fence = Math.max((before?.fence ?? 0) + 1, now);
    const secret = randomBytes(12).toString('base64url');
    const tried = (before?.tried ?? []).filter((one) => isRemembered(one, now));
    const state = { fence, secret, host, until: now + this.ms, ...(of === undefined ? {} : { of }), tried };
    const swapped = await this.#swap(id, before, state);
    return swapped === 'done' ? `${fence}-${secret}` : undefined;
  }

  /** Renews a lease that nobody else has had since. Throws `conflict` if it is lost, `unavailable`, `invalid_argument`. */
  async hold(id: ExecutableId, lease: string): Promise<void> {
    await this.#change(id, lease, (state, now) => {
      if (state.until <= now) throw lost(id);
      return { ...state, until: now + this.ms };
    });
  }

  /**
   * Gives a lease back, and says of which executable others are to be asked now; undefined if of none, since it was
   * given back before. Throws what `hold` throws.
   */
  async giveBack(id: ExecutableId, lease: string, why: ReturnReason): Promise<ExecutableId | undefined> {
    let freed = false;
    const state = await this.#change(id, lease, (before, now) => {
      freed = before.until !== 0;
      const others = before.tried.filter(({ host }) => host !== before.host);
      if (why === 'stopped' || why === 'unavailable') {
        return { ...before, until: 0, tried: why === 'stopped' ? others : before.tried };
      }
      if (!freed) return before;
      const tried = [{ host: before.host, at: now, why }, ...others].slice(0, triedMax);
      return { ...before, until: 0, tried };
    });
    return freed ? (state.of ?? id) : undefined;
  }

  /** Notes that the file came. Throws what `hold` throws. */
  async noteSent(id: ExecutableId, lease: string): Promise<void> {
    await this.#change(id, lease, (state, now) => ({ ...state, sent: now }));
  }

  /** Forgets who had nothing, and that a file came: everyone may be asked. Throws the outage. */
  async forgetTried(id: ExecutableId): Promise<void> {
    const [before] = await this.read([id]);
    if (before instanceof StoreUnavailable) throw before;
    if (before == null) return;
    const { sent: _, ...rest } = before;
    const swapped = await this.#swap(id, before, { ...rest, tried: [] });
    // Who was quicker has changed what was to be forgotten.
    if (swapped !== 'done') throw swapped === 'lost' ? contended() : swapped;
  }

  async #change(
    id: ExecutableId,
    lease: string,
    next: (state: LeaseState, now: number) => LeaseState,
  ): Promise<LeaseState> {
    const [, fence, secret] = leaseForm.exec(lease) ?? [];
    if (fence === undefined) throw invalid('symkeep-lease: is not a lease of this server');
    const now = await this.#store.now();
    if (now instanceof StoreUnavailable) throw now;
    let [before] = await this.read([id]);
    for (let round = 0; round < roundsMax; round++) {
      if (before instanceof StoreUnavailable) throw before;
      if (before?.fence !== Number(fence) || before.secret !== secret) throw lost(id);
      const after = next(before, now);
      if (after === before) return before;
      const swapped = await this.#swap(id, before, after);
      if (swapped === 'done') return after;
      if (swapped instanceof StoreUnavailable) throw swapped;
      [before] = await this.read([id]);
    }
    throw contended();
  }

  async #swap(
    id: ExecutableId,
    before: LeaseState | null,
    after: LeaseState,
  ): Promise<'done' | 'lost' | StoreUnavailable> {
    const at = uploadLeaseAt(id);
    const [outcome] = await this.#store.swap([
      {
        at,
        // Encoding is deterministic, and the order of the fields is that of the reading.
        expected: before === null ? null : encode(before, 'msgpack'),
        value: encode(after, 'msgpack'),
        leave: { key: at.key, ms: keptMs },
      },
    ]);
    if (outcome instanceof StoreUnavailable) return outcome;
    return outcome!.swapped ? 'done' : 'lost';
  }
}

/** What is to be thought of asking a host. */
export function standingOf(state: LeaseState | null, host: string, now: number): Standing {
  if (state === null) return 'free';
  if (state.sent !== undefined && state.sent + absentMs > now) return 'not_here';
  if (state.until > now) return 'held';
  const tried = state.tried.filter((one) => isRemembered(one, now));
  const own = tried.find((one) => one.host === host);
  if (own !== undefined) return own.why === 'absent' ? 'not_here' : 'later';
  return tried.length < triedMax ? 'free' : 'not_here';
}

function isRemembered({ at, why }: Tried, now: number): boolean {
  return at + (why === 'absent' ? absentMs : failedMs) > now;
}

function stateOf(bytes: Uint8Array | null): LeaseState | null {
  return bytes === null ? null : (decode(bytes, 'msgpack') as LeaseState);
}

function contended(): StoreUnavailable {
  return new StoreUnavailable('contended', 'too many writers at once');
}

function lost(id: ExecutableId): SymkeepError {
  const message = `the lease for the file of ${id} is over; another agent may have it`;
  return new SymkeepError('conflict', message, { details: { reason: 'lease_lost' } });
}
