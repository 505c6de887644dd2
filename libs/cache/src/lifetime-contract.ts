// The lifetime contract: how long each tier keeps what it holds, and who remembers having sent it something.
// An app declares its own and does not start if a combination could lose what is in use.
//
// Facts never expire, absences always do. And nobody remembers "the receiver has it" for longer than that is
// true: either the receiver never drops anything and says when it has lost all (its epoch), or it asks the
// sender again on a miss.

/** Why and when something leaves a tier. */
export type Leaving =
  | { readonly by: 'capacity' }
  /** Unused for so long. */
  | { readonly by: 'idle'; readonly ms: number }
  /** So long after it was put in; `extendedByUse` says whether a read starts it anew. */
  | { readonly by: 'age'; readonly ms: number; readonly extendedByUse: boolean };

export interface FactTier {
  readonly name: string;
  readonly holds: 'facts';
  /** Empty: nothing ever leaves. */
  readonly leaves: readonly Leaving[];
  /** The tier that is asked on a miss; null: nobody is. */
  readonly asks: string | null;
}

export interface AbsenceTier {
  readonly name: string;
  readonly holds: 'absences';
  readonly leaves: readonly Leaving[];
  /** Whether the news that something is there now cancels its absence at once. */
  readonly cancelledByEvent: boolean;
}

export type Tier = FactTier | AbsenceTier;

/** Somebody's belief that a tier has what was sent to it. */
export interface Memory {
  readonly name: string;
  /** The tier from which it is sent. */
  readonly sender: string;
  /** The tier that is believed to have it. */
  readonly receiver: string;
  /** How long it is believed; null: for as long as the sender runs. */
  readonly ms: number | null;
  /** Whether a new epoch of the receiver ends the belief. */
  readonly endsWithEpoch: boolean;
}

export interface Lifetimes {
  readonly tiers: readonly Tier[];
  readonly memories: readonly Memory[];
}

export type LifetimeFault =
  | 'unknown_tier'
  | 'duplicate_tier'
  | 'fact_expires'
  | 'fact_not_reloaded'
  | 'absence_without_lifetime'
  | 'absence_extended_by_use'
  | 'absence_not_cancelled'
  | 'memory_outlives_receiver'
  | 'memory_outlives_epoch';

export interface LifetimeViolation {
  readonly fault: LifetimeFault;
  /** Name of the tier or memory. */
  readonly subject: string;
  readonly message: string;
}

export class IllegalLifetimes extends Error {
  override readonly name = 'IllegalLifetimes';
  readonly violations: readonly LifetimeViolation[];
  constructor(violations: readonly LifetimeViolation[]) {
    super(`illegal lifetimes:\n${violations.map(({ message }) => `- ${message}`).join('\n')}`);
    this.violations = violations;
  }
}

/** Throws `IllegalLifetimes` with everything that is wrong. */
export function checkLifetimes(lifetimes: Lifetimes): void {
  const tiers = new Map(lifetimes.tiers.map((tier) => [tier.name, tier]));
  const violations = [...findViolations(lifetimes, tiers)];
  if (violations.length > 0) throw new IllegalLifetimes(violations);
}

type Tiers = ReadonlyMap<string, Tier>;

function* findViolations(lifetimes: Lifetimes, tiers: Tiers): Iterable<LifetimeViolation> {
  yield* checkNames(lifetimes, tiers);
  for (const tier of lifetimes.tiers)
    yield* tier.holds === 'facts' ? checkFacts(tier, tiers) : checkAbsences(tier);
  for (const memory of lifetimes.memories) yield* checkMemory(memory, tiers);
}

function* checkNames({ tiers, memories }: Lifetimes, known: Tiers): Iterable<LifetimeViolation> {
  const names = tiers.map(({ name }) => name);
  for (const [i, subject] of names.entries()) {
    if (names.indexOf(subject) === i) continue;
    yield { fault: 'duplicate_tier', subject, message: `two tiers are named "${subject}"` };
  }
  const asked = tiers.flatMap((tier) =>
    tier.holds === 'facts' && tier.asks ? [[tier.name, tier.asks] as const] : [],
  );
  const meant = memories.flatMap(({ name, sender, receiver }) => [
    [name, sender] as const,
    [name, receiver] as const,
  ]);
  for (const [subject, name] of [...asked, ...meant]) {
    if (known.has(name)) continue;
    yield {
      fault: 'unknown_tier',
      subject,
      message: `"${subject}" names the tier "${name}", which is not declared`,
    };
  }
}

