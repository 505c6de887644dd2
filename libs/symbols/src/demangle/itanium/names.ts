/** <encoding>, <name> and <special-name> of the Itanium C++ ABI (5.1.2 to 5.1.4). */
import { fail } from '../bounds.ts';
import { parseConstraint } from './expressions.ts';
import {
  Closure,
  ModuleEntity,
  ModuleName,
  Name,
  Nested,
  StandardAbbreviation,
  StructorName,
  TemplateName,
} from './name-nodes.ts';
import { Angled, Enclosed, List, type Node, Sequence, Text } from './node.ts';
import { operatorAt } from './operators.ts';
import { NameFacts, type State, sequence } from './state.ts';
import {
  isParameterDeclaration,
  parseAbiTags,
  parseParameterDeclaration,
  parseSubstitution,
  parseTemplateArg,
  parseTemplateArgs,
  parseTemplateParam,
} from './templates.ts';
import { FunctionEncoding } from './type-nodes.ts';
import { parseDecltype, parseType } from './types.ts';

const std = new Name('std');

/** <encoding>: a function with its parameters, data, or a special name. */
export function parseEncoding(state: State): Node {
  state.descend();
  const encoding = state.scoped(parseScopedEncoding);
  state.depth -= 1;
  return encoding;
}

function parseScopedEncoding(state: State): Node {
  if (state.peek() === 'G' || state.peek() === 'T') return parseSpecialName(state);
  const facts = new NameFacts(state.forwardReferences.length);
  const name = parseName(state, facts);
  state.resolveForwardReferences(facts.forwardReferencesStart);
  return isEndOfEncoding(state) ? name : parseFunction(state, name, facts);
}

function isEndOfEncoding(state: State): boolean {
  return state.isAtEnd() || state.isAtOneOf('E._');
}

/** <bare-function-type> and what stands around it. */
function parseFunction(state: State, name: Node, facts: NameFacts): Node {
  let attributes: Node | undefined;
  if (state.take('Ua9enable_ifI')) {
    attributes = sequence(' [enable_if:', new List(state.listUntil('E', parseTemplateArg)), ']');
  }
  const hasResult = !facts.hasNoResult && facts.endsWithTemplateArgs;
  const result = hasResult ? parseType(state) : undefined;
  const params = parseParams(state, facts.hasExplicitObject);
  const requirement = state.take('Q') ? parseConstraint(state) : undefined;
  const { qualifiers, refQualifier } = facts;
  return new FunctionEncoding(name, result, { params, qualifiers, refQualifier }, attributes, requirement);
}

function parseParams(state: State, hasExplicitObject: boolean): Node[] {
  const params: Node[] = [];
  if (state.take('v')) return params;
  do {
    const type = parseType(state);
    params.push(hasExplicitObject && params.length === 0 ? sequence('this ', type) : type);
  } while (!isEndOfEncoding(state) && state.peek() !== 'Q');
  return params;
}

/** <name> */
export function parseName(state: State, facts?: NameFacts): Node {
  if (state.peek() === 'N') return parseNestedName(state, facts);
  if (state.peek() === 'Z') return parseLocalName(state, facts);
  const isSubstitution = isSubstitutedName(state);
  const name = isSubstitution ? parseSubstitution(state) : parseUnscopedName(state, facts);
  if (name instanceof ModuleName)
    return parseTemplated(state, parseUnqualifiedName(state, facts, undefined, name), facts);
  if (!isSubstitution) return parseTemplated(state, name, facts);
  if (state.peek() !== 'I') fail();
  return parseArgsOf(state, name, facts);
}

/** Whether an `S…` stands for the whole name: all but `St`, which is a scope. */
export function isSubstitutedName(state: State): boolean {
  return state.peek() === 'S' && state.peek(1) !== 't';
}

/** A name that may be a template: then the template without its arguments is a substitution candidate. */
function parseTemplated(state: State, name: Node, facts: NameFacts | undefined): Node {
  if (state.peek() !== 'I') return name;
  state.substitutions.push(name);
  return parseArgsOf(state, name, facts);
}

