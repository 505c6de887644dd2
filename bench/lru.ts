// `Lru` against lru-cache, tiny-lru and a bare table, each in a process of its own, in turn. The keys of requests are
// bytes in a received buffer; the peers, which need strings, build theirs from the same bytes, and, as subjects of
// their own, are given strings that are there already.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type Assignment, type Measure, subjectNames } from './lru/subject.ts';
import { measureInTurn, Report, type Subject } from './report.ts';

const entriesOf = { small: 16_384, large: 262_144 };
// Memory does not vary as time does.
const memoryRounds = 5;
const subjectFile = new URL('./lru/subject.ts', import.meta.url);

const report = new Report('lru');

function startSubject(assignment: Assignment): { subject: Subject; child: ChildProcess } {
  const child = fork(subjectFile, [JSON.stringify(assignment)], { execArgv: ['--expose-gc'] });
  const ended = failIfEnded(child);
  const sample = async (): Promise<number> => {
    child.send('sample');
    const [value] = await Promise.race([once(child, 'message'), ended]);
    return value;
  };
  return { subject: { name: assignment.subject, sample }, child };
}

async function failIfEnded(child: ChildProcess): Promise<never> {
  const [code] = await once(child, 'exit');
  throw new Error(`a subject ended with ${code}`);
}

async function compare(what: Measure, entries: number): Promise<void> {
  const names =
    what === 'memory' ? subjectNames.filter((name) => !name.endsWith('ready strings')) : subjectNames;
  const started = names.map((subject) => startSubject({ subject, what, entries }));
  const subjects = started.map(({ subject }) => subject);
  const values = await measureInTurn(subjects, what === 'memory' ? memoryRounds : undefined);
  for (const { child } of started) child.disconnect();
  const title = `${what}, ${entries} entries`;
  report.addAll(title, values, what === 'memory' ? 'bytes an entry' : 'ns');
  for (const [name, value] of values) {
    if (!name.startsWith('symkeep'))
      report.ratio(`${title}, against ${name}`, value / values.get('symkeep')!);
  }
}

for (const entries of Object.values(entriesOf)) {
  for (const what of ['memory', 'hit', 'get-or-set'] as const) await compare(what, entries);
}
report.publish();
