// Prisma's two ways to ask: the Python client writes GraphQL, the engine in WebAssembly reads JSON
// (https://www.prisma.io/docs/orm/more/under-the-hood/engines).
'use strict';

const { parse } = require('graphql');

const ACTIONS = [
  ...['findUniqueOrThrow', 'findFirstOrThrow', 'findUnique', 'findFirst', 'findMany'],
  ...['createOne', 'createMany', 'updateOne', 'updateMany', 'deleteOne', 'deleteMany'],
  ...['upsertOne', 'aggregate', 'groupBy'],
];
const RAW = new Set(['queryRaw', 'executeRaw']);

class EnumName {
  constructor(name) {
    this.name = name;
  }

  toJSON() {
    return this.name;
  }
}

function literal(node) {
  switch (node.kind) {
    case 'IntValue': {
      const number = Number(node.value);
      return Number.isSafeInteger(number) ? number : { $type: 'BigInt', value: node.value };
    }
    case 'FloatValue':
      return Number(node.value);
    case 'NullValue':
      return null;
    case 'EnumValue':
      return new EnumName(node.value);
    case 'ListValue':
      return node.values.map(literal);
    case 'ObjectValue':
      return Object.fromEntries(node.fields.map((field) => [field.name.value, literal(field.value)]));
    default:
      return node.value;
  }
}

function isObject(value) {
  return value !== null && typeof value === 'object' && !(value instanceof EnumName);
}

// the client writes values of Json fields as text with JSON in it
function jsonValue(value) {
  if (typeof value === 'string') return { $type: 'Json', value };
  if (value instanceof EnumName) return { $type: 'Enum', value: value.name };
  if (Array.isArray(value)) return value.map(jsonValue);
  if (!isObject(value) || '$type' in value) return value;
  const isPlain = (name) => name === 'path' || name === 'mode' || name.startsWith('string_');
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, isPlain(name) ? item : jsonValue(item)]),
  );
}

function argumentsOf(field) {
  return Object.fromEntries(
    (field.arguments || []).map((argument) => [argument.name.value, literal(argument.value)]),
  );
}

function selectionOf(field) {
  const fields = field.selectionSet ? field.selectionSet.selections : [];
  return Object.fromEntries(
    fields.map((one) => [
      one.name.value,
      one.selectionSet ? { arguments: argumentsOf(one), selection: selectionOf(one) } : true,
    ]),
  );
}

// types of the fields of each model, as the schema declares them
function modelsOf(datamodel) {
  const models = new Map();
  for (const [, name, body] of datamodel.matchAll(/^model\s+(\w+)\s*\{([\s\S]*?)^\}/gm)) {
    const fields = [...body.matchAll(/^[ \t]+(\w+)[ \t]+(\w+)/gm)];
    models.set(name, new Map(fields.map(([, field, type]) => [field, type])));
  }
  return models;
}

class Translator {
  constructor(datamodel) {
    this.models = modelsOf(datamodel);
  }

  // the operations of a text in GraphQL: what the answer is called, and the query in JSON
  operations(text) {
    const [{ selectionSet }] = parse(text, { noLocation: true }).definitions;
    return selectionSet.selections.map((field) => ({
      alias: (field.alias || field.name).value,
      query: this.query(field),
    }));
  }

  query(field) {
    const name = field.name.value;
    if (RAW.has(name)) return { action: name, query: { arguments: argumentsOf(field), selection: {} } };
    const action = ACTIONS.find((each) => name.startsWith(each) && this.model(name, each) !== undefined);
    if (action === undefined) throw new Error(`unknown operation ${name}`);
    const model = this.model(name, action);
    const isStrict = action.startsWith('find') && !action.endsWith('OrThrow') && name.endsWith('OrThrow');
    return {
      modelName: model,
      action: isStrict ? `${action}OrThrow` : action,
      query: { arguments: this.tagged(model, argumentsOf(field)), selection: selectionOf(field) },
    };
  }

  model(name, action) {
    const rest = name.slice(action.length);
    return [rest, rest.replace(/OrThrow$/, '')].find((model) => this.models.has(model));
  }

  // values of Json fields are marked; fields of related models are looked for in these
  tagged(model, value) {
    if (Array.isArray(value)) return value.map((item) => this.tagged(model, item));
    if (!isObject(value) || '$type' in value) return value;
    const fields = this.models.get(model) || new Map();
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => {
        const type = fields.get(name);
        if (type === 'Json') return [name, jsonValue(item)];
        if (type !== undefined && !this.models.has(type)) return [name, item];
        return [name, this.tagged(type ?? model, item)];
      }),
    );
  }
}

function untagged(value) {
  if (Array.isArray(value)) return value.map(untagged);
  if (!isObject(value)) return value;
  if (value.$type === 'BigInt') {
    const number = Number(value.value);
    return Number.isSafeInteger(number) ? number : value.value;
  }
  if ('$type' in value) return value.value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, untagged(item)]));
}

// the native engine gives columns with JSON as values, this one as text
function rows(found) {
  const read = (item) => (typeof item === 'string' ? JSON.parse(item) : item);
  (found.types || []).forEach((type, at) => {
    for (const row of found.rows) {
      if (row[at] !== null && type === 'json') row[at] = read(row[at]);
      if (row[at] !== null && type === 'json-array') row[at] = row[at].map(read);
    }
  });
  return found;
}

function answerOf(operation, found) {
  if (found.errors) return { errors: found.errors };
  const [value] = Object.values(found.data);
  const isRaw = operation.query.action === 'queryRaw';
  return { data: { [operation.alias]: isRaw ? rows(value) : untagged(value) } };
}

module.exports = { Translator, answerOf };
