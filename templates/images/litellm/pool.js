// Connections to PostgreSQL by the address that Prisma's native engine takes, with its parameters
// (https://www.prisma.io/docs/orm/overview/databases/postgresql).
'use strict';

const pg = require('pg');
const { connectionLost } = require('./errors.js');

// types that @prisma/adapter-pg 5.17 refuses, and those that they are read as
const READ_AS = new Map([
  [18, 25], // "char" as text
  [19, 25], // name as text
  [27, 25], // tid as text
  [28, 23], // xid as int4
  [1003, 1009], // name[] as text[]
  [2205, 25], // regclass as text
  [2206, 25], // regtype as text
  [2278, 25], // void as text
  [3614, 25], // tsvector as text
]);

const readAs = (type) => READ_AS.get(type) ?? type;

function withReadableTypes(query) {
  if (!query || !query.types) return query;
  const getTypeParser = (type, format) => query.types.getTypeParser(readAs(type), format);
  return { ...query, types: { getTypeParser } };
}

function readable(result) {
  for (const one of [].concat(result || [])) {
    for (const field of one.fields || []) field.dataTypeID = readAs(field.dataTypeID);
  }
  return result;
}

class Client extends pg.Client {
  query(query, ...more) {
    const callback = more.at(-1);
    if (typeof callback === 'function') {
      more[more.length - 1] = (error, result) => callback(error, readable(result));
    }
    const asked = super.query(withReadableTypes(query), ...more);
    return asked instanceof Promise ? asked.then(readable).catch(connectionLost) : asked;
  }
}

class Pool extends pg.Pool {
  query(...given) {
    const asked = super.query(...given);
    return asked instanceof Promise ? asked.catch(connectionLost) : asked;
  }

  connect(...given) {
    const connected = super.connect(...given);
    return connected instanceof Promise ? connected.catch(connectionLost) : connected;
  }
}

function makePool(text) {
  const url = new URL(text);
  const own = {};
  for (const name of [...url.searchParams.keys()]) {
    // what libpq knows of is the driver's; the rest is for Prisma's engine
    if (!name.startsWith('ssl') && !['application_name', 'options'].includes(name)) {
      own[name] = url.searchParams.get(name);
      url.searchParams.delete(name);
    }
  }
  // times without a zone are read as UTC
  const options = `-c TimeZone=UTC ${url.searchParams.get('options') || ''}`.trim();
  url.searchParams.delete('options');
  const pool = new Pool({
    Client,
    connectionString: url.toString(),
    max: Number(own.connection_limit || 10),
    connectionTimeoutMillis: 1000 * Number(own.connect_timeout || own.pool_timeout || 10),
    options,
  });
  // of a connection that nobody uses: the next query has a new one
  pool.on('error', () => {});
  return { pool, schema: own.schema || 'public', place: `${url.hostname}:${url.port || 5432}` };
}

module.exports = { makePool };
