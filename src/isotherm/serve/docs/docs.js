"use strict";
// Draws /v1/openapi.json with plain DOM calls. Text only ever becomes text nodes, never markup.

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// `code` spans and paragraphs are all the Markdown that the descriptions use.
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((paragraph) => {
    const pieces = paragraph.replace(/\s+/g, " ").trim().split("`");
    return el("p", {}, ...pieces.map((piece, index) => (index % 2 ? el("code", {}, piece) : piece)));
  });
}

function inline(text) {
  return prose(text).flatMap((paragraph) => [...paragraph.childNodes]);
}

function resolve(api, node) {
  let found = node;
  while (found && found.$ref) found = found.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
  return found || {};
}

function typeOf(api, schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.map((option) => typeOf(api, option)).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `list of ${typeOf(api, schema.items) || "anything"}`;
  if (schema.additionalProperties && schema.additionalProperties !== true) {
    return `object of ${typeOf(api, schema.additionalProperties)}`;
  }
  return [].concat(schema.type || "anything").join(" or ");
}

function table(head, rows) {
  const header = el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, ...[].concat(cell)))));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, header), el("tbody", {}, ...body)));
}

function named(name, required) {
  return [el("code", {}, name), required ? el("span", { class: "required" }, "required") : null].filter(Boolean);
}

function parameterRow(api, parameter) {
  const schema = parameter.schema || {};
  const text = [...inline(parameter.description)];
  if (schema.default !== undefined && schema.default !== null && schema.default !== "") {
    text.push(" Default: ", el("code", {}, JSON.stringify(schema.default)), ".");
  }
  return [named(parameter.name, parameter.required), el("span", { class: "type" }, typeOf(api, schema)), text];
}

function fields(api, schema) {
  const shape = resolve(api, schema);
  const rows = Object.entries(shape.properties || {}).map(([name, value]) => [
    named(name, false),
    el("span", { class: "type" }, typeOf(api, value)),
    inline(value.description || resolve(api, value).description),
  ]);
  return rows.length ? table(["Member", "Type", "Meaning"], rows) : null;
}

// Members of the answer, then those of the shapes it is made of.
function shapes(api, schema) {
  const seen = new Set();
  const queue = [schema];
  const found = [];
  while (queue.length) {
    const next = queue.shift();
    const name = next && next.$ref && next.$ref.split("/").pop();
    if (!name || seen.has(name)) continue;
    seen.add(name);
    if (found.length) found.push(el("h4", {}, name));
    found.push(fields(api, next));
    for (const value of Object.values(resolve(api, next).properties || {})) queue.push(value.items || value);
  }
  return found.filter(Boolean);
}

function exampleOf(parameter) {
  const given = parameter.examples ? Object.values(parameter.examples)[0].value : (parameter.schema.examples || [])[0];
  return Array.isArray(given) ? given[0] : given;
}

function curl(path, method, operation) {
  if (method === "post") {
    const body = JSON.stringify(operation.requestBody.content["application/json"].example);
    return `curl -N ${location.origin}${path} -d '${body}'`;
  }
  const pairs = (operation.parameters || [])
    .filter((parameter) => parameter.in === "query" && parameter.required && exampleOf(parameter) !== undefined)
    .map((parameter) => `${parameter.name}=${encodeURIComponent(exampleOf(parameter))}`);
  return `curl '${location.origin}${path}${pairs.length ? "?" + pairs.join("&") : ""}'`;
}

function requestPart(api, operation) {
  const found = [];
  if ((operation.parameters || []).length) {
    found.push(el("h4", {}, "Parameters"));
    found.push(table(["Name", "Type", "Meaning"], operation.parameters.map((one) => parameterRow(api, one))));
  }
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  if (body) found.push(el("h4", {}, "Body"), fields(api, body.schema));
  return found;
}

function answerPart(api, operation) {
  const success = resolve(api, operation.responses["200"]);
  const json = (success.content || {})["application/json"];
  const found = [el("h4", {}, "Answer"), ...prose(success.description)];
  const types = Object.keys(success.content || {});
  found.push(el("p", { class: "type" }, types.join(", ")));
  if (json) {
    const details = el("details", {}, el("summary", {}, "Members"), ...shapes(api, json.schema));
    found.push(details);
    if (json.example) found.push(el("pre", { tabindex: "0" }, el("code", {}, JSON.stringify(json.example))));
  }
  return found;
}

function errorPart(api, operation) {
  const rows = Object.entries(operation.responses)
    .filter(([status]) => status !== "200")
    .map(([status, answer]) => [el("code", {}, status), inline(resolve(api, answer).description)]);
  return el("details", {}, el("summary", {}, "Other answers"), table(["Status", "When"], rows));
}

function anchor(path, method) {
  return `${method}${path.replace(/[^a-z0-9]+/gi, "-")}`;
}

function article(api, path, method, operation) {
  const heading = el(
    "h3",
    {},
    el("span", { class: `method ${method}` }, method.toUpperCase()),
    el("code", {}, path),
    el("span", { class: "summary" }, operation.summary || ""),
  );
  return el(
    "article",
    { id: anchor(path, method) },
    heading,
    ...prose(operation.description),
    el("pre", { tabindex: "0", "aria-label": "Example" }, el("code", {}, curl(path, method, operation))),
    ...requestPart(api, operation),
    ...answerPart(api, operation),
    errorPart(api, operation),
  );
}

function draw(api) {
  const nav = document.getElementById("nav");
  const main = document.getElementById("main");
  nav.append(el("p", { class: "brand" }, `${api.info.title} `, el("span", {}, `API ${api.info.version}`)));
  const lead = el("div", { class: "lead" }, ...prose(api.info.description));
  const source = el("p", {}, el("a", { href: "/v1/openapi.json" }, "OpenAPI 3.1 document"));
  main.replaceChildren(el("h1", {}, `${api.info.title} API`), lead, source);
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  for (const tag of api.tags) {
    const mine = operations.filter(({ operation }) => (operation.tags || []).includes(tag.name));
    const links = mine.map(({ path, method }) => el("li", {}, el("a", { href: `#${anchor(path, method)}` }, path)));
    nav.append(el("h2", {}, tag.name), el("ul", {}, ...links));
    const articles = mine.map(({ path, method, operation }) => article(api, path, method, operation));
    const heading = el("h2", { id: tag.name }, tag.name);
    main.append(el("section", { class: "group" }, heading, ...prose(tag.description), ...articles));
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

// The dashboard asks for the token and keeps it for this tab.
function token() {
  try {
    return sessionStorage.getItem("isotherm-token");
  } catch {
    return null;
  }
}

function failed(...children) {
  document.getElementById("main").replaceChildren(el("p", { class: "failed", role: "alert" }, ...children));
}

const headers = { accept: "application/json", ...(token() ? { authorization: `Bearer ${token()}` } : {}) };
fetch("/v1/openapi.json", { headers })
  .then((answer) => {
    if (answer.ok) return answer.json().then(draw);
    if (answer.status !== 401) throw new Error(`status ${answer.status}`);
    return failed(
      "This server asks for its token: enter it in ",
      el("a", { href: "/" }, "the dashboard"),
      ", then come back in the same tab.",
    );
  })
  .catch((error) => failed(`The description could not be loaded (${error.message}). Is the server still running?`));
