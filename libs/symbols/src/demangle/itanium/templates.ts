/** Template parameters and arguments, their declarations in generic lambdas, and substitutions (5.1.10, 5.1.5.8). */
import { fail } from '../bounds.ts';
import { parseConstraint, parseExpression } from './expressions.ts';
import { parsePrimary } from './literals.ts';
import {
  AbiTagged,
  Name,
  PackDeclaration,
  ParameterDeclaration,
  StandardAbbreviation,
  ValueParameterDeclaration,
} from './name-nodes.ts';
import { parseEncoding, parseName } from './names.ts';
import { Angled, type Node, Sequence, Text } from './node.ts';
import { type State, sequence } from './state.ts';
import { ArgumentPack, ForwardReference, ParameterPack } from './type-nodes.ts';
import { parseType } from './types.ts';

const charTraits = '<char, std::char_traits<char>';

const abbreviations = new Map<string, StandardAbbreviation>([
  ['a', new StandardAbbreviation('allocator', 'allocator', '')],
  ['b', new StandardAbbreviation('basic_string', 'basic_string', '')],
  ['s', new StandardAbbreviation('string', 'basic_string', `${charTraits}, std::allocator<char>>`)],
  ['i', new StandardAbbreviation('istream', 'basic_istream', `${charTraits}>`)],
  ['o', new StandardAbbreviation('ostream', 'basic_ostream', `${charTraits}>`)],
  ['d', new StandardAbbreviation('iostream', 'basic_iostream', `${charTraits}>`)],
]);

/** <substitution> other than `St` */
export function parseSubstitution(state: State): Node {
  state.expect('S');
  const abbreviation = abbreviations.get(state.peek());
  if (abbreviation !== undefined) {
    state.position += 1;
    const tagged = parseAbiTags(state, abbreviation);
    if (tagged !== abbreviation) state.substitutions.push(tagged);
    return tagged;
  }
  const index = state.peek() === '_' ? 0 : (state.sequenceId() ?? fail()) + 1;
  state.expect('_');
  return state.substitutions[index] ?? fail();
}

/** <abi-tags> */
export function parseAbiTags(state: State, name: Node): Node {
  let tagged = name;
  while (state.take('B')) {
    const tag = state.identifier();
    if (tag === '') fail();
    tagged = new AbiTagged(tagged, tag);
  }
  return tagged;
}

/** `_` is 0, `0_` is 1: how levels and indexes of parameters count. */
function parseIndex(state: State): number {
  if (state.take('_')) return 0;
  const index = state.nonNegative() + 1;
  state.expect('_');
  return index;
}

/** <template-param> */
export function parseTemplateParam(state: State): Node {
  const start = state.position;
  state.expect('T');
  let level = 0;
  if (state.take('L')) {
    level = state.nonNegative() + 1;
    state.expect('_');
  }
  const index = parseIndex(state);
  if (state.isInConstraint) return new Name(state.text.slice(start, state.position - 1));
  if (state.permitForwardReferences && level === 0) {
    const reference = new ForwardReference(index);
    state.forwardReferences.push(reference);
    return reference;
  }
  return state.templateParams[level]?.[index] ?? parseLambdaAuto(state, level);
}

/** A parameter of a generic lambda that is declared `auto` has no argument: it stands for itself. */
function parseLambdaAuto(state: State, level: number): Node {
  if (state.lambdaParamsLevel !== level || level > state.templateParams.length) fail();
  if (level === state.templateParams.length) state.templateParams.push(undefined);
  return new Name('auto');
}

export function isParameterDeclaration(state: State): boolean {
  return state.peek() === 'T' && state.isAtOneOf('yptnk', 1);
}

function inventName(state: State, prefix: '$T' | '$N' | '$TT', params: Node[] | undefined): Node {
  const index = state.inventedNames[prefix];
  state.inventedNames[prefix] += 1;
  const name = new Text(index === 0 ? prefix : `${prefix}${index - 1}`);
  params?.push(name);
  return name;
}

