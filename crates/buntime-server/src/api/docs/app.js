// The description of the API as a page. Everything is made as text nodes: nothing that
// the description says can become markup.
"use strict";

/** An element with attributes and children; texts become text. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Descriptions mark code by backticks. */
function prose(text) {
  return text.split("`").map((piece, index) => (index % 2 ? make("code", null, piece) : piece));
}

/** A schema in words: `string`, `Line[]`, `number | null`. */
function typeOf(schema, api) {
  if (schema === true || schema === undefined) return "anything";
  if (schema.$ref) return typeOf(resolve(schema, api), api);
  if (schema.contentMediaType) return "file";
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const some = schema.anyOf ?? schema.oneOf;
  if (some) return some.map((one) => typeOf(one, api)).join(" | ");
  if (schema.allOf) return schema.allOf.map((one) => typeOf(one, api)).join(" & ");
  const types = [schema.type ?? "anything"].flat();
  return types.map((type) => (type === "array" ? `${typeOf(schema.items, api)}[]` : type)).join(" | ");
}

function resolve(schema, api) {
  const steps = schema.$ref.split("/").slice(1);
  return steps.reduce((found, step) => found?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], api) ?? {};
}

/** Every field below a schema as [path, schema, whether it must be there]; `inside` are the types on the way. */
function fields(schema, api, prefix = "", inside = []) {
  if (!schema || schema === true) return [];
  if (schema.$ref) {
    if (inside.includes(schema.$ref)) return [];
    return fields(resolve(schema, api), api, prefix, [...inside, schema.$ref]);
  }
  const rows = [];
  for (const part of [schema.allOf, schema.anyOf, schema.oneOf].flat().filter(Boolean)) {
    rows.push(...fields(part, api, prefix, inside));
  }
  if (schema.items) rows.push(...fields(schema.items, api, `${prefix}[]`, inside));
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const path = prefix ? `${prefix}.${name}` : name;
    rows.push([path, field, (schema.required ?? []).includes(name)]);
    rows.push(...fields(field, api, path, inside));
  }
  return rows;
}

function table(rows) {
  const body = rows.map(([name, ...about]) => make("tr", null, make("th", { scope: "row" }, name), make("td", null, about)));
  return make("table", null, make("tbody", null, body));
}

function fieldTable(schema, api) {
  const rows = fields(schema, api).map(([path, field, required]) => {
    const about = field.description ?? (field.$ref ? resolve(field, api).description : "") ?? "";
    return [path, make("code", null, typeOf(field, api)), required ? "" : " optional", about ? " · " : "", ...prose(about)];
  });
  return rows.length ? table(rows) : make("p", null, make("code", null, typeOf(schema, api)));
}

function parts(title, content) {
  return content ? [make("h3", null, title), content] : [];
}

/** Quotes for a shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** What must be in a body, with `…` where the caller has to say something. */
function sample(schema, api) {
  if (!schema || schema === true) return "…";
  if (schema.$ref) return sample(resolve(schema, api), api);
  if (schema.enum) return schema.enum[0];
  const type = [schema.type].flat()[0];
  if (type === "array") return [sample(schema.items, api)];
  if (type === "integer" || type === "number") return Math.max(1, schema.minimum ?? 1);
  if (type === "boolean") return true;
  if (type !== "object") return "…";
  return Object.fromEntries((schema.required ?? []).map((name) => [name, sample(schema.properties?.[name], api)]));
}

function formArgument(name, schema) {
  return schema.contentMediaType ? `-F ${name}=@FILE` : `-F ${quoted(`${name}=…`)}`;
}

