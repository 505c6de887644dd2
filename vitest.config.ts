import { defineConfig } from 'vitest/config';

// Three projects, one command. `unit` needs nothing but Node; `store` and `e2e` start real Redis servers and real
// processes, so they run one file at a time: two cores are shared with everything that the tests start.
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
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
    reporters: ['default', './tools/closing-line.ts'],
  },
});
