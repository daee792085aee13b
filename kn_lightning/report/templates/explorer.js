// What is looked up: concepts, neurons, the list of all concepts, the map.
const { concepts, prompts, neurons, links } = data;

const conceptLink = (i) =>
  link(`#concept=${encodeURIComponent(concepts.name[i])}`, quoted(concepts.name[i]));
const neuronName = (j) => `${neurons.layer[j]}-${neurons.neuron[j]}`;
const neuronLink = (j) => link(`#neuron=${neuronName(j)}`, neuronName(j));

// Rows of each concept and neuron

const grouped = (keys, n) => {
  const groups = Array.from({ length: n }, () => []);
  keys.forEach((key, row) => groups[key].push(row));
  return groups;
};
// Prompts behind these are named by neurons alone.
const promptsOf = grouped(prompts.concept.slice(0, prompts.rank.length), concepts.name.length);
const linksOf = grouped(links.concept, concepts.name.length);
const linksTo = grouped(links.neuron, neurons.layer.length);
const conceptAt = new Map(concepts.name.map((name, i) => [name, i]));
const neuronAt = new Map(neurons.layer.map((_, j) => [neuronName(j), j]));
const ownChange = (edit) => (i) => data.changes[edit].own?.change[i] ?? null;

// A concept

function promptTable(i) {
  const rows = promptsOf[i], total = concepts.n_prompts[i], bar = 1;
  const notes = [texts.about_prompts, texts.left_out].filter(Boolean);
  if (rows.length < total) notes.unshift(filled(texts.fewer_prompts, { n: rows.length, total }));
  return drawn(texts.its_prompts, [
    { head: texts.prompt, value: (row) => prompts.text[row] },
    ...(prompts.relations.length
      ? [{ head: texts.relation, value: (row) => prompts.relations[prompts.relation[row]] }] : []),
    { head: texts.guess, value: (row) => prompts.guess[row] },
    { head: texts.rank, value: (row) => prompts.rank[row], write: count, number: true },
    { head: texts.before, value: (row) => prompts.before[row], write: probability, number: true, bar },
    ...data.edits.map((edit) => ({
      head: filled(texts.after, { edit: texts.edits[edit] }),
      value: (row) => prompts.after[edit][row], write: probability, number: true, bar,
    })),
  ], rows, notes);
}

function changeTable(i) {
  const edits = Object.entries({ ...data.changes, ...data.further });
  const rows = edits.flatMap(([edit, kinds]) => Object.entries(kinds)
    .filter(([, column]) => column.change[i] !== null || column.before[i] !== null)
    .map(([kind, column]) => ({ edit, kind, of: (name) => column[name][i] })));
  // Concepts without neurons may have none.
  return rows.length === 0 ? "" : drawn(texts.its_changes, [
    { head: texts.edit, value: (row) => texts.edits[row.edit] },
    { head: texts.kind, value: (row) => texts.kinds[row.kind] },
    { head: texts.before, value: (row) => row.of("before"), write: probability, number: true, bar: 1 },
    { head: texts.after_all, value: (row) => row.of("after"), write: probability, number: true, bar: 1 },
    { head: texts.change, value: (row) => row.of("change"), write: percent, number: true },
  ], rows);
}

function layerTable(i) {
  const counts = grouped(linksOf[i].map((row) => neurons.layer[links.neuron[row]]), data.n_layers)
    .map((found) => found.length);
  return drawn(texts.its_layers, [
    { head: texts.layer, value: (layer) => layer, write: String },
    { head: texts.neurons, value: (layer) => counts[layer], write: count, number: true, bar: Math.max(...counts) },
  ], [...counts.keys()]);
}

const valueColumns = () => (links.rank ? [
  { head: texts.value_rank, value: (row) => links.rank[row], write: count, number: true },
  { head: texts.activation, value: (row) => links.activation[row], write: decimal, number: true },
] : []);
const scoreColumns = (rows) => [
  { head: texts.score, value: (row) => links.score[row], write: score, number: true,
    bar: Math.max(...rows.map((row) => links.score[row])) },
  { head: texts.share, value: (row) => links.share[row], write: share, number: true },
];

function neuronTable(i) {
  const rows = linksOf[i], total = concepts.n_neurons[i];
  const fewer = rows.length < total ? [filled(texts.fewer_neurons, { n: rows.length, total })] : [];
  return drawn(texts.its_neurons, [
    { head: texts.neuron, value: (row) => neuronName(links.neuron[row]), write: (_, row) => neuronLink(links.neuron[row]) },
    ...scoreColumns(rows),
    { head: texts.n_concepts, value: (row) => neurons.n_concepts[links.neuron[row]], write: count, number: true },
    ...valueColumns(),
  ], rows, fewer);
}