/** A call that works once what is written in capitals or as `…` is filled in. */
function example(method, path, operation, api) {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => name.toUpperCase());
  const asked = (operation.parameters ?? []).filter((parameter) => parameter.in === "query" && parameter.required);
  const query = asked.map((parameter) => `${parameter.name}=…`).join("&");
  const [type, body] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const verb = method === "get" || (method === "post" && body) ? "" : ` -X ${method.toUpperCase()}`;
  const lines = [`curl${verb} "$URL${api.servers[0].url}${filled}${query && `?${query}`}"`];
  if (operation.security?.length !== 0) lines.push('-H "X-API-Key: $KEY"');
  // Without a key in a header, what changes something must name its origin.
  else if (method !== "get") lines.push('-H "Origin: $URL"', method === "delete" ? "-b COOKIES" : "-c COOKIES");
  if (type === "application/json") {
    lines.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(sample(body.schema, api)))}`);
  } else if (type === "multipart/form-data") {
    for (const name of body.schema.required ?? []) lines.push(formArgument(name, body.schema.properties[name]));
  }
  const answer = Object.keys(operation.responses["200"]?.content ?? {})[0];
  if (answer === "application/octet-stream" || answer === "application/zip") lines.push("-fOJ");
  return make("pre", null, lines.join(" \\\n  "));
}

function inside(method, path, operation, api) {
  const parameters = (operation.parameters ?? []).map((parameter) => [
    parameter.name,
    make("code", null, typeOf(parameter.schema, api)),
    ` in the ${parameter.in}`,
    parameter.required ? "" : ", optional",
    ". ",
    ...prose(parameter.description ?? ""),
  ]);
  const [kind, body] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const answers = Object.entries(operation.responses).filter(([status]) => status.startsWith("2"));
  const failures = Object.entries(operation.responses).filter(([status]) => !status.startsWith("2"));
  return make(
    "div",
    { class: "inside" },
    parts("Parameters", parameters.length ? table(parameters) : null),
    body ? parts(`Body, ${kind}`, fieldTable(body.schema, api)) : [],
    answers.flatMap(([status, answer]) => {
      const [type, content] = Object.entries(answer.content ?? {})[0] ?? [];
      const title = type ? `Answer ${status}, ${type}` : `Answer ${status}, without a body`;
      return [make("h3", null, title), content?.schema ? fieldTable(content.schema, api) : null];
    }),
    parts("Failures", failures.length ? table(failures.map(([status, failure]) => [status, ...prose(failure.description)])) : null),
    parts("Example", example(method, path, operation, api)),
  );
}

function route(method, path, operation, api) {
  const element = make(
    "details",
    { id: operation.operationId },
    make(
      "summary",
      null,
      make("span", { class: `method ${method}` }, method.toUpperCase()),
      make("span", { class: "path" }, make("span", { class: "quiet" }, api.servers[0].url), path),
      operation["x-permission"] ? make("span", { class: "tag" }, operation["x-permission"]) : null,
      operation.security?.length === 0 ? make("span", { class: "tag" }, "public") : null,
      make("span", { class: "about" }, prose(operation.summary)),
    ),
  );
  // Most are never opened.
  element.addEventListener("toggle", () => {
    if (element.open && element.children.length === 1) element.append(inside(method, path, operation, api));
    if (element.open) history.replaceState(null, "", `#${element.id}`);
  });
  element.dataset.words = `${method} ${api.servers[0].url}${path} ${operation.summary} ${operation["x-permission"] ?? "public"}`.toLowerCase();
  return element;
}

/** What a caller must know before the first call. */
function intro(api) {
  return make(
    "div",
    { id: "intro" },
    make("p", null, prose(api.info.description)),
    make("p", null, prose("The examples take two variables. The first key is the root key: the value of `RUNTIME_ROOT_KEY`, or the file `root-key` in the state directory of the server.")),
    make("pre", null, `export URL=${location.origin}\nexport KEY=$(cat .buntime/root-key)`),
  );
}

function show(api) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(route(method, path, operation, api));
    }
  }
  const names = [...groups.keys()].sort();
  const sections = names.map((name) => make("section", null, make("h2", { id: `group-${name}` }, name), groups.get(name)));
  document.getElementById("routes").replaceChildren(make("p", { id: "state", role: "status" }), intro(api), ...sections);
  const links = names.map((name) =>
    make("li", null, make("a", { href: `#group-${name}` }, name, make("span", { class: "quiet" }, String(groups.get(name).length)))),
  );
  document.getElementById("groups").replaceChildren(
    make("ul", null, links),
    make("p", { class: "quiet" }, make("a", { href: "openapi.json" }, "openapi.json"), ` · ${api.info.version}`),
  );
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const element of document.querySelectorAll("details")) {
    element.hidden = !words.every((word) => element.dataset.words.includes(word));
    shown += element.hidden ? 0 : 1;
  }
  for (const section of document.querySelectorAll("main section")) {
    section.hidden = section.querySelector("details:not([hidden])") === null;
  }
  document.getElementById("intro").hidden = words.length > 0;
  document.getElementById("state").textContent = words.length ? `${shown} ${shown === 1 ? "route" : "routes"}` : "";
}

/** Opens the route that the address names. */
function follow() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.tagName === "DETAILS") named.open = true;
  named?.scrollIntoView();
}

async function start() {
  const box = document.getElementById("filter");
  box.addEventListener("input", () => filter(box.value));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== box && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      box.focus();
    } else if (event.key === "Escape" && document.activeElement === box) {
      box.value = "";
      filter("");
    }
  });
  window.addEventListener("hashchange", follow);
  try {
    const response = await fetch("openapi.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.json());
    filter(box.value);
    follow();
  } catch (error) {
    document.getElementById("state").textContent = `The description could not be loaded: ${error.message}.`;
  }
}

start();
