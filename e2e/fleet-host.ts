// A host for an agent to look at: a /proc of its own in a temporary folder, whose processes map real ELF files that differ
// in their IDs. What those IDs are is worked out here from the file format and its hash alone.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeProc, fixture } from '../apps/agent-client/test/discovery/fake-proc.ts';

/** Bytes at each end of a file that its htlhash covers. */
const hashedBytes = 4_096;
const gnuNote = Buffer.from('040000001400000003000000474e5500', 'hex');
const goNote = Buffer.from('040000005300000004000000476f0000', 'hex');

export interface Executable {
  readonly file: string;
  /** All its IDs as text; the one that its record is filed under comes first. */
  readonly ids: readonly string[];
}

/** The same number is the same bytes, on every host. Every fifth has a Go ID, the others a GNU build ID. */
function writeExecutable(directory: string, number: number): Executable {
  const file = join(directory, `program-${number}`);
  const isGo = number % 5 === 0;
  const bytes = Buffer.from(readFileSync(fixture(isGo ? 'go-id' : 'debug-plain')));
  const desc = bytes.indexOf(isGo ? goNote : gnuNote) + gnuNote.length;
  const digest = createHash('sha256').update(`program ${number}`).digest();
  if (isGo) bytes.write(digest.toString('base64url').slice(0, 20), desc, 'latin1');
  else digest.copy(bytes, desc, 0, 20);
  writeFileSync(file, bytes, { mode: 0o755 });
  const htlhash = `htlhash:${htlhashOf(bytes)}`;
  if (!isGo) return { file, ids: [`gnu:${bytes.toString('hex', desc, desc + 20)}`, htlhash] };
  return { file, ids: [htlhash, `go:${bytes.subarray(desc, desc + 83).toString('base64url')}`] };
}

/** As the OpenTelemetry profiles specification has it: the first half of SHA-256 over both ends and the length. */
function htlhashOf(bytes: Buffer): string {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(bytes.length));
  const [head, tail] = [bytes.subarray(0, hashedBytes), bytes.subarray(-hashedBytes)];
  return createHash('sha256').update(head).update(tail).update(length).digest('hex').slice(0, 32);
}

export class FleetHost {
  /** All that its processes have run, those that have ended since included. */
  readonly executables: Executable[] = [];
  /** By what each runs. */
  readonly #processes = new Map<readonly Executable[], number>();
  #lastPid = 0;
  readonly #fake = new FakeProc();
  readonly #bin = join(this.#fake.directory, 'bin');

  constructor() {
    mkdirSync(this.#bin);
  }

  get proc(): string {
    return this.#fake.proc;
  }

  get sys(): string {
    return this.#fake.sys;
  }

  /** How many executables are run now. */
  get live(): number {
    return [...this.#processes.keys()].reduce((sum, { length }) => sum + length, 0);
  }

  /** A new process that runs code from these files. */
  run(numbers: readonly number[]): readonly Executable[] {
    return this.runFiles(numbers.map((number) => writeExecutable(this.#bin, number)));
  }

  /** A new process that runs code from files that are there already. */
  runFiles(started: readonly Executable[]): readonly Executable[] {
    const pid = ++this.#lastPid;
    this.#fake.run(pid, started);
    this.#processes.set(started, pid);
    this.executables.push(...started);
    return started;
  }

  /** Ends the process that runs these. */
  end(started: readonly Executable[]): void {
    this.#fake.end(this.#processes.get(started)!);
    this.#processes.delete(started);
  }

  remove(): void {
    rmSync(this.#fake.directory, { recursive: true, force: true });
  }
}
