"use strict";
// Shows /v1/openapi.json. Text of the document is only ever set as text, never as markup.
const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 6;
let api = {};

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Text with `code` in back quotes.
function prose(text) {
  const parts = String(text || "").split("`");
  return parts.map((part, index) => (index % 2 ? element("code", {}, part) : document.createTextNode(part)));
}

function resolve(schema) {
  let found = schema || {};
  for (let steps = 0; found.$ref && steps < 20; steps += 1) {
    found = found.$ref.replace("#/", "").split("/").reduce((node, key) => (node || {})[key], api) || {};
  }
  return found;
}

function kindOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return "list of " + kindOf(schema.items || {});
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.oneOf || schema.anyOf;
  if (choices) return choices.map(kindOf).join(" or ");
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "anything";
  const bounds = ["format", "minimum", "maximum", "minLength", "maxLength", "pattern", "default"]
    .filter((name) => schema[name] !== undefined)
    .map((name) => (name === "format" ? schema.format : name + " " + schema[name]));
  return [type, ...bounds].join(", ");
}

function members(schema, depth) {
  const shown = resolve(schema);
  const list = element("div", { class: "schema" });
  for (const part of shown.allOf || []) list.append(members(part, depth));
  for (const choice of shown.oneOf || shown.anyOf || []) {
    if (resolve(choice).properties || resolve(choice).allOf) list.append(element("div", { class: "note" }, "one of:"), members(choice, depth + 1));
  }
  for (const [name, member] of Object.entries(shown.properties || {})) {
    const required = (shown.required || []).includes(name);
    const line = [element("code", {}, name), " ", element("span", { class: "note" }, kindOf(member) + (required ? ", required" : "")), " ", ...prose(member.description)];
    const inner = resolve(member.items || member);
    const deeper = inner.properties || inner.allOf || inner.oneOf;
    if (!deeper || depth >= DEPTH_MAX) {
      list.append(element("div", {}, ...line));
      continue;
    }
    const more = element("details", {}, element("summary", {}, ...line));
    more.addEventListener("toggle", () => { if (more.open && more.children.length < 2) more.append(members(inner, depth + 1)); });
    list.append(more);
  }
  if (shown.items && !shown.properties) list.append(members(shown.items, depth + 1));
  return list;
}

function examplesOf(body) {
  if (body.example !== undefined) return [["example", body.example]];
  return Object.entries(body.examples || {}).map(([name, example]) => [example.summary || name, example.value]);
}

function written(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function bodyOf(kind, body) {
  const box = element("div", {}, element("div", { class: "note" }, kind + ": " + kindOf(body.schema || {})));
  if (body.schema) box.append(members(body.schema, 0));
  for (const [name, value] of examplesOf(body)) {
    box.append(element("details", {}, element("summary", { class: "note" }, name), element("pre", {}, written(value))));
  }
  return box;
}

function parametersOf(operation) {
  if (!(operation.parameters || []).length) return null;
  const rows = operation.parameters.map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name)),
    element("td", {}, parameter.in + (parameter.required ? ", required" : "")),
    element("td", {}, element("span", { class: "note" }, kindOf(resolve(parameter.schema)) + " "), ...prose(parameter.description))));
  return element("div", {}, element("h3", {}, "Parameters"), element("table", {}, ...rows));
}

function responsesOf(operation) {
  const box = element("div", {}, element("h3", {}, "Answers"));
  for (const [status, response] of Object.entries(operation.responses || {})) {
    const shown = resolve(response);
    const more = element("details", {}, element("summary", {}, element("code", {}, status), " ", ...prose(shown.description)));
    for (const [kind, body] of Object.entries(shown.content || {})) more.append(bodyOf(kind, body));
    box.append(more);
  }
  return box;
}

function field(parameter) {
  const value = parameter.example !== undefined && parameter.required ? written(parameter.example) : "";
  return element("input", { type: "text", "data-name": parameter.name, "data-in": parameter.in, value, "aria-label": parameter.name, autocomplete: "off" });
}

function requestOf(path, method, form) {
  const headers = {};
  const query = new URLSearchParams();
  let target = path;
  for (const input of form.querySelectorAll("input[data-name]")) {
    if (input.value === "") continue;
    if (input.dataset.in === "path") target = target.replace("{" + input.dataset.name + "}", encodeURIComponent(input.value));
    else if (input.dataset.in === "query") query.append(input.dataset.name, input.value);
    else headers[input.dataset.name] = input.value;
  }
  const token = document.getElementById("token").value;
  const tenant = document.getElementById("tenant").value;
  if (token) headers.Authorization = "Bearer " + token;
  if (tenant) headers["Orchestrator-Tenant"] = tenant;
  const body = form.querySelector("textarea");
  if (body) headers["Content-Type"] = body.dataset.kind;
  const text = query.toString();
  return [text ? target + "?" + text : target, { method: method.toUpperCase(), headers, body: body ? body.value : undefined }];
}

