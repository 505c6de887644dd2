// The program of an extraction child: takes a task, answers it, takes the next. It ends when its parent lets go of it.
// Bounds on memory and time are the parent's to set and to enforce.
import module from 'node:module';
import type { ExtractionTask, FillTask } from './messages.ts';

module.enableCompileCache();
const { answerTask } = await import('./answer-task.ts');

process.on('message', async (task: ExtractionTask | FillTask) => {
  const answer = await answerTask(task);
  process.send?.(answer);
});
process.on('disconnect', () => process.exit());
