// The OpenAPI document for people; nothing is loaded from elsewhere.

const find = (name) => document.getElementById(name);

function make(kind, text = "", className = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  element.className = className;
  return element;
}

/** Text in which `code` is marked as in Markdown. */
function write(place, text) {
  text.split("`").forEach((part, number) => place.append(number % 2 ? make("code", part) : part));
}

function describeValue(schema) {
  const kinds = (schema.anyOf ?? [schema]).filter((kind) => kind.type !== "null");
  return kinds.map(({ type, minimum, maximum }) =>
    [type, minimum === undefined ? "" : `≥ ${minimum}`, maximum === undefined ? "" : `≤ ${maximum}`].filter(Boolean).join(" ")).join(", ");
}

function buildParameters(parameters) {
  const table = make("table", "", "fit"), body = make("tbody");
  for (const parameter of parameters) {
    const row = make("tr"), name = make("th"), words = make("td");
    name.scope = "row";
    name.append(make("code", parameter.name));
    write(words, parameter.description ?? "");
    row.append(name, make("td", describeValue(parameter.schema), "quiet"), words);
    body.append(row);
  }
  table.append(body);
  const sheet = make("div", "", "sheet");
  sheet.append(table);
  return sheet;
}

function buildOperation(method, path, operation) {
  const place = make("article"), address = make("h3", "", "address");
  address.append(make("span", method.toUpperCase(), "method"), path);
  const words = make("p", "", "describe");
  write(words, `${operation.summary} ${operation.description ?? ""}`);
  place.append(address, words);
  if (operation.parameters?.length) place.append(buildParameters(operation.parameters));
  const example = operation.responses["200"]?.content?.["application/json"]?.example;
  if (example) {
    const shown = make("pre", "", "recipe");
    shown.tabIndex = 0;
    shown.append(make("code", JSON.stringify(example, null, 2)));
    place.append(shown);
  }
  return place;
}

function listKinds(kinds) {
  find("kinds").replaceChildren(...Object.entries(kinds).map(([name, { status, title }]) => {
    const row = make("tr");
    row.id = name;
    row.append(make("td", status, "figures"), make("td"), make("td", title));
    row.children[1].append(make("code", name));
    return row;
  }));
}

const document_ = await (await fetch("/openapi.json")).json();
find("title").textContent = document_.info.title;
find("description").replaceChildren();
write(find("description"), document_.info.description.replace(/(?<!\n)\n(?!\n)/g, " ").trim());
find("example").textContent = [
  `curl -F file=@rain.ogg "${location.origin}/v1/classify?top_k=3"`,
  `curl -H "Content-Type: audio/ogg" --data-binary @rain.ogg ${location.origin}/v1/classify`,
  `curl -F file=@yard.flac "${location.origin}/v1/timeline?threshold=0.7"`,
].join("\n");
for (const [path, methods] of Object.entries(document_.paths)) {
  for (const [method, operation] of Object.entries(methods)) find("operations").append(buildOperation(method, path, operation));
}
listKinds(document_["x-problems"]);
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