async function send(path, method, form, answer) {
  answer.textContent = "…";
  const stop = new AbortController();
  try {
    const [target, request] = requestOf(path, method, form);
    const started = performance.now();
    const response = await fetch(target, { ...request, signal: stop.signal });
    const head = response.status + " " + response.statusText + " · " + Math.round(performance.now() - started) + " ms\n" +
      [...response.headers].map(([name, value]) => name + ": " + value).join("\n") + "\n\n";
    if ((response.headers.get("content-type") || "").startsWith("text/event-stream")) {
      answer.textContent = head + "(a stream of events; follow it with a program)";
      stop.abort();
      return;
    }
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
    answer.textContent = head + shown;
  } catch (error) {
    answer.textContent = "no answer: " + error;
  }
}

function tryOut(path, method, operation) {
  const form = element("form", {});
  const rows = (operation.parameters || []).map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name)), element("td", {}, field(parameter))));
  if (rows.length) form.append(element("table", {}, ...rows));
  const bodies = Object.entries((operation.requestBody || {}).content || {});
  if (bodies.length) {
    const [kind, body] = bodies.find(([name]) => name === "application/json") || bodies[0];
    const first = examplesOf(body)[0];
    const area = element("textarea", { "data-kind": kind, "aria-label": "body", spellcheck: "false" });
    area.value = first ? written(first[1]) : "";
    form.append(area);
  }
  const answer = element("pre", { "aria-live": "polite" });
  form.append(element("button", { type: "submit" }, "Send"));
  form.addEventListener("submit", (event) => { event.preventDefault(); send(path, method, form, answer); });
  return element("details", {}, element("summary", {}, "Try it"), form, answer);
}

function operationOf(path, method, operation) {
  const summary = element("summary", {}, element("span", { class: "method " + method }, method.toUpperCase()), element("code", {}, path), element("span", { class: "note" }, ...prose(operation.summary)));
  const box = element("details", { class: "operation", id: operation.operationId }, summary);
  box.dataset.words = [path, method, operation.operationId, operation.summary, operation.description].join(" ").toLowerCase();
  box.addEventListener("toggle", () => {
    if (!box.open || box.children.length > 1) return;
    const body = element("div", {}, element("p", {}, ...prose(operation.description || operation.summary)));
    const parts = [parametersOf(operation)];
    for (const [kind, content] of Object.entries((operation.requestBody || {}).content || {})) {
      parts.push(element("div", {}, element("h3", {}, "Body"), bodyOf(kind, content)));
    }
    body.append(...[...parts, responsesOf(operation), tryOut(path, method, operation)].filter(Boolean));
    box.append(body);
  });
  return box;
}

function draw() {
  const groups = new Map((api.tags || []).map((tag) => [tag.name, { tag, operations: [] }]));
  for (const [path, item] of Object.entries(api.paths || {})) {
    for (const method of METHODS.filter((name) => item[name])) {
      const name = (item[method].tags || ["other"])[0];
      if (!groups.has(name)) groups.set(name, { tag: { name }, operations: [] });
      groups.get(name).operations.push([path, method, item[method]]);
    }
  }
  const main = document.getElementById("main");
  const index = document.getElementById("index");
  main.replaceChildren(element("p", {}, ...prose((api.info || {}).description)), element("p", { class: "note" }, "Version " + (api.info || {}).version));
  for (const { tag, operations } of groups.values()) {
    if (!operations.length) continue;
    const section = element("section", {}, element("h2", {}, tag.name), element("p", { class: "note" }, ...prose(tag.description)));
    index.append(element("strong", {}, tag.name));
    for (const [path, method, operation] of operations) {
      section.append(operationOf(path, method, operation));
      const link = element("a", { href: "#" + operation.operationId, title: operation.summary }, element("span", { class: "method " + method }, method.toUpperCase() + " "), path);
      link.dataset.words = [path, method, operation.operationId, operation.summary].join(" ").toLowerCase();
      index.append(link);
    }
    main.append(section);
  }
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const node of document.querySelectorAll("[data-words]")) {
    node.hidden = !words.every((word) => node.dataset.words.includes(word));
  }
}

function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
}

async function start() {
  try {
    api = await (await fetch("/v1/openapi.json")).json();
    draw();
    open();
  } catch (error) {
    document.getElementById("main").textContent = "The document cannot be read: " + error;
  }
}

document.getElementById("find").addEventListener("input", (event) => find(event.target.value));
window.addEventListener("hashchange", open);
start();
