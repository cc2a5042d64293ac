#!/usr/bin/env node
// Prisma's query engine as its Python client starts it, from npm packages alone: the engine that
// @prisma/client 5.17 has as WebAssembly, over the pg driver. The native engine of the same version is
// only published outside npm. The client asks over HTTP and in GraphQL; this engine answers JSON queries.
'use strict';

const VERSION = '393aa359c9ad4a4bb28630fb5613f9c281cde053'; // of Prisma 5.17's engines
if (process.argv.includes('--version')) {
  console.log(`query-engine ${VERSION}`);
  process.exit(0);
}

const fs = require('fs');
const http = require('http');
const path = require('path');
const { PrismaPg } = require('@prisma/adapter-pg');
const { bindAdapter } = require('@prisma/driver-adapter-utils');
const { Errors } = require('./errors.js');
const { makePool } = require('./pool.js');
const { Translator, answerOf } = require('./graphql.js');

const RUNTIME = path.join(path.dirname(require.resolve('@prisma/client/package.json')), 'runtime');
const TRACE = JSON.stringify({});
const MAX_WAIT_MS = 2000;
const TIMEOUT_MS = 5000;

function option(...names) {
  const at = process.argv.findIndex((argument) => names.includes(argument));
  return at < 0 ? undefined : process.argv[at + 1];
}

function databaseUrl() {
  const [given] = JSON.parse(process.env.OVERWRITE_DATASOURCES || '[]');
  return (given && given.url) || process.env.DATABASE_URL;
}

function loadEngine(datamodel, adapter) {
  const glue = require(path.join(RUNTIME, 'query_engine_bg.postgresql.js'));
  const wasm = fs.readFileSync(path.join(RUNTIME, 'query_engine_bg.postgresql.wasm'));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), {
    './query_engine_bg.js': glue,
  });
  glue.__wbg_set_wasm(instance.exports);
  const settings = {
    datamodel,
    logLevel: 'error',
    logQueries: false,
    ignoreEnvVarErrors: true,
    datasourceOverrides: {},
    env: {},
    configDir: '.',
    engineProtocol: 'json',
    enableTracing: false,
  };
  // what it logs may quote what was asked
  return new glue.QueryEngine(settings, () => {}, adapter);
}

function parsed(answer) {
  return typeof answer === 'string' ? JSON.parse(answer || '{}') : answer || {};
}

class Server {
  constructor(engine, errors, translator) {
    this.engine = engine;
    this.errors = errors;
    this.translator = translator;
  }

  async answer(method, url, body, transaction) {
    if (method === 'GET') {
      return url.startsWith('/metrics') ? { counters: [], gauges: [], histograms: [] } : { status: 'ok' };
    }
    if (url === '/transaction/start') return this.begin(parsed(body));
    const end = url.match(/^\/transaction\/([^/]+)\/(commit|rollback)$/);
    if (end) {
      const finish = end[2] === 'commit' ? 'commitTransaction' : 'rollbackTransaction';
      return parsed(await this.engine[finish](end[1], TRACE));
    }
    const asked = JSON.parse(body);
    return asked.batch ? this.several(asked, transaction) : this.one(asked.query, transaction);
  }

  async begin(wanted) {
    const settings = {
      max_wait: wanted.max_wait ?? MAX_WAIT_MS,
      timeout: wanted.timeout ?? TIMEOUT_MS,
      isolation_level: wanted.isolation_level,
    };
    const begun = parsed(await this.engine.startTransaction(JSON.stringify(settings), TRACE));
    if (!begun.error_code) return begun;
    return this.errors.explained({ errors: [{ error: begun.message, user_facing_error: begun }] });
  }

  async one(text, transaction) {
    const [operation] = this.translator.operations(text);
    return answerOf(operation, await this.ask(operation.query, transaction));
  }

  async several(asked, transaction) {
    const operations = asked.batch.flatMap((part) => this.translator.operations(part.query));
    const batch = operations.map((operation) => operation.query);
    const own = asked.transaction && !transaction ? {} : undefined;
    const found = await this.ask({ batch, transaction: own }, transaction);
    const answers = found.batchResult || [];
    const failed = found.errors ? found : answers.find((answer) => answer.errors);
    if (failed) return { errors: failed.errors };
    return { batchResult: answers.map((answer, at) => answerOf(operations[at], answer)) };
  }

  async ask(query, transaction) {
    return this.errors.explained(
      parsed(await this.engine.query(JSON.stringify(query), TRACE, transaction)),
    );
  }

  listen(port) {
    const server = http.createServer((request, response) => {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', async () => {
        const transaction = request.headers['x-transaction-id'] || undefined;
        const body = Buffer.concat(parts).toString();
        const found = await this.answer(request.method, request.url, body, transaction).catch(
          (error) => this.errors.thrown(error),
        );
        const text = Buffer.from(JSON.stringify(found));
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length });
        response.end(text);
      });
    });
    server.keepAliveTimeout = 120_000;
    server.listen(port, 'localhost');
    return server;
  }
}

async function main() {
  const datamodel = fs.readFileSync(process.env.PRISMA_DML_PATH, 'utf8');
  const { pool, schema, place } = makePool(databaseUrl());
  const adapter = bindAdapter(new PrismaPg(pool, { schema }));
  const engine = loadEngine(datamodel, adapter);
  await engine.connect(TRACE);
  const errors = new Errors(adapter.errorRegistry, place);
  const port = Number(option('-p', '--port'));
  const server = new Server(engine, errors, new Translator(datamodel)).listen(port);
  const stop = () => {
    server.close();
    pool.end().finally(() => process.exit(0));
    setTimeout(() => process.exit(0), 1500).unref();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  // who started it may be killed without a chance to stop it
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && stop(), 2000).unref();
}

main().catch((error) => {
  console.error(`query engine: ${error.message}`);
  process.exit(1);
});
