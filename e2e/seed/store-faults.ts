// A store with something between it and the servers: mechanisms switched off, events lost, slow reads.
import type { ManualClock, Read, Store, StoreKey } from '@symkeep/cache';

export interface StoreFaults {
  /** Nodes never tell that they are others than before: as if only a missing epoch key were noticed. */
  readonly hidesIdentity?: boolean;
  /** The epoch never changes, whatever happens to the store. */
  readonly freezesEpoch?: boolean;
  /** Servers never hear of changes by others. */
  readonly mutesEvents?: boolean;
  readonly readMs?: number;
  readonly clock?: ManualClock;
}

export function withFaults(store: Store, faults: StoreFaults): Store {
  const { hidesIdentity = false, freezesEpoch = false, mutesEvents = false, readMs, clock } = faults;
  const overrides: Partial<Store> = {};
  if (hidesIdentity || freezesEpoch) {
    overrides.nodes = async () => {
      const nodes = await store.nodes();
      return Array.isArray(nodes) ? nodes.map(({ shards }) => ({ identity: 'same', shards })) : nodes;
    };
  }
  if (freezesEpoch) {
    overrides.epochs = async () => {
      const parts = await store.epochs();
      return Array.isArray(parts) ? parts.map(() => 'frozen same') : parts;
    };
    overrides.swap = async (swaps) => {
      const swapped = await store.swap(swaps);
      return swapped.map((outcome) =>
        outcome instanceof Error ? outcome : { ...outcome, epoch: 'frozen same' },
      );
    };
  }
  if (mutesEvents) {
    overrides.readEvents = async (cursor) => ({ events: [], cursor, reset: false, outage: null });
    overrides.waitForEvents = async (_, waitMs, signal) => {
      const end = await store.eventTail();
      return end instanceof Error ? end : store.waitForEvents(end, waitMs, signal);
    };
  }
  if (readMs !== undefined && clock !== undefined) {
    overrides.get = async (keys: readonly StoreKey[]): Promise<Read[]> => {
      const values = await store.get(keys);
      await clock.sleep(readMs);
      return values;
    };
  }
  return new Proxy(store, {
    get: (target, name) => {
      const own = overrides[name as keyof Store];
      if (own !== undefined) return own;
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
