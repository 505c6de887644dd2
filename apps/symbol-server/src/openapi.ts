// The OpenAPI 3.1 description, made from the operations and the schemas that validate them.
import { jsonType, messagePackType } from '@symkeep/protocol';
import { z } from 'zod';
import { idempotencyKey, isWrite, type Operation } from './http/operation.ts';
import { errorReply } from './schemas.ts';

export interface Route {
  readonly method: 'get' | 'head' | 'post' | 'put' | 'delete';
  /** With parameters in braces. */
  readonly path: string;
  readonly operation: Operation;
}

type Json = Record<string, unknown>;
/** Documents as zod and OpenAPI share them: plain JSON. */
export interface OpenApi {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Record<string, Record<string, OpenApiOperation>>;
  readonly components: Json;
}
export interface OpenApiOperation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters: readonly Json[];
  readonly requestBody?: Json;
  readonly responses: Json;
  readonly security: readonly Json[];
}

const description =
  'Facts about every executable that a fleet has run, by build ID. JSON by default, MessagePack by content-type and ' +
  'accept: application/msgpack; gzip and zstd both ways. Unknown request fields are ignored. Results of a batch are ' +
  'per item, in request order. A token is sent as authorization: Bearer; clients that can send only a URL may read ' +
  'with it as the password of Basic (http://any:<token>@host/…) or at the start of the path (http://host/t/<token>/…).';

export function openApiOf(routes: readonly Route[], version: string): OpenApi {
  const paths: OpenApi['paths'] = {};
  for (const { method, path, operation } of routes) {
    paths[path] = { ...paths[path], [method]: describe(method, path, operation) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'symkeep', version, description },
    paths,
    components: {
      schemas: { Error: schemaOf(errorReply, 'output') },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  };
}

function describe(method: string, path: string, operation: Operation): OpenApiOperation {
  const { summary, role } = operation;
  return {
    operationId: operationIdOf(method, path),
    summary: `${summary} (role ${role})`,
    tags: [path.split('/')[2] ?? 'server'],
    parameters: [
      ...pathParameters(operation),
      ...queryParameters(operation),
      ...(isWrite(operation) ? [keyParameter] : []),
    ],
    ...requestBodyOf(operation),
    responses: {
      ...answersOf(method, operation),
      default: {
        description: 'an error; its code says which',
        content: contentOf({ $ref: '#/components/schemas/Error' }),
      },
    },
    // An open server on loopback takes requests without a token.
    security: [{ token: [] }, {}],
  };
}

function requestBodyOf({ body, file, ...operation }: Operation): Json {
  if (file !== undefined) {
    const content = { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } };
    return { requestBody: { required: true, description: file, content } };
  }
  if (body === undefined) return {};
  return { requestBody: { required: true, content: contentOf(bodySchema({ body, ...operation })) } };
}

function answersOf(method: string, { reply, accepted }: Operation): Json {
  if (method === 'head') return { 200: { description: 'yes' } };
  return {
    200: { description: 'the answer', content: contentOf(schemaOf(reply, 'output')) },
    ...(accepted === undefined
      ? {}
      : {
          202: { description: 'taken; work on it goes on', content: contentOf(schemaOf(accepted, 'output')) },
        }),
  };
}

const keyParameter: Json = {
  ...{ name: 'idempotency-key', in: 'header', required: false },
  schema: schemaOf(idempotencyKey, 'input'),
};

function operationIdOf(method: string, path: string): string {
  const words = path.split('/').filter((part) => part !== '' && part !== 'v1');
  return [method, ...words.map((word) => word.replace(/[{}]/g, ''))].join('_');
}

function pathParameters({ params = {} }: Operation): Json[] {
  return Object.entries(params).map(([name, description]) => ({
    ...{ name, in: 'path', required: true, description },
    schema: { type: 'string' },
  }));
}

function queryParameters({ query }: Operation): Json[] {
  if (query === undefined) return [];
  const { properties = {} } = schemaOf(query, 'input') as { properties?: Record<string, Json> };
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: false, schema }));
}

// Items are validated one by one, after the envelope; the description shows them in their place.
function bodySchema({ body, item }: Operation): Json {
  const schema = schemaOf(body!, 'input') as { properties: Record<string, Json> };
  if (item === undefined) return schema;
  const list = schema.properties[item.field];
  const items = schemaOf(item.schema, 'input');
  return { ...schema, properties: { ...schema.properties, [item.field]: { ...list, items } } };
}

function contentOf(schema: Json): Json {
  return { [jsonType]: { schema }, [messagePackType]: { schema } };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, {
    io,
    target: 'draft-2020-12',
    reused: 'inline',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === 'bigint') jsonSchema.type = 'integer';
      delete jsonSchema.id;
    },
  });
  return inlined(json as Json);
}

// A schema with an ID of its own becomes a reference into `$defs` of each use; here every use stands for itself.
function inlined({ $defs, ...schema }: Json): Json {
  if ($defs === undefined) return schema;
  const definitions = $defs as Record<string, Json>;
  const resolve = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(resolve);
    if (typeof value !== 'object' || value === null) return value;
    const reference = (value as Json).$ref;
    if (typeof reference === 'string') return resolve(definitions[reference.replace('#/$defs/', '')]);
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
  };
  return resolve(schema) as Json;
}