function parseArgsOf(state: State, name: Node, facts: NameFacts | undefined): Node {
  const args = parseTemplateArgs(state, facts !== undefined);
  if (facts !== undefined) facts.endsWithTemplateArgs = true;
  return new TemplateName(name, args);
}

/** <unscoped-name>, with `St` as its scope or a module before it. */
export function parseUnscopedName(state: State, facts?: NameFacts): Node {
  const scope = state.take('St') ? std : undefined;
  if (state.peek() !== 'S') return parseUnqualifiedName(state, facts, scope);
  const module = parseSubstitution(state);
  if (!(module instanceof ModuleName)) fail();
  return parseUnqualifiedName(state, facts, scope, module);
}

/** <local-name> */
function parseLocalName(state: State, facts: NameFacts | undefined): Node {
  state.expect('Z');
  const encoding = parseEncoding(state);
  state.expect('E');
  if (state.take('s')) {
    state.skipDiscriminator();
    return sequence(encoding, '::string literal');
  }
  return sequence(
    encoding,
    '::',
    state.scoped(() => parseLocalEntity(state, facts)),
  );
}

function parseLocalEntity(state: State, facts: NameFacts | undefined): Node {
  // In a default argument: counted from the last parameter, and not printed.
  if (state.take('d')) {
    state.number(true);
    state.expect('_');
    return parseName(state, facts);
  }
  const entity = parseName(state, facts);
  state.skipDiscriminator();
  return entity;
}

/** <nested-name> */
function parseNestedName(state: State, facts: NameFacts | undefined): Node {
  state.expect('N');
  parseMemberQualifiers(state, facts);
  let scope: Node | undefined;
  while (!state.take('E')) {
    if (facts !== undefined) facts.endsWithTemplateArgs = false;
    if (state.peek() === 'S') {
      const prefix = state.take('St') ? std : parseSubstitution(state);
      if (!(prefix instanceof ModuleName)) {
        if (scope !== undefined) fail();
        scope = prefix;
        continue;
      }
      scope = parseUnqualifiedName(state, facts, scope, prefix);
    } else {
      scope = parsePrefix(state, facts, scope);
    }
    state.substitutions.push(scope);
    // <data-member-prefix>
    state.take('M');
  }
  if (scope === undefined || state.substitutions.length === 0) fail();
  // The whole name is a candidate only where it is a type, and there `parseType` adds it.
  state.substitutions.pop();
  return scope;
}

function parseMemberQualifiers(state: State, facts: NameFacts | undefined): void {
  if (state.take('H')) {
    if (facts !== undefined) facts.hasExplicitObject = true;
    return;
  }
  const qualifiers = state.qualifiers();
  let refQualifier = '';
  if (state.take('O')) refQualifier = ' &&';
  else if (state.take('R')) refQualifier = ' &';
  if (facts === undefined) return;
  facts.qualifiers = qualifiers;
  facts.refQualifier = refQualifier;
}

/** One step of <prefix>: what `scope` becomes. */
function parsePrefix(state: State, facts: NameFacts | undefined, scope: Node | undefined): Node {
  const next = state.peek();
  if (next === 'I') {
    if (scope === undefined || scope instanceof TemplateName) fail();
    return parseArgsOf(state, scope, facts);
  }
  const isDecltype = next === 'D' && (state.peek(1) === 't' || state.peek(1) === 'T');
  if (next !== 'T' && !isDecltype) return parseUnqualifiedName(state, facts, scope);
  if (scope !== undefined) fail();
  return isDecltype ? parseDecltype(state) : parseTemplateParam(state);
}

