// Models of designs that remember executables differently from symkeep: the one whose users reported the seed cases, and
// the ones proposed as its cure. Each is two memories: what the sender believes it has told, and what the receiver holds.
// P#n is open-telemetry/opentelemetry-ebpf-profiler, issue or pull request n.

const hour = 3_600_000;
const unbounded = Number.POSITIVE_INFINITY;

/** A bounded memory whose entries end a fixed time after insertion, used or not, as go-freelru's `Get` leaves them. */
export class AgedMemory {
  readonly #expires = new Map<number, number>();
  readonly #capacity: number;
  readonly #lifetimeMs: number;
  evicted = 0;

  constructor(capacity: number, lifetimeMs: number) {
    this.#capacity = capacity;
    this.#lifetimeMs = lifetimeMs;
  }

  add(key: number, now: number): void {
    this.#expires.delete(key);
    this.#expires.set(key, now + this.#lifetimeMs);
    if (this.#expires.size <= this.#capacity) return;
    const [oldest] = this.#expires.keys();
    this.#expires.delete(oldest!);
    this.evicted++;
  }

  /** Moves the entry to the new end, and leaves its expiry alone. */
  has(key: number, now: number): boolean {
    const expires = this.#expires.get(key);
    if (expires === undefined) return false;
    this.#expires.delete(key);
    if (expires <= now) return false;
    this.#expires.set(key, expires);
    return true;
  }

  get size(): number {
    return this.#expires.size;
  }
}

/** How one design names executables. Time is in milliseconds. */
export interface Design {
  readonly name: string;
  /** A process maps the executable: the only moment at which most designs tell the receiver. */
  mapped(executable: number, now: number): void;
  /** A sample of it is reported: whether the report can name it. */
  sampled(executable: number, now: number): boolean;
  /** Executables told, in all. */
  readonly sent: number;
  /** Entries in the sender's memory of what it has told, and in the receiver's cache. */
  readonly remembered: number;
  readonly held: number;
}

interface Memories {
  /** What the sender believes that the receiver has. */
  readonly told: AgedMemory;
  readonly received: AgedMemory;
  /** Whether a sample that cannot be named makes the sender tell again, one report later. */
  readonly tellsOnMiss: boolean;
}

function design(name: string, { told, received, tellsOnMiss }: Memories): Design {
  let sent = 0;
  const tell = (executable: number, now: number): void => {
    sent++;
    told.add(executable, now);
    received.add(executable, now);
  };
  return {
    name,
    mapped: (executable, now) => {
      if (!told.has(executable, now)) tell(executable, now);
    },
    sampled: (executable, now) => {
      if (received.has(executable, now)) return true;
      if (tellsOnMiss) tell(executable, now);
      return false;
    },
    get sent() {
      return sent;
    },
    get remembered() {
      return told.size;
    },
    get held() {
      return received.size;
    },
  };
}

/** P#244: received 1 h from insertion, told again only when the ELF info cache misses, after 6 h. */
export const mismatched = (): Design =>
  design('1 h from insertion, told once in 6 h (P#244)', {
    told: new AgedMemory(unbounded, 6 * hour),
    received: new AgedMemory(unbounded, hour),
    tellsOnMiss: false,
  });

/** P#248 (a): an ID in use expires, and the report after the one without its name heals it. */
export const healing = (): Design =>
  design('1 h from insertion, told again after a miss (P#248 a)', {
    told: new AgedMemory(unbounded, hour),
    received: new AgedMemory(unbounded, hour),
    tellsOnMiss: true,
  });

/** P#248 (b): told exactly once; the receiver forgets after an hour. */
export const toldOnce = (): Design =>
  design('1 h from insertion, told once for ever (P#248 b)', {
    told: new AgedMemory(unbounded, unbounded),
    received: new AgedMemory(unbounded, hour),
    tellsOnMiss: false,
  });

/** P#250: nothing expires, but the host has more executables than the receiver's cache holds. */
export const overCapacity = (capacity: number): Design =>
  design('no lifetimes, bounded receiver (P#250)', {
    told: new AgedMemory(unbounded, unbounded),
    received: new AgedMemory(capacity, unbounded),
    tellsOnMiss: false,
  });

/** Proposed: tell more often than the receiver forgets. */
export const moreOften = (capacity: number, room = ''): Design =>
  design(`1 h from insertion, told every 10 min${room}`, {
    told: new AgedMemory(capacity, hour / 6),
    received: new AgedMemory(capacity, hour),
    tellsOnMiss: false,
  });

/** Proposed: the same lifetime on both sides. */
export const equalLifetimes = (capacity: number, room = ''): Design =>
  design(`1 h on both sides${room}`, {
    told: new AgedMemory(capacity, hour),
    received: new AgedMemory(capacity, hour),
    tellsOnMiss: false,
  });

/** Proposed: no lifetimes and no bounds. */
export const unboundedDesign = (): Design =>
  design('no lifetimes, no bounds', {
    told: new AgedMemory(unbounded, unbounded),
    received: new AgedMemory(unbounded, unbounded),
    tellsOnMiss: false,
  });
