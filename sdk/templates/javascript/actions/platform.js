// What every JavaScript pack has: calls outside, lines for people, and failures that say what the engine does next.
import { send } from "orchestrator:http/client@0.1.0";
import { write } from "orchestrator:log/log@0.1.0";

/** Lines for people, kept with the attempt. */
export const log = Object.fromEntries(
  ["trace", "debug", "info", "warn", "error"].map((level) => [level, (text) => write(level, String(text))]),
);

/** Why an action did not succeed. Throw one; anything else that is thrown is a fault of the action. */
export class Failure extends Error {
  constructor(tag, detail, { type = "", status = 500, title = "The action failed" } = {}) {
    super(detail);
    this.tag = tag;
    this.problem = { type, status, title, detail };
  }

  /** Nothing was done; another attempt may succeed. */
  static transient(detail, problem) { return new Failure("transient", detail, problem); }

  /** Another attempt would fail the same way. */
  static permanent(detail, problem) { return new Failure("permanent", detail, problem); }

  /** It may have taken effect: the engine probes before anything else. */
  static unknown(detail, problem) { return new Failure("unknown", detail, problem); }

  told() {
    const val = this.tag === "transient" ? { problem: this.problem, retryAfterMs: undefined } : this.problem;
    return { tag: this.tag, val };
  }
}

const COMMUNICATION = "https://open-workflow-specification.org/spec/1.0.0/errors/communication";
const SAFE = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"];
const BUSY = [408, 425, 429, 500, 502, 503, 504];

// UTF-8 by hand: an action has the language's own words, and nothing of a browser's.
function encoded(text) {
  const bytes = encodeURIComponent(text).replace(/%([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}

function decoded(bytes) {
  try {
    return decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
  } catch {
    throw Failure.permanent("the answer is not UTF-8", { title: "The answer cannot be read" });
  }
}

function request(connection, method, target, body, headers) {
  const what = `${method} ${target} of connection \`${connection}\``;
  const fields = Object.entries({ ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers });
  const bytes = body === undefined ? undefined : encoded(JSON.stringify(body));
  let answer;
  try {
    const list = fields.map(([name, value]) => ({ name, value: String(value) }));
    answer = send({ connection, method, target, headers: list, body: bytes, timeoutMs: undefined });
  } catch (thrown) {
    throw unsent(what, method, thrown.payload ?? thrown);
  }
  return { status: answer.status, headers: answer.headers, ...readers(what, answer) };
}

function readers(what, answer) {
  const text = () => decoded(answer.body);
  const json = () => {
    if (answer.status < 200 || answer.status > 299) throw refused(what, answer.status, text());
    return JSON.parse(text());
  };
  return { text, json };
}

function refused(what, status, said) {
  const make = BUSY.includes(status) ? Failure.transient : Failure.permanent;
  return make(`${what} was answered ${status}: ${said.slice(0, 200)}`, { type: COMMUNICATION, status, title: "The outside refused" });
}

function unsent(what, method, error) {
  const problem = { type: COMMUNICATION, status: 503, title: "The outside did not answer" };
  const detail = `${what}: ${error.val ?? error.message ?? error.tag}`;
  switch (error.tag) {
    case "unavailable": return Failure.transient(detail, problem);
    case "timeout":
    case "interrupted": return SAFE.includes(method) ? Failure.transient(detail, problem) : Failure.unknown(detail, problem);
    default: return Failure.permanent(detail, { ...problem, status: 500, title: "The request was not sent" });
  }
}

/** Requests below a connection's base URL; URL and credentials stay in the host. */
export const http = {
  get: (connection, target, headers) => request(connection, "GET", target, undefined, headers),
  post: (connection, target, body, headers) => request(connection, "POST", target, body, headers),
  put: (connection, target, body, headers) => request(connection, "PUT", target, body, headers),
  patch: (connection, target, body, headers) => request(connection, "PATCH", target, body, headers),
  delete: (connection, target, headers) => request(connection, "DELETE", target, undefined, headers),
};

/** Serves actions by name: functions of the input and of what is known about the call. */
export function serve(actions) {
  return {
    run(invocation) {
      const { action, phase } = invocation;
      if (phase.tag !== "run" || !(action in actions)) return { tag: "unsupported" };
      try {
        const output = actions[action](JSON.parse(phase.val), invocation);
        return { tag: "succeeded", val: { output: JSON.stringify(output ?? null), receipt: undefined, resources: [] } };
      } catch (thrown) {
        if (!(thrown instanceof Failure)) log.error(`${thrown?.stack ?? thrown}`);
        throw (thrown instanceof Failure ? thrown : Failure.permanent(String(thrown?.message ?? thrown), { title: "The action broke" })).told();
      }
    },
  };
}
