// Prints the closing line `N passed, N failed[, N skipped]` that `npm test` promises, and names every skipped test:
// a test that is skipped because a tool is missing must be seen.
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    const skipped: TestCase[] = [];
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        counts[state]++;
        if (state === 'skipped') skipped.push(test);
      }
    }
    for (const test of skipped)
      process.stdout.write(`skipped: ${test.module.relativeModuleId} > ${test.fullName}\n`);
    const tail = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
    process.stdout.write(`${counts.passed} passed, ${counts.failed + counts.pending} failed${tail}\n`);
  }
}