/** <unqualified-name>, with the scope before it. */
export function parseUnqualifiedName(
  state: State,
  facts: NameFacts | undefined,
  scope?: Node,
  modulePrefix?: ModuleName,
): Node {
  // Most names are just an identifier: none of what else may stand before one starts with a digit.
  const module = state.isAtDigit() ? modulePrefix : parseModuleName(state, modulePrefix);
  const isMemberLikeFriend = scope !== undefined && state.take('F');
  // Internal linkage, which isn't printed.
  state.take('L');
  let name: Node;
  const next = state.peek();
  if (next === 'C' || (next === 'D' && state.peek(1) !== 'C')) {
    if (scope === undefined || module !== undefined) fail();
    const owner = scope instanceof StandardAbbreviation ? scope.spellOut() : scope;
    name = parseAbiTags(state, parseStructor(state, facts, owner));
    return isMemberLikeFriend ? new Nested(owner, name, '::friend ') : new Nested(owner, name);
  }
  name = parseSimpleName(state, facts);
  if (module !== undefined) name = new ModuleEntity(module, name);
  name = parseAbiTags(state, name);
  if (scope === undefined) return name;
  return isMemberLikeFriend ? new Nested(scope, name, '::friend ') : new Nested(scope, name);
}

function parseSimpleName(state: State, facts: NameFacts | undefined): Node {
  if (state.isAtDigit() && state.peek() !== '0') return state.sourceName();
  if (state.peek() === 'U') return parseUnnamedType(state, facts);
  if (!state.take('DC')) return parseOperatorName(state, facts);
  const bindings: Node[] = [];
  do bindings.push(state.sourceName());
  while (!state.take('E'));
  return new Enclosed('', new List(bindings), undefined, '[]');
}

/** <module-name>: each part is a substitution candidate. */
function parseModuleName(state: State, prefix: ModuleName | undefined): ModuleName | undefined {
  let module = prefix;
  while (state.take('W')) {
    const isPartition = state.take('P');
    const part = state.sourceName();
    if (isPartition) module = new ModuleName(module === undefined ? [':', part] : [module, ':', part]);
    else module = new ModuleName(module === undefined ? [part] : [module, '.', part]);
    state.substitutions.push(module);
  }
  return module;
}

/** <ctor-dtor-name> */
function parseStructor(state: State, facts: NameFacts | undefined, owner: Node): Node {
  const isConstructor = state.take('C');
  if (!isConstructor) state.expect('D');
  const isInheriting = isConstructor && state.take('I');
  if (!state.isAtOneOf(isConstructor ? '12345' : '01245')) fail();
  state.position += 1;
  if (facts !== undefined) facts.hasNoResult = true;
  if (isInheriting) parseName(state, facts);
  return new StructorName(isConstructor ? '' : '~', owner);
}

/** <unnamed-type-name>, <closure-type-name> and blocks */
export function parseUnnamedType(state: State, facts: NameFacts | undefined): Node {
  if (facts !== undefined) state.templateParams = [];
  if (state.take('Ul')) return parseClosure(state);
  const isBlock = state.take('Ub');
  if (!isBlock) state.expect('Ut');
  const count = state.number();
  state.expect('_');
  return isBlock ? new Name("'block-literal'") : new Text(`'unnamed${count}'`);
}

function parseClosure(state: State): Closure {
  const outerLevel = state.lambdaParamsLevel;
  const levels = state.templateParams.length;
  state.lambdaParamsLevel = levels;
  const ownParams: Node[] = [];
  state.templateParams.push(ownParams);
  const declarations: Node[] = [];
  while (isParameterDeclaration(state)) declarations.push(parseParameterDeclaration(state, ownParams));
  // `auto` parameters are a level of their own only if no parameter was declared.
  if (declarations.length === 0) state.templateParams.pop();
  const headRequirement = state.take('Q') ? parseConstraint(state) : undefined;
  const params: Node[] = [];
  if (!state.take('v')) {
    do params.push(parseType(state));
    while (state.peek() !== 'E' && state.peek() !== 'Q');
  }
  const requirement = state.take('Q') ? parseConstraint(state) : undefined;
  state.expect('E');
  const count = state.number();
  state.expect('_');
  state.templateParams.length = Math.min(levels, state.templateParams.length);
  state.lambdaParamsLevel = outerLevel;

  const parts: (string | Node)[] = [];
  if (declarations.length > 0) parts.push(new Angled(declarations));
  if (headRequirement !== undefined) parts.push(' requires ', headRequirement, ' ');
  parts.push(new Enclosed('', new List(params)));
  if (requirement !== undefined) parts.push(' requires ', requirement);
  return new Closure(count, new Sequence(parts));
}

