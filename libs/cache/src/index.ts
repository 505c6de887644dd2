export { Absences, type AbsencesMetrics, type AbsencesOptions } from './absences.ts';
export { type Clock, ManualClock, type ManualClockOptions, SystemClock } from './clock.ts';
export { Epoch, type EpochOptions, type EpochSample } from './epoch.ts';
export {
  type AbsenceTier,
  checkLifetimes,
  type FactTier,
  IllegalLifetimes,
  type Leaving,
  type LifetimeFault,
  type Lifetimes,
  type LifetimeViolation,
  type Memory,
  type Tier,
} from './lifetime-contract.ts';
export { type EvictReason, Lru, type LruMetrics, type LruOptions } from './lru.ts';
export { MemoryStore, type MemoryStoreOptions, type StoreImage } from './memory-store.ts';
export { type FitnessOptions, type RedisFault, type RedisFitness, redisFitness } from './redis-fitness.ts';
export { RedisStore, type RedisStoreOptions, storeClientOptions } from './redis-store.ts';
export { SingleFlight } from './single-flight.ts';
export {
  type EventCursor,
  type EventPage,
  type Ranked,
  type RankingMember,
  type Read,
  type Store,
  type StoreEvent,
  type StoreKey,
  type StoreNode,
  StoreUnavailable,
  type Swap,
  type Swapped,
  shardCount,
} from './store.ts';
export {
  type Loaded,
  TieredCache,
  type TieredCacheMetrics,
  type TieredCacheOptions,
} from './tiered-cache.ts';
