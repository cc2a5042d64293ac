// Errors of the driver, which the engine knows by a number alone, as Prisma's native engine says them:
// LiteLLM tells by the text whether the database is away (https://www.prisma.io/docs/orm/reference/error-reference).
'use strict';

const OF_THE_DRIVER = 'P2036';
const UNREACHABLE = 'P1001';
// https://www.postgresql.org/docs/17/errcodes-appendix.html: connections, and a server that stops or starts
const LOST = /^(08|57P0)/;

// an error of the server that says there is no connection any more, as one of the connection
function connectionLost(error) {
  if (error && LOST.test(error.code)) throw new Error(`connection closed: ${error.message}`);
  throw error;
}

class Errors {
  constructor(registry, place) {
    this.registry = registry;
    this.place = place;
  }

  // the errors of an answer, and of the answers in it
  explained(answer) {
    if (answer.batchResult) answer.batchResult.forEach((one) => this.explained(one));
    if (answer.errors) answer.errors = answer.errors.map((error) => this.one(error));
    return answer;
  }

  one(error) {
    const told = error.user_facing_error;
    if (!told || told.error_code !== OF_THE_DRIVER) return error;
    const cause = this.cause(told.meta.id);
    const message = `Can't reach database server at ${this.place}: ${cause}`;
    return { error: message, user_facing_error: { ...told, message, error_code: UNREACHABLE } };
  }

  cause(id) {
    const found = this.registry.consumeError(id);
    delete this.registry.registeredErrors[id];
    return (found && found.error && (found.error.code || found.error.message)) || 'unknown';
  }

  thrown(error) {
    const text = String((error && error.message) || error);
    let told;
    try {
      told = JSON.parse(text);
    } catch {
      told = { is_panic: false, message: text, backtrace: null };
    }
    return this.explained({ errors: [{ error: text, user_facing_error: told }] });
  }
}

module.exports = { Errors, connectionLost };
