// The repository's rules, enforced: what may import what, who may read the clock, how big a file may grow. Each rule
// lists every place that breaks it.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const linesMax = 500;
const functionLinesMax = 70;

/** A named function, a method, or a constant that is an arrow function with a body; its indent is captured. */
const functionHead =
  /^( *)(?:(?:export )?(?:async )?function\b[ *]+\w.*[{(]$|(?:(?:get|set|static|private|async) )*[#\w]+\([^;]*\)[^;=]*\{$|(?:export )?const \w+ = (?:async )?\(.*[{(]$)/;

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const tracked = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(root, path)));
const sources = tracked
  .filter((path) => /\.(ts|js)$/.test(path) && !path.includes('/fixtures/'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
const production = sources.filter(({ path }) => /^(libs|apps)\/[^/]+\/(src|bin)\//.test(path));

/** A project may import these projects and no others. */
const mayImport: Record<string, readonly string[]> = {
  protocol: [],
  cache: [],
  options: [],
  elf: ['protocol'],
  symbols: ['elf', 'protocol'],
  'agent-client': ['cache', 'elf', 'options', 'otlp', 'protocol'],
  'symbol-server': ['cache', 'elf', 'options', 'protocol', 'symbols'],
};
/** Each of these is imported by one file, so that it can be replaced there. */
const singleImporter: Record<string, string> = {
  ioredis: 'apps/symbol-server/src/redis.ts',
  msgpackr: 'libs/protocol/src/codec.ts',
  bullmq: 'apps/symbol-server/src/jobs/queue.ts',
};

function importsOf(text: string): { name: string; typeOnly: boolean; isLazy: boolean }[] {
  const pattern =
    /^\s*(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]/gm;
  return [...text.matchAll(pattern)].map((match) => ({
    name: match[2] ?? match[3]!,
    typeOnly: match[1] !== undefined,
    isLazy: match[3] !== undefined,
  }));
}

function projectOf(path: string): string {
  return path.split('/')[1]!;
}

/** `path:line` of every line that matches. */
function linesMatching(files: typeof sources, pattern: RegExp): string[] {
  return files.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, index) =>
        pattern.test(line) && !/^\s*(\/\/|\*|\/\*)/.test(line) ? [`${path}:${index + 1}`] : [],
      ),
  );
}

describe('dependencies', () => {
  it('flow one way between projects, through their index', () => {
    const wrong = production.flatMap(({ path, text }) =>
      importsOf(text).flatMap(({ name }) => {
        if (!name.startsWith('@symkeep/')) return [];
        const [, project = '', ...inside] = name.split('/');
        const allowed = mayImport[projectOf(path)]?.includes(project) && inside.length === 0;
        return allowed ? [] : [`${path} imports ${name}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('stay inside the project where they are relative', () => {
    const wrong = production.flatMap(({ path, text }) =>
      importsOf(text)
        .filter(({ name }) => name.startsWith('.'))
        .filter(({ name }) => {
          const target = normalize(join(dirname(path), name));
          return !target.startsWith(path.split('/').slice(0, 2).join('/')) || !existsSync(join(root, target));
        })
        .map(({ name }) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('on ioredis, msgpackr and bullmq stand in one file each', () => {
    const wrong = production.flatMap(({ path, text }) =>
      importsOf(text)
        .filter(({ name, typeOnly }) => !typeOnly && name in singleImporter && singleImporter[name] !== path)
        .map(({ name }) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('of `symkeep extract` leave out what takes longer to load than a small file to extract', () => {
    const app = 'apps/symbol-server/src';
    const loaded = new Map<string, string>();
    const load = (path: string) => {
      for (const { name, typeOnly, isLazy } of importsOf(readFileSync(join(root, path), 'utf8'))) {
        const target = name.startsWith('.') ? normalize(join(dirname(path), name)) : name;
        if (typeOnly || isLazy || loaded.has(target)) continue;
        loaded.set(target, path);
        if (name.startsWith('.')) load(target);
      }
    };
    for (const file of ['main.ts', 'commands/extract.ts']) load(join(app, file));
    const heavy = ['node:http', 'node:https', 'hono', 'ioredis', 'bullmq', join(app, 'catalog/index.ts')];
    expect(heavy.filter((name) => loaded.has(name)).map((name) => `${loaded.get(name)}: ${name}`)).toEqual(
      [],
    );
    expect(loaded.has('@symkeep/symbols')).toBe(true);
  });

  it('of a project are declared in its package.json', () => {
    const wrong = production.flatMap(({ path, text }) => {
      const manifest = JSON.parse(
        readFileSync(join(root, path.split('/').slice(0, 2).join('/'), 'package.json'), 'utf8'),
      );
      const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
      return importsOf(text)
        .map(({ name }) => name)
        .filter((name) => !name.startsWith('.') && !name.startsWith('node:'))
        .map((name) =>
          name
            .split('/')
            .slice(0, name.startsWith('@') ? 2 : 1)
            .join('/'),
        )
        .filter((name) => !declared.includes(name))
        .map((name) => `${path} imports ${name}`);
    });
    expect(wrong).toEqual([]);
  });
});

describe('code', () => {
  it('reads clocks and sets timers in clock.ts alone', () => {
    const files = production.filter(({ path }) => path !== 'libs/cache/src/clock.ts');
    expect(
      linesMatching(
        files,
        /\b(Date\.now|performance\.now|process\.hrtime|setTimeout|setInterval)\b|new Date\(\)/,
      ),
    ).toEqual([]);
  });

  it('gives up no types', () => {
    const files = sources.filter(({ path }) => path !== 'tools/tidy.test.ts');
    expect(linesMatching(files, /: any\b|\bas any\b|<any>/)).toEqual([]);
    const suppressed = files.filter(({ text }) =>
      /@ts-(ignore|expect-error|nocheck)|biome-ignore/.test(text),
    );
    expect(suppressed.map(({ path }) => path)).toEqual([]);
  });

  it('swallows no errors', () => {
    const empty = /catch\s*(\([^)]*\))?\s*\{\s*(\/\/[^\n]*\s*)*\}/;
    const wrong = production.filter(({ text }) => empty.test(text)).map(({ path }) => path);
    expect(wrong).toEqual([]);
  });

  it(`keeps files under ${linesMax} lines and functions under ${functionLinesMax}`, () => {
    const long = sources.filter(({ text }) => text.split('\n').length > linesMax + 1).map(({ path }) => path);
    expect(long).toEqual([]);
    expect(production.flatMap(({ path, text }) => longFunctions(path, text))).toEqual([]);
  });

  it('has no folders and suffixes that say nothing', () => {
    const vague = /(^|\/)(utils?|helpers?|common|types|misc)\/|-(manager|service|handler|helper|utils?)\.ts$/;
    expect(tracked.filter((path) => vague.test(path))).toEqual([]);
    expect(
      linesMatching(production, /^export (abstract )?class \w+(Manager|Service|Handler|Helper|Utils?)\b/),
    ).toEqual([]);
  });

  it('mocks nothing and never sleeps in tests', () => {
    // The clock's own test is the one place that has a clock sleep.
    const own = ['tools/tidy.test.ts', 'libs/cache/test/clock.test.ts'];
    const tests = sources.filter(({ path }) => path.endsWith('.test.ts') && !own.includes(path));
    expect(linesMatching(tests, /vi\.mock\(|ioredis-mock|\.(only|todo)\(|\bsleep\(\d/)).toEqual([]);
  });
});

describe('files', () => {
  it('are all reached: no dead modules', () => {
    const reached = new Set<string>();
    const byPath = new Map(sources.map((source) => [source.path, source]));
    const queue = sources.map(({ path }) => path).filter(isEntry);
    for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
      const source = byPath.get(path);
      if (source === undefined || reached.has(path)) continue;
      reached.add(path);
      queue.push(...pathsIn(path, source.text));
    }
    expect(production.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });

  it('speak of the project alone: no paths of a machine, no registry hosts', () => {
    const texts = tracked
      .filter((path) => /\.(ts|js|json|md|yaml|yml|sh|conf|service)$|Makefile$|Dockerfile$/.test(path))
      .filter((path) => path !== 'tools/tidy.test.ts')
      .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
    const wrong = texts.filter(({ text }) =>
      /\/work\/(main|shared|\.)|registry\.npmjs|deb\.debian\.org/.test(text),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });
});

function isEntry(path: string): boolean {
  return /\/bin\/|\.test\.ts$|^(bench|tools|e2e|infra)\/|\.config\.ts$|\/src\/index\.ts$/.test(path);
}

// Imports, and modules that are started by name (`new URL('./worker.ts', import.meta.url)`).
function pathsIn(path: string, text: string): string[] {
  const started = [...text.matchAll(/['"](\.{1,2}\/[^'"]+\.(?:ts|js))['"]/g)].map((match) => match[1]!);
  return [...importsOf(text).map(({ name }) => name), ...started]
    .filter((name) => name.startsWith('.'))
    .map((name) => relative('.', normalize(join(dirname(path), name))));
}

// Formatted code: a function's head ends in `{`, on the line where it begins or, with a parameter a line, where the
// parameters end; its body ends on the next line with the same indent and `}`.
function longFunctions(path: string, text: string): string[] {
  const lines = text.split('\n');
  return lines.flatMap((line, start) => {
    const indent = functionHead.exec(line)?.[1];
    if (indent === undefined || /^ *(if|for|while|switch|catch|return|else)\b/.test(line)) return [];
    const end = lines.findIndex((other, index) => index > start && other.startsWith(`${indent}}`));
    return end - start + 1 > functionLinesMax ? [`${path}:${start + 1} has ${end - start + 1} lines`] : [];
  });
}
