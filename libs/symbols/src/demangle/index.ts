/**
 * Linkage names to what people read. C++ (Itanium) and Rust v0 print exactly as `llvm-cxxfilt` 19; legacy Rust names,
 * which that tool shows as C++ with escapes and hash, print as rustc's own demangler does without the hash.
 * A name that is none of these, or that passes a bound of `bounds.ts`, comes back as it is.
 */
import { fail, NotMangled, nameCharsMax } from './bounds.ts';
import { demangleItanium } from './itanium/index.ts';
import { demangleRustLegacy } from './rust-legacy.ts';
import { demangleRustV0 } from './rust-v0.ts';

/** UTF-16 units of names and results that a `Demangler` keeps unless told otherwise: a few megabytes. */
const cachedCharsDefault = 4 * 1024 * 1024;

/** The readable name, or `rawName` itself. Symbol versions (`@VER`, `@@VER`) stay behind it. */
export function demangle(rawName: string): string {
  if (rawName.length > nameCharsMax || !isCandidate(rawName)) return rawName;
  const version = rawName.indexOf('@');
  const name = version < 0 ? rawName : rawName.slice(0, version);
  try {
    const readable = demangleName(name);
    return version < 0 ? readable : readable + rawName.slice(version);
  } catch (error) {
    if (error instanceof NotMangled) return rawName;
    throw error;
  }
}

/** Cheap enough for C names, which most symbol tables are full of. */
function isCandidate(name: string): boolean {
  const first = name.charCodeAt(0);
  return first === 0x5f || (first === 0x2e && name.charCodeAt(1) === 0x5f);
}

function demangleName(name: string): string {
  if (name.startsWith('_Z')) return demangleRustLegacy(name) ?? demangleCpp(name);
  if (name.startsWith('_R')) return demangleRustV0(name);
  if (name.startsWith('___Z')) return demangleCpp(name);
  // PowerPC's entry points have a dot before the name.
  return name.startsWith('._') ? `.${demangleName(name.slice(1))}` : fail();
}

/** Lengths in C++ names count bytes: identifiers in other scripts are parsed as UTF-8. */
function demangleCpp(name: string): string {
  if (isAscii(name)) return demangleItanium(name);
  const bytes = Buffer.from(name, 'utf8').toString('latin1');
  return Buffer.from(demangleItanium(bytes), 'latin1').toString('utf8');
}

function isAscii(name: string): boolean {
  for (let index = 0; index < name.length; index += 1) {
    if (name.charCodeAt(index) > 0x7f) return false;
  }
  return true;
}

/**
 * `demangle` with a memory: profiles ask for the same few thousand names again and again. Two generations, the younger
 * becoming the older when it is full, keep what is in use without a list of who was used last.
 */
export class Demangler {
  readonly #charsMax: number;
  #young = new Map<string, string>();
  #old = new Map<string, string>();
  #youngChars = 0;

  /** @param charsMax bound on names and results kept, in UTF-16 units */
  constructor(charsMax: number = cachedCharsDefault) {
    this.#charsMax = charsMax;
  }

  demangle(rawName: string): string {
    const young = this.#young.get(rawName);
    if (young !== undefined) return young;
    const readable = this.#old.get(rawName) ?? flatten(demangle(rawName));
    this.#keep(rawName, readable);
    return readable;
  }

  #keep(rawName: string, readable: string): void {
    const chars = rawName.length + readable.length;
    const generationMax = this.#charsMax / 2;
    if (chars > generationMax) return;
    if (this.#youngChars + chars > generationMax) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngChars = 0;
    }
    this.#young.set(rawName, readable);
    this.#youngChars += chars;
  }
}

/** Reading one unit makes V8 join the pieces a string was put together from, which otherwise stay in memory. */
function flatten(text: string): string {
  text.charCodeAt(0);
  return text;
}
