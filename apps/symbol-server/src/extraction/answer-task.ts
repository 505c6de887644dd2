// An extraction's outcome as data, whatever goes wrong.
import { ElfError, isOutOfMemory } from '@symkeep/elf';
import { SymbolsError } from '@symkeep/symbols';
import { extractTable, fillTable } from './extract-table.ts';
import type { ExtractionAnswer, ExtractionCode, ExtractionTask, FillTask } from './messages.ts';

export async function answerTask(task: ExtractionTask | FillTask): Promise<ExtractionAnswer> {
  try {
    const table = 'tables' in task ? fillTable(task) : await extractTable(task);
    return { table, residentBytes: process.memoryUsage.rss() };
  } catch (error) {
    const failure = { code: codeOf(error as Error), message: (error as Error).message };
    return { failure, residentBytes: process.memoryUsage.rss() };
  }
}

function codeOf(error: Error): ExtractionCode {
  if (error instanceof ElfError || error instanceof SymbolsError) return error.code;
  if (isOutOfMemory(error)) return 'out_of_memory';
  return 'syscall' in error ? 'unreadable' : 'crashed';
}
