// A real debuginfod, as Debian packages it, over a folder of files. It scans once, at its start.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { freePort } from '../tools/test-redis.ts';
import { until } from './fleet.ts';

export const debuginfodAvailable = spawnSync('debuginfod', ['--version']).error === undefined;

export class Debuginfod {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #end = () => void this.#child.kill('SIGKILL');
  #log = '';

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}`;
    process.once('exit', this.#end);
    child.stderr!.on('data', (text: Buffer) => {
      this.#log = (this.#log + text.toString()).slice(-4_000);
    });
  }

  /** Serves the debug files under a folder; resolves once it knows as many. */
  static async start(folder: string, files: number): Promise<Debuginfod> {
    const port = await freePort();
    const args = ['-F', '-d', ':memory:', '-t', '0', '-g', '0', '-p', String(port), folder];
    // Where it would ask in turn is not for this test.
    const { DEBUGINFOD_URLS: _, ...env } = process.env;
    const child = spawn('debuginfod', args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    const started = new Debuginfod(child, port);
    await until('debuginfod has scanned', async () => {
      if (child.exitCode !== null) throw new Error(`debuginfod ended: ${started.#log}`);
      const found = await started.metric('found_debuginfo_total{source="files"}');
      return found === files || `${found} of ${files} files found`;
    });
    return started;
  }

  /** How often it was asked for a debug file and answered with this status. */
  answered(status: number): Promise<number> {
    return this.metric(`http_responses_duration_milliseconds_count{code="${status}",type="debuginfo"}`);
  }

  /** 0 where there is none yet, or it does not answer yet. */
  async metric(name: string): Promise<number> {
    const text = await fetch(`${this.url}/metrics`).then(
      (reply) => reply.text(),
      () => '',
    );
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    return line === undefined ? 0 : Number(line.slice(name.length + 1));
  }

  async stop(): Promise<void> {
    process.off('exit', this.#end);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
