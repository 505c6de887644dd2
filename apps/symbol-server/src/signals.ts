// The signals that end a process in order.

/** Resolves at the first SIGINT, SIGTERM or SIGHUP; later ones are ignored, since what they ask for is under way. */
export function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
  });
}