function* checkFacts(tier: FactTier, tiers: Tiers): Iterable<LifetimeViolation> {
  const { name: subject, leaves, asks } = tier;
  for (const leaving of leaves) {
    if (leaving.by !== 'age') continue;
    const use = leaving.extendedByUse ? 'its last use' : 'it was put in, used or not';
    const message = `"${subject}" drops a fact ${spanOf(leaving.ms)} after ${use}; what a file is does not change: facts leave by capacity, or idle, never by age`;
    yield { fault: 'fact_expires', subject, message };
  }
  if (leaves.length === 0 || sourcesOf(tier, tiers).some(isLasting)) return;
  const message =
    asks === null
      ? `"${subject}" ${howOf(leaves)} and asks nobody on a miss: what has left is lost, though in use`
      : `"${subject}" ${howOf(leaves)}, and no tier that it asks, near or far, keeps facts for ever`;
  yield { fault: 'fact_not_reloaded', subject, message };
}

function* checkAbsences({
  name: subject,
  leaves,
  cancelledByEvent,
}: AbsenceTier): Iterable<LifetimeViolation> {
  const ages = leaves.filter(({ by }) => by === 'age') as readonly Extract<Leaving, { by: 'age' }>[];
  if (ages.length === 0) {
    const message = `"${subject}" keeps absences without a lifetime: what comes to be known would never be asked for again`;
    yield { fault: 'absence_without_lifetime', subject, message };
  }
  for (const { ms, extendedByUse } of ages) {
    if (!extendedByUse) continue;
    const message = `"${subject}" keeps an absence for ${spanOf(ms)} after its last use: one that is asked for all the time would never end`;
    yield { fault: 'absence_extended_by_use', subject, message };
  }
  if (cancelledByEvent) return;
  const message = `"${subject}" is not told when something comes to be known: an upload would stay hidden until the absence ends`;
  yield { fault: 'absence_not_cancelled', subject, message };
}

function* checkMemory(memory: Memory, tiers: Tiers): Iterable<LifetimeViolation> {
  const { name: subject, sender, endsWithEpoch } = memory;
  const receiver = tiers.get(memory.receiver);
  if (receiver === undefined || !tiers.has(sender)) return;
  if (receiver.holds === 'facts' && sourcesOf(receiver, tiers).some(({ name }) => name === sender)) return;
  const belief = `"${subject}" remembers ${memory.ms === null ? 'as long as it runs' : `for ${spanOf(memory.ms)}`}`;
  if (receiver.leaves.length > 0) {
    const message = `${belief} that "${receiver.name}" has what it was sent, but "${receiver.name}" ${howOf(receiver.leaves)} and does not ask "${sender}" on a miss${gapOf(memory, receiver)}`;
    yield { fault: 'memory_outlives_receiver', subject, message };
  } else if (!endsWithEpoch) {
    const message = `${belief} that "${receiver.name}" has what it was sent, and does not end with the epoch of "${receiver.name}": after a loss there, nothing is sent again`;
    yield { fault: 'memory_outlives_epoch', subject, message };
  }
}

/** The tiers that answer this one's misses, nearest first. */
function sourcesOf(tier: FactTier, tiers: Tiers): readonly FactTier[] {
  const sources: FactTier[] = [];
  for (let at: Tier | undefined = tier; at?.holds === 'facts' && at.asks !== null; ) {
    at = tiers.get(at.asks);
    if (at?.holds !== 'facts' || at === tier || sources.includes(at)) break;
    sources.push(at);
  }
  return sources;
}

function isLasting({ leaves }: FactTier): boolean {
  return leaves.length === 0;
}

function gapOf({ ms }: Memory, { leaves }: Tier): string {
  const ages = leaves.flatMap((leaving) => (leaving.by === 'capacity' ? [] : [leaving.ms]));
  const shortest = Math.min(...ages);
  if (ms === null || shortest >= ms) return ': what has left stays missing there until the belief ends';
  return `: for up to ${spanOf(ms - shortest)} what is in use is missing there`;
}

function howOf(leaves: readonly Leaving[]): string {
  const ways = leaves.map((leaving) => {
    if (leaving.by === 'capacity') return 'evicts when full';
    if (leaving.by === 'idle') return `drops what was unused for ${spanOf(leaving.ms)}`;
    return `drops it ${spanOf(leaving.ms)} after ${leaving.extendedByUse ? 'its last use' : 'insertion'}`;
  });
  return ways.join(', ');
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** A duration as people say it: `6 h`, `90 s`. */
function spanOf(ms: number): string {
  const unit = units.find(([, length]) => ms % length === 0);
  return unit === undefined ? `${ms} ms` : `${ms / unit[1]} ${unit[0]}`;
}