function nearestTable(i) {
  if (!data.nearest[i].length) return note(texts.none_near);
  return drawn(texts.its_nearest, [
    { head: texts.concept, value: ([other]) => concepts.name[other], write: (_, [other]) => conceptLink(other) },
    { head: texts.in_common, value: (row) => row[1], write: count, number: true },
    { head: texts.jaccard, value: (row) => row[2], write: decimal, number: true, bar: 1 },
  ], data.nearest[i]);
}

function conceptView(i) {
  const facts = note(filled(texts.summary, {
    prompts: count(concepts.n_prompts[i]), neurons: count(concepts.n_neurons[i]),
    probability: probability(concepts.probability[i]),
  }));
  if (!concepts.n_neurons[i]) return [facts, note(texts.no_neurons), promptTable(i), changeTable(i)];
  return [facts, promptTable(i), changeTable(i),
    element("div", { class: "columns" }, layerTable(i), nearestTable(i)), neuronTable(i)];
}

// A neuron

function neuronView(j) {
  const rows = [...linksTo[j]].sort((a, b) => links.score[b] - links.score[a]);
  const found = drawn(texts.its_concepts, [
    { head: texts.concept, value: (row) => concepts.name[links.concept[row]], write: (_, row) => conceptLink(links.concept[row]) },
    ...scoreColumns(rows), ...valueColumns(),
  ], rows);
  const facts = note(filled(texts.summary_neuron, { n: count(neurons.n_concepts[j]) }));
  if (!neurons.promoted) return [facts, found, note(texts.no_values)];
  const [promoted, demoted] = [neurons.promoted[j], neurons.demoted[j]];
  const tokens = drawn(texts.its_tokens, [
    { head: texts.place, value: (place) => place + 1, write: String },
    { head: texts.promoted, value: (place) => promoted[place] },
    { head: texts.demoted, value: (place) => demoted[place] },
  ], [...promoted.keys()], [texts.about_values]);
  const top = neurons.prompts[j].map((prompt, k) => [prompt, neurons.activations[j][k]]);
  return [facts, element("div", { class: "columns" }, found, tokens), drawn(texts.its_top, [
    { head: texts.prompt, value: ([prompt]) => prompts.text[prompt] },
    { head: texts.concept, value: ([prompt]) => concepts.name[prompts.concept[prompt]], write: (_, [prompt]) => conceptLink(prompts.concept[prompt]) },
    { head: texts.activation, value: (row) => row[1], write: decimal, number: true },
  ], top)];
}

// The list and the map

const list = table("h3", texts.list, [
  { head: texts.concept, value: (i) => concepts.name[i], write: (_, i) => conceptLink(i) },
  ...(data.pos.length ? [{ head: texts.part_of_speech, value: (i) => texts.pos[data.pos[concepts.pos[i]]] }] : []),
  { head: texts.prompts, value: (i) => concepts.n_prompts[i], write: count, number: true },
  { head: texts.neurons, value: (i) => concepts.n_neurons[i], write: count, number: true },
  { head: texts.before, value: (i) => concepts.probability[i], write: probability, number: true },
  ...data.edits.slice(0, 2).map((edit) => ({
    head: filled(texts.own_change, { edit: texts.edits[edit] }), value: ownChange(edit), write: percent, number: true,
  })),
], [...concepts.name.keys()]);

const plain = (text) => text.normalize("NFKC").toLowerCase();
function search() {
  const sought = plain(at("search").value.trim());
  const n = list.show((i) => plain(concepts.name[i]).includes(sought));
  const matches = neuronsFor(sought);
  showNeurons(n, matches, matches.slice(0, FIRST_ROWS));
}

// The status is what a screen reader says of both; n is the number of concepts shown.
function showNeurons(n, matches, shown) {
  at("status").textContent = filled(matches.length ? texts.shown_both : texts.shown, {
    n: count(n), total: count(concepts.name.length), neurons: count(shown.length), found: count(matches.length),
  });
  const more = element("button", { type: "button" }, filled(texts.all_neurons, { n: count(matches.length) }));
  more.addEventListener("click", () => {
    showNeurons(n, matches, matches);
    at("neurons").querySelectorAll("a")[FIRST_ROWS].focus();
  });
  at("neurons").hidden = !matches.length;
  at("neurons").replaceChildren(filled(texts.neurons_found, { n: count(matches.length) }),
    ...shown.flatMap((j) => [" ", neuronLink(j)]), ...(shown.length < matches.length ? [" … ", more] : []));
}

