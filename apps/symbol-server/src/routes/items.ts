// Batches: one bad item never fails the others. Each is parsed for itself, the good ones go on together, and the results
// stand in request order.
import { type ReportResult, SymkeepError } from '@symkeep/protocol';

/**
 * Parses each value, gives all that parsed to `run` (not called for none), and puts `refused` where one did not parse.
 */
export async function eachItem<Item, Result>(
  values: readonly unknown[],
  parse: (value: unknown) => Item,
  run: (items: Item[]) => Promise<Result[]>,
  refused: (error: SymkeepError, value: unknown) => Result,
): Promise<Result[]> {
  const parsed = values.map((value) => parsedOr(value, parse));
  const items = parsed.flatMap((item) => (item instanceof Refused ? [] : [item.value]));
  const results = items.length === 0 ? [] : await run(items);
  let next = 0;
  return parsed.map((item, index) =>
    item instanceof Refused ? refused(item.error, values[index]) : results[next++]!,
  );
}

/** Throws `unavailable`, with the store's reason, if it took nothing of a write: then there is nothing to acknowledge. */
export function assertTaken(results: readonly ReportResult[]): void {
  const [first] = results;
  if (first?.error === undefined || results.some(({ error }) => error?.code !== 'unavailable')) return;
  const { message, details } = first.error;
  throw new SymkeepError('unavailable', message, { details, retryAfterSeconds: 1 });
}

class Refused {
  readonly error: SymkeepError;
  constructor(error: SymkeepError) {
    this.error = error;
  }
}

function parsedOr<Item>(value: unknown, parse: (value: unknown) => Item): { value: Item } | Refused {
  try {
    return { value: parse(value) };
  } catch (error) {
    const known = SymkeepError.from(error);
    if (known.code === 'internal') throw error;
    return new Refused(known);
  }
}