/** <operator-name> */
export function parseOperatorName(state: State, facts?: NameFacts): Node {
  const operator = operatorAt(state.text, state.position);
  if (operator !== undefined) {
    state.position += 2;
    if (operator.form === 'cast') return parseConversion(state, facts);
    if (operator.name === '') fail();
    return new Name(operator.name);
  }
  if (state.take('li')) return sequence('operator"" ', state.sourceName());
  // A vendor's operator: `v <arity> <name>`.
  state.expect('v');
  if (!state.isAtDigit()) fail();
  state.position += 1;
  return sequence('operator ', state.sourceName());
}

/** `cv <type>`: its type may use template arguments that come only after it. */
function parseConversion(state: State, facts: NameFacts | undefined): Node {
  const { parseTemplateArgsOfType, permitForwardReferences } = state;
  state.parseTemplateArgsOfType = false;
  state.permitForwardReferences ||= facts !== undefined;
  const type = parseType(state);
  state.parseTemplateArgsOfType = parseTemplateArgsOfType;
  state.permitForwardReferences = permitForwardReferences;
  if (facts !== undefined) facts.hasNoResult = true;
  return sequence('operator ', type);
}

/** What each <special-name> that is a prefix and a type says. */
const typeNames = new Map([
  ['TV', 'vtable for '],
  ['TT', 'VTT for '],
  ['TI', 'typeinfo for '],
  ['TS', 'typeinfo name for '],
]);

/** What each <special-name> that is a prefix and a name says. */
const objectNames = new Map([
  ['TW', 'thread-local wrapper routine for '],
  ['TH', 'thread-local initialization routine for '],
  ['GV', 'guard variable for '],
]);

/** <special-name> */
function parseSpecialName(state: State): Node {
  const code = state.peek() + state.peek(1);
  state.position += 2;
  const typeName = typeNames.get(code);
  if (typeName !== undefined) return sequence(typeName, parseType(state));
  const objectName = objectNames.get(code);
  if (objectName !== undefined) return sequence(objectName, parseName(state));
  if (code === 'TA') return sequence('template parameter object for ', parseTemplateArg(state));
  if (code === 'TC') return parseConstructionTable(state);
  if (code === 'GR') return parseReferenceTemporary(state);
  if (code === 'GI') {
    return sequence('initializer for module ', parseModuleName(state, undefined) ?? fail());
  }
  if (!code.startsWith('T')) fail();
  return parseThunk(state, code);
}

/** `TC <type> <offset> _ <base type>` */
function parseConstructionTable(state: State): Node {
  const derived = parseType(state);
  if (state.number(true) === '') fail();
  state.expect('_');
  return sequence('construction vtable for ', parseType(state), '-in-', derived);
}

/** `GR <name> [<seq-id>] _`; old compilers left the underscore out together with the number. */
function parseReferenceTemporary(state: State): Node {
  const name = parseName(state);
  const id = state.sequenceId();
  if (!state.take('_') && id !== undefined) fail();
  return sequence('reference temporary for ', name);
}

function parseThunk(state: State, code: string): Node {
  if (code === 'Tc') {
    skipCallOffset(state);
    skipCallOffset(state);
    return sequence('covariant return thunk to ', parseEncoding(state));
  }
  state.position -= 1;
  skipCallOffset(state);
  return sequence(code === 'Tv' ? 'virtual thunk to ' : 'non-virtual thunk to ', parseEncoding(state));
}

/** <call-offset> */
function skipCallOffset(state: State): void {
  const isVirtual = state.take('v');
  if (!isVirtual) state.expect('h');
  if (state.number(true) === '') fail();
  state.expect('_');
  if (!isVirtual) return;
  if (state.number(true) === '') fail();
  state.expect('_');
}
