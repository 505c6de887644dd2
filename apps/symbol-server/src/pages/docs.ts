// The API's description as a page, for reading offline: the same document as /openapi.json.
import type { OpenApi, OpenApiOperation } from '../openapi.ts';
import { pageHtml, escapeHtml as text } from './html.ts';

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly additionalProperties?: Schema | boolean;
}

export function docsHtml({ info, paths }: OpenApi): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationHtml(method, path, operation)),
  );
  return pageHtml(
    'symkeep API',
    `<header><h1>symkeep API</h1><span class="quiet">${text(info.version)}</span>
<a href="/openapi.json">openapi.json</a> <a href="/">console</a></header>
<p>${text(info.description)}</p>${operations.join('\n')}`,
  );
}

function operationHtml(method: string, path: string, operation: OpenApiOperation): string {
  const parameters = operation.parameters as readonly {
    name: string;
    in: string;
    schema: Schema;
    description?: string;
  }[];
  const rows = parameters.map(
    ({ name, in: place, schema, description }) =>
      `<tr><td><code>${text(name)}</code><td>${place}<td>${text(description ?? schema.description ?? typeOf(schema))}</tr>`,
  );
  const table = rows.length === 0 ? '' : `<table><tr><th>Parameter<th>In<th></tr>${rows.join('')}</table>`;
  return `<details><summary><span class="method">${method.toUpperCase()}</span> <code>${text(path)}</code> ${text(operation.summary)}</summary>
${table}${section('Request', operation.requestBody)}${section('Reply', operation.responses['200'])}</details>`;
}

function section(title: string, part: unknown): string {
  const content = (part as { content?: Record<string, { schema: Schema }> } | undefined)?.content;
  const schema = content?.['application/json']?.schema;
  return schema === undefined ? '' : `<h2>${title}</h2><pre>${text(outline(schema, ''))}</pre>`;
}

/** A schema as an indented outline: a line per field, with its type and what it means. */
function outline(schema: Schema, indent: string): string {
  const inner = `${indent}  `;
  if (schema.anyOf !== undefined) {
    return schema.anyOf.map((one) => outline(one, indent)).join(`\n${indent}or\n`);
  }
  if (schema.type === 'array' && schema.items !== undefined)
    return `${indent}list of\n${outline(schema.items, inner)}`;
  if (schema.properties === undefined) return `${indent}${typeOf(schema)}${noteOf(schema)}`;
  return Object.entries(schema.properties)
    .map(([name, field]) => fieldOutline(name, field, schema.required?.includes(name) ?? false, indent))
    .join('\n');
}

function fieldOutline(name: string, field: Schema, required: boolean, indent: string): string {
  const head = `${indent}${name}${required ? '' : '?'}: `;
  const list = field.type === 'array' && field.items !== undefined ? field.items : undefined;
  const nested = list ?? field;
  if (nested.properties === undefined && nested.anyOf === undefined)
    return `${head}${typeOf(field)}${noteOf(field)}`;
  return `${head}${list === undefined ? '' : 'list of'}${noteOf(field)}\n${outline(nested, `${indent}  `)}`;
}

function typeOf({
  type,
  enum: values,
  const: only,
  items,
  prefixItems,
  additionalProperties,
}: Schema): string {
  if (only !== undefined) return JSON.stringify(only);
  if (values !== undefined) return values.map((value) => JSON.stringify(value)).join(' or ');
  if (prefixItems !== undefined) return `[${prefixItems.map(typeOf).join(', ')}]`;
  if (items !== undefined) return `list of ${typeOf(items)}`;
  if (typeof additionalProperties === 'object') return `map to ${typeOf(additionalProperties)}`;
  return typeof type === 'string' ? type : (type ?? ['any']).join(' or ');
}

function noteOf({ description }: Schema): string {
  return description === undefined ? '' : ` (${description})`;
}
