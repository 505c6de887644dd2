import { SingleFlight } from '@symkeep/cache';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

/** Loads that end when told to, and know how many of them run at once. */
class Loads {
  readonly started: {
    resolve: (value: string) => void;
    reject: (error: unknown) => void;
    signal: AbortSignal;
  }[] = [];
  running = 0;
  mostRunning = 0;

  readonly load = async (signal: AbortSignal): Promise<string> => {
    this.running++;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    try {
      return await new Promise<string>((resolve, reject) => this.started.push({ resolve, reject, signal }));
    } finally {
      this.running--;
    }
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('SingleFlight', () => {
  it('loads once for all who ask meanwhile, and again for who asks later', async () => {
    const flights = new SingleFlight<string, string>();
    const loads = new Loads();
    const asked = [flights.run('k', loads.load), flights.run('k', loads.load), flights.run('k', loads.load)];
    expect([loads.started.length, flights.size]).toEqual([1, 1]);
    loads.started[0]!.resolve('value');
    expect(await Promise.all(asked)).toEqual(['value', 'value', 'value']);
    expect(flights.size).toBe(0);
    const later = flights.run('k', loads.load);
    loads.started[1]!.resolve('newer');
    expect(await later).toBe('newer');
  });

  it('keeps keys apart', async () => {
    const flights = new SingleFlight<string, string>();
    expect(await Promise.all(['a', 'b'].map((k) => flights.run(k, async () => k)))).toEqual(['a', 'b']);
  });

  it('shares an error, which poisons nothing', async () => {
    const flights = new SingleFlight<string, string>();
    const error = new Error('down');
    const outcomes = await Promise.allSettled(
      [1, 2].map(() => flights.run('k', () => Promise.reject(error))),
    );
    expect(outcomes.map((o) => o.status === 'rejected' && o.reason)).toEqual([error, error]);
    expect(await flights.run('k', async () => 'up')).toBe('up');
    const thrown = (): Promise<string> => {
      throw error;
    };
    await expect(flights.run('k', thrown)).rejects.toBe(error);
    expect(await flights.run('k', async () => 'up')).toBe('up');
  });

  it('runs one load at a time when the first fails and all who shared it try again at once', async () => {
    const flights = new SingleFlight<string, string>();
    const loads = new Loads();
    const stubborn = async (): Promise<string> => {
      for (;;) {
        try {
          return await flights.run('k', loads.load);
        } catch (error) {
          if (loads.started.length > 5) throw error;
        }
      }
    };
    const asked = [stubborn(), stubborn(), stubborn()];
    for (let i = 0; i < 3; i++) {
      loads.started[i]!.reject(new Error('down'));
      await turn();
      expect(loads.started).toHaveLength(i + 2);
    }
    loads.started[3]!.resolve('value');
    expect(await Promise.all(asked)).toEqual(['value', 'value', 'value']);
    expect(loads.mostRunning).toBe(1);
  });

  it('lets one caller go without troubling the others', async () => {
    const flights = new SingleFlight<string, string>();
    const loads = new Loads();
    const abort = new AbortController();
    const impatient = flights.run('k', loads.load, abort.signal);
    const patient = flights.run('k', loads.load);
    abort.abort(new Error('too late'));
    await expect(impatient).rejects.toThrow('too late');
    expect(loads.started[0]!.signal.aborted).toBe(false);
    loads.started[0]!.resolve('value');
    expect(await patient).toBe('value');
  });

  it('aborts a load for which nobody waits any more, and starts the next only when that one has ended', async () => {
    const flights = new SingleFlight<string, string>();
    const loads = new Loads();
    const abort = new AbortController();
    const first = flights.run('k', loads.load, abort.signal);
    abort.abort(new Error('too late'));
    await expect(first).rejects.toThrow('too late');
    expect(loads.started[0]!.signal.aborted).toBe(true);
    const next = [flights.run('k', loads.load), flights.run('k', loads.load)];
    await turn();
    expect(loads.started).toHaveLength(1);
    loads.started[0]!.reject(new Error('aborted'));
    await turn();
    expect(loads.started).toHaveLength(2);
    loads.started[1]!.resolve('value');
    expect(await Promise.all(next)).toEqual(['value', 'value']);
    expect(loads.mostRunning).toBe(1);
  });

  it('takes the value of an aborted load that came all the same', async () => {
    const flights = new SingleFlight<string, string>();
    const loads = new Loads();
    const abort = new AbortController();
    const first = flights.run('k', loads.load, abort.signal);
    abort.abort();
    await expect(first).rejects.toThrow();
    const next = flights.run('k', loads.load);
    loads.started[0]!.resolve('value');
    expect(await next).toBe('value');
    expect(loads.started).toHaveLength(1);
  });

  it('does not start for a caller that has gone already, nor abort what has ended', async () => {
    const flights = new SingleFlight<string, AbortSignal>();
    await expect(
      flights.run('k', async (signal) => signal, AbortSignal.abort(new Error('gone'))),
    ).rejects.toThrow('gone');
    const signal = await flights.run('k', async (each) => each);
    await turn();
    expect(signal.aborted).toBe(false);
  });

  it('never runs two loads of a key at once, whatever fails and whoever leaves', async () => {
    const event = fc.constantFrom('ask', 'leave', 'resolve', 'reject', 'turn');
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
        const flights = new SingleFlight<string, string>();
        const loads = new Loads();
        const leaving: AbortController[] = [];
        const asked: Promise<unknown>[] = [];
        let ended = 0;
        const end = (how: 'resolve' | 'reject'): void => {
          if (ended < loads.started.length) loads.started[ended++]![how](how);
        };
        for (const each of events) {
          if (each === 'ask') {
            const abort = new AbortController();
            leaving.push(abort);
            asked.push(Promise.allSettled([flights.run('k', loads.load, abort.signal)]));
          } else if (each === 'leave') leaving.shift()?.abort();
          else if (each === 'turn') await turn();
          else end(each);
        }
        while (loads.running > 0) {
          end('resolve');
          await turn();
        }
        await Promise.all(asked);
        expect(loads.mostRunning).toBeLessThanOrEqual(1);
        expect(flights.size).toBe(0);
      }),
    );
  });
});