// 3-490, 3.490, 3 490, (3, 490), or as the page calls it: layer 3, neuron 490.
const ADDRESS = /^\(?(layer|第|層)?\s*(\d+)\s*(層)?([-.,、\s]\s*(?:neuron|ニューロン)?\s*(\d*)\)?)?$/;

// By token, made when first asked for; as a Map, for a token may be called __proto__.
let promoting = null;
function neuronsFor(sought) {
  const [, word, layer, ending, rest, number = ""] = ADDRESS.exec(sought) ?? [];
  if (word || ending || rest) {
    const start = `${layer}-${number}`;
    return [...neurons.layer.keys()].filter((j) => neuronName(j).startsWith(start));
  }
  if (!promoting) {
    promoting = new Map();
    const add = (token, j) => (promoting.get(token) ?? promoting.set(token, []).get(token)).push(j);
    (neurons.promoted ?? []).forEach((tokens, j) =>
      new Set(tokens.map((token) => plain(token).trim())).forEach((token) => add(token, j)));
  }
  return sought ? promoting.get(sought) ?? [] : [];
}

function map() {
  const { concepts: chosen, jaccard } = data.map;
  if (!chosen.length) return;
  const id = "explorer-map-title";
  const largest = Math.max(...jaccard.flatMap((row, i) => row.filter((_, j) => i !== j)));
  const head = (scope) => (i) => element("th", { scope }, scope === "row" ? conceptLink(i) : quoted(concepts.name[i]));
  const cell = (row) => (value, column) => {
    const made = element("td", row === column ? { class: "self" } : {}, row === column ? DASH : String(Math.round(100 * value)));
    made.style.setProperty("--part", value / largest);
    return made;
  };
  at("map").append(element("details", {}, element("summary", { id }, filled(texts.map, { n: chosen.length })),
    note(texts.about_map),
    element("div", { class: "scroll map", role: "region", "aria-labelledby": id, tabindex: "0" },
      element("table", { "aria-labelledby": id },
        element("thead", {}, element("tr", {}, element("td"), ...chosen.map(head("col")))),
        element("tbody", {}, ...chosen.map((i, row) =>
          element("tr", {}, head("row")(i), ...jaccard[row].map(cell(row)))))))));
}

// Addresses

const titleOfPage = document.title;

function asked(hash) {
  const [, kind, name] = /^#(concept|neuron)=(.*)$/.exec(hash) ?? [];
  if (!kind) return null;
  try {
    return { kind, name: decodeURIComponent(name) };
  } catch {
    return { kind, name }; // a stray % sign
  }
}

function found({ kind, name }) {
  const known = kind === "concept" ? conceptAt.get(name) : neuronAt.get(name);
  if (known === undefined) {
    return [filled(kind === "concept" ? texts.no_concept : texts.no_neuron, { name })];
  }
  if (kind === "concept") return [quoted(name), ...conceptView(known)];
  const [layer, neuron] = [neurons.layer[known], neurons.neuron[known]];
  return [filled(texts.of_neuron, { layer, neuron }), ...neuronView(known)];
}

function route(event) {
  const target = asked(location.hash);
  document.title = target ? `${target.name} – ${titleOfPage}` : titleOfPage;
  // Other addresses are those of sections; the empty one is where a reader comes back to.
  if (!target && location.hash) return;
  for (const each of at("app").querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
  if (!target) {
    at("view").replaceChildren(note(texts.choose));
    if (event) at("title").focus({ preventScroll: true });
    return;
  }
  const [title, ...parts] = found(target);
  const heading = element("h3", { tabindex: "-1" }, title);
  at("view").replaceChildren(heading, ...parts);
  for (const each of at("list").querySelectorAll("a")) {
    if (each.hash === location.hash) each.setAttribute("aria-current", "true");
  }
  heading.focus();
  heading.scrollIntoView({ block: "start" });
}

at("app").hidden = false;
at("list").append(list.part);
at("search").addEventListener("input", search);
search();
map();
window.addEventListener("hashchange", route);
// A link to what is open already changes no address.
at("app").addEventListener("click", (event) => {
  if (event.target.closest("a")?.hash === location.hash) route(event);
});
route();
