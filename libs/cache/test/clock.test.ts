import { ManualClock, SystemClock } from '@symkeep/cache';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('ManualClock', () => {
  it('runs timers in order of their moments, and of their setting among equals, each at its moment', async () => {
    const clock = new ManualClock();
    const ran: [string, number][] = [];
    for (const [name, ms] of [
      ['c', 30],
      ['a', 10],
      ['b', 10],
      ['late', 41],
    ] as const) {
      clock.setTimer(ms, () => ran.push([name, clock.now()]));
    }
    await clock.advance(40);
    expect(ran).toEqual([
      ['a', 10],
      ['b', 10],
      ['c', 30],
    ]);
    expect([clock.now(), clock.pendingTimers]).toEqual([40, 1]);
  });

  it('any set of timers, some cancelled, runs sorted, equals as they were set', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20), fc.boolean()), { size: 'large' }), (drawn) => {
        const clock = new ManualClock();
        const ran: number[] = [];
        const timers = drawn.map(([ms, isCancelled], i) => ({ ms, isCancelled, i }));
        const cancels = timers.map(({ ms, i }) => clock.setTimer(ms, () => ran.push(i)));
        for (const { isCancelled, i } of timers) if (isCancelled) cancels[i]!();
        const expected = timers.filter(({ isCancelled }) => !isCancelled);
        expect(clock.pendingTimers).toBe(expected.length);
        clock.advanceSync(20);
        expect(ran).toEqual(expected.sort((a, b) => a.ms - b.ms).map(({ i }) => i));
        expect(clock.pendingTimers).toBe(0);
      }),
    );
  });

  it('lets what a timer sets off come to rest before the next runs', async () => {
    const clock = new ManualClock();
    const ran: string[] = [];
    const sleepy = async (name: string, ms: number): Promise<void> => {
      for (let i = 0; i < 3; i++) {
        await clock.sleep(ms);
        for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        ran.push(`${name}${clock.now()}`);
      }
    };
    const done = Promise.all([sleepy('a', 10), sleepy('b', 15)]);
    await clock.advance(45);
    expect(ran).toEqual(['a10', 'b15', 'a20', 'b30', 'a30', 'b45']);
    await done;
  });

  it('repeats until cancelled, from within too', async () => {
    const clock = new ManualClock();
    let ran = 0;
    const cancel = clock.setRepeating(10, () => {
      if (++ran === 3) cancel();
    });
    await clock.advance(100);
    expect([ran, clock.pendingTimers]).toEqual([3, 0]);
  });

  it('ends a sleep by its signal, and drops its timer', async () => {
    const clock = new ManualClock();
    const abort = new AbortController();
    const sleep = clock.sleep(1000, abort.signal);
    abort.abort(new Error('enough'));
    await expect(sleep).rejects.toThrow('enough');
    await expect(clock.sleep(1, abort.signal)).rejects.toThrow('enough');
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps monotonic time and ticks when the wall clock steps', async () => {
    const clock = new ManualClock({ wallMs: 1_000_000, tickMs: 100 });
    await clock.advance(250);
    clock.skewWall(-7_200_000);
    expect([clock.now(), clock.tick, clock.wall()]).toEqual([250, 2, 1_000_250 - 7_200_000]);
  });

  it('passes 48 hours of a hundred agents', async () => {
    const clock = new ManualClock({ settle: () => Promise.resolve() });
    let cycles = 0;
    for (let agent = 0; agent < 100; agent++) clock.setRepeating(60_000 + agent, () => cycles++);
    await clock.advance(48 * 3_600_000);
    const expected = Array.from({ length: 100 }, (_, agent) =>
      Math.floor((48 * 3_600_000) / (60_000 + agent)),
    );
    expect(cycles).toBe(expected.reduce((sum, count) => sum + count));
  });

  it('refuses to be advanced twice at once, and timers beyond what Node’s can do', async () => {
    const clock = new ManualClock();
    const first = clock.advance(10);
    await expect(clock.advance(10)).rejects.toThrow(/advanced already/);
    await first;
    for (const ms of [-1, Number.NaN, 2 ** 31]) {
      expect(() => clock.setTimer(ms, () => undefined)).toThrow(RangeError);
    }
  });
});

describe('SystemClock', () => {
  it('reads the system’s clocks, and never proves a time by too few ticks', () => {
    const clock = new SystemClock();
    expect(Number.isInteger(clock.tick)).toBe(true);
    expect(clock.now()).toBeGreaterThanOrEqual(clock.tick * clock.tickMs);
    expect(Math.abs(clock.wall() - Date.parse(new Date().toISOString()))).toBeLessThan(3_600_000);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), fc.integer({ min: 1, max: 1e9 }), (start, ms) => {
        const ticks = clock.ticksFor(ms);
        const tickOf = (time: number): number => Math.floor(time / clock.tickMs);
        expect(tickOf(start + ms - 0.001) - tickOf(start)).toBeLessThan(ticks);
      }),
    );
    expect(() => clock.ticksFor(2 ** 40)).toThrow(RangeError);
  });

  it('runs, repeats, sleeps and cancels', async () => {
    const clock = new SystemClock();
    let ran = 0;
    const cancel = clock.setTimer(60_000, () => ran++);
    cancel();
    await new Promise<void>((resolve) => clock.setTimer(0, resolve));
    await new Promise<void>((resolve) => {
      const stop = clock.setRepeating(1, () => {
        if (++ran === 2) resolve(stop());
      });
    });
    await clock.sleep(1);
    await expect(clock.sleep(60_000, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    expect(ran).toBe(2);
  });
});
