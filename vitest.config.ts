import { defineConfig } from 'vitest/config';

// Three projects, one command. `unit` runs files side by side; some of them start a real Redis. `seed` simulates days, beside
// them. `e2e` starts fleets of real processes, which wait more than they work: two of its files run at a time, whatever the
// machine has, and each waits for what it expects rather than for a time.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'libs/*/test/**/*.test.ts',
            'apps/*/test/**/*.test.ts',
            'tools/**/*.test.ts',
            'bench/**/*.test.ts',
          ],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'seed',
          include: ['e2e/seed/**/*.test.ts'],
          testTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          exclude: ['e2e/seed/**'],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
    ],
    reporters: ['default', './tools/closing-line.ts'],
  },
});
