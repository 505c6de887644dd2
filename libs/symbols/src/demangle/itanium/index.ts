/** C++ names as the Itanium C++ ABI mangles them, printed as `llvm-cxxfilt` prints them. */
import { fail } from '../bounds.ts';
import { parseEncoding } from './names.ts';
import { type Node, Output, print } from './node.ts';
import { State, sequence } from './state.ts';

/** `_block_invoke`, numbered, and whatever a compiler adds after a dot. */
const blockSuffix = /^_block_invoke(?:\d*|_\d+)(?:\..*)?$/s;

/** `name` is `_Z…`, or `___Z…` for a block of code in the function. */
export function demangleItanium(name: string): string {
  const isBlock = name.startsWith('___');
  const state = new State(name, isBlock ? 4 : 2);
  const encoding = parseEncoding(state);
  const out = new Output();
  print(isBlock ? asBlock(encoding, name.slice(state.position)) : asClone(encoding, state), out);
  return out.text;
}

/** `.cold`, `.isra.0`, `.llvm.123`: clones of a function are shown behind it. */
function asClone(encoding: Node, state: State): Node {
  if (state.isAtEnd()) return encoding;
  if (state.peek() !== '.') fail();
  return sequence(encoding, ` (${state.text.slice(state.position)})`);
}

function asBlock(encoding: Node, rest: string): Node {
  if (!blockSuffix.test(rest)) fail();
  return sequence('invocation function for block in ', encoding);
}