/** <template-param-decl>; the parameter is added to `params`. */
export function parseParameterDeclaration(state: State, params: Node[] | undefined): Node {
  state.descend();
  const declaration = parseDeclarationForm(state, params);
  state.depth -= 1;
  return declaration;
}

function parseDeclarationForm(state: State, params: Node[] | undefined): Node {
  if (state.take('Ty'))
    return new ParameterDeclaration(new Text('typename '), inventName(state, '$T', params));
  if (state.take('Tk')) {
    const constraint = parseName(state);
    return new ParameterDeclaration(sequence(constraint, ' '), inventName(state, '$T', params));
  }
  if (state.take('Tn')) {
    const name = inventName(state, '$N', params);
    return new ValueParameterDeclaration(name, parseType(state));
  }
  if (state.take('Tt')) return parseTemplateTemplateDeclaration(state, inventName(state, '$TT', params));
  state.expect('Tp');
  return new PackDeclaration(parseParameterDeclaration(state, params));
}

function parseTemplateTemplateDeclaration(state: State, name: Node): Node {
  const outerLevels = state.templateParams.length;
  const innerParams: Node[] = [];
  state.templateParams.push(innerParams);
  const declarations: Node[] = [];
  let requirement: Node | undefined;
  while (requirement === undefined && !state.take('E')) {
    declarations.push(parseParameterDeclaration(state, innerParams));
    if (state.take('Q')) requirement = parseConstraint(state);
    if (requirement !== undefined) state.expect('E');
  }
  state.templateParams.length = outerLevels;
  const kind = sequence('template', new Angled(declarations), ' typename ');
  return new ParameterDeclaration(
    kind,
    requirement === undefined ? name : sequence(name, ' requires ', requirement),
  );
}

/** <template-args>; with `isTagged` they are what later template parameters refer to. */
export function parseTemplateArgs(state: State, isTagged = false): Node {
  state.expect('I');
  if (isTagged) {
    state.outerTemplateParams = [];
    state.templateParams = [state.outerTemplateParams];
  }
  const params = state.outerTemplateParams;
  const args: Node[] = [];
  while (!state.take('E')) {
    const arg = parseTemplateArg(state);
    args.push(arg);
    if (isTagged) params.push(parameterOf(arg));
    if (!state.take('Q')) continue;
    // The clause of the template head: parsed for what it adds to the substitutions, and not printed.
    parseConstraint(state);
    state.expect('E');
    break;
  }
  return new Angled(args);
}

/** An argument that its parameter's declaration precedes, to tell overloads apart; only the argument is printed. */
class DeclaredArg extends Sequence {
  declare readonly arg: Node;

  constructor(arg: Node) {
    super([arg]);
    this.arg = arg;
  }
}

function parameterOf(arg: Node): Node {
  if (arg instanceof ArgumentPack) return new ParameterPack(arg.elements);
  return arg instanceof DeclaredArg ? arg.arg : arg;
}

/** <template-arg> */
export function parseTemplateArg(state: State): Node {
  state.descend();
  const arg = parseArgForm(state);
  state.depth -= 1;
  return arg;
}

function parseArgForm(state: State): Node {
  switch (state.peek()) {
    case 'X': {
      state.position += 1;
      const expression = parseExpression(state);
      state.expect('E');
      return expression;
    }
    case 'J':
      state.position += 1;
      return new ArgumentPack(state.listUntil('E', parseTemplateArg));
    case 'L': {
      if (!state.take('LZ')) return parsePrimary(state);
      const encoding = parseEncoding(state);
      state.expect('E');
      return encoding;
    }
    case 'T': {
      if (!isParameterDeclaration(state)) return parseType(state);
      parseParameterDeclaration(state, undefined);
      return new DeclaredArg(parseTemplateArg(state));
    }
    default:
      return parseType(state);
  }
}
