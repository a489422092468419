// The sliders of the page. Without a script the section stays hidden: it would show nothing that moves.
(() => {
  const section = document.getElementById("what-if");
  const items = JSON.parse(document.getElementById("contents").textContent).what_if ?? [];
  if (!section || !items.length) return;
  const at = (name) => section.querySelector(`[data-part="${name}"]`);
  const make = (tag, text, classes) => {
    const made = document.createElement(tag);
    if (text != null) made.textContent = text;
    if (classes) made.className = classes;
    return made;
  };

  const three = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 6 });
  const shown = (value, unit) => {
    if (value == null) return "not known";
    if (unit === "bytes") return `${three(value / 1e6)} MB`;
    if (unit === "s") return value >= 0.9995 || !value ? `${three(value)} s` : `${three(value * 1000)} ms`;
    if (unit === "USD") return `${three(value)} USD`;
    return three(value);
  };

  // Rates, memory and links span decades, so their sliders move logarithms; the memory's last step is no limit.
  const RATE = [0, 7], MEMORY = [Math.log10(32), Math.log10(65536)], LINK = [-2, 4];
  const onSlider = (value, [least, most]) => Math.round(1000 * (Math.log10(value) - least) / (most - least));
  const offSlider = (input, [least, most]) => 10 ** (least + input.valueAsNumber / 1000 * (most - least));
  const rounded = (value) => Number(value.toPrecision(2));

  let what, weights = [];
  const moved = { rate: null, memory: null, link: null };

  function settings() {
    return { per_day: moved.rate, memory_mb: moved.memory, link_mbit: moved.link,
             weights: weights.map((input) => input.valueAsNumber / 100) };
  }

  function show() {
    const set = settings();
    at("rate-shown").textContent = `${three(set.per_day)} a day`;
    at("memory-shown").textContent = set.memory_mb == null ? "no limit" : `${three(set.memory_mb)} MB`;
    at("link-shown").textContent = `${three(set.link_mbit)} Mbit/s`;
    for (const input of weights) input.nextElementSibling.textContent = `${input.value}`;
    const { ranked, excluded } = whatIf.rank(what, set);
    const body = at("ranking");
    body.replaceChildren(...ranked.map((one, place) => {
      const row = make("tr", null, place ? "" : "winner"), head = make("th", `${place + 1}. ${one.method}`);
      head.scope = "row";
      const value = make("td", one.value.toFixed(3)), bar = make("span", null, "bar"), filled = make("span");
      bar.ariaHidden = "true";
      filled.style.width = `${(100 * one.value).toFixed(1)}%`;
      bar.append(filled);
      value.append(bar);
      row.append(head, value, ...one.found.map((number, each) => make("td", shown(number, what.aims[each].unit))));
      return row;
    }));
    const first = ranked[0];
    const next = ranked[1] ? `, next ${ranked[1].method} with ${ranked[1].value.toFixed(3)}` : "";
    at("answer").textContent = first ? `${first.method} comes first with ${first.value.toFixed(3)}${next}.`
                                     : "No method is left.";
    at("excluded").replaceChildren(...excluded.map((one) => make("li", `${one.method}: ${one.why.join("; ")}`)));
    at("excluded-count").textContent = `${excluded.length} excluded`;
  }

  function begin() {
    const [model, scenario] = [at("model").value, at("scenario").value];
    what = items.find((one) => one.model === model && one.scenario === scenario) ?? items[0];
    moved.rate = what.per_day || 1;
    moved.memory = what.memory_mb ?? null;
    moved.link = what.link_mbit;
    at("rate").value = onSlider(moved.rate, RATE);
    at("memory").value = moved.memory == null ? 1000 : onSlider(moved.memory, MEMORY);
    at("link").value = onSlider(moved.link, LINK);
    const head = at("heads");
    head.replaceChildren(...["method", "value", ...what.aims.map((aim) => aim.title)].map((title) => {
      const cell = make("th", title);
      cell.scope = "col";
      return cell;
    }));
    const total = what.aims.reduce((sum, aim) => sum + aim.weight, 0);
    at("weights").replaceChildren(...what.aims.map((aim, place) => {
      const label = make("label", `weight: ${aim.title}`), input = make("input"), output = make("output");
      Object.assign(input, { type: "range", min: 0, max: 100, step: 1 });
      input.value = Math.round(100 * aim.weight / total);
      input.id = `what-if-weight-${place}`;
      label.append(input, output);
      return label;
    }));
    weights = [...at("weights").querySelectorAll("input")];
    show();
  }

  at("rate").addEventListener("input", (event) => { moved.rate = rounded(offSlider(event.target, RATE)); show(); });
  at("memory").addEventListener("input", (event) => {
    moved.memory = event.target.valueAsNumber >= 1000 ? null : rounded(offSlider(event.target, MEMORY));
    show();
  });
  at("link").addEventListener("input", (event) => { moved.link = rounded(offSlider(event.target, LINK)); show(); });
  at("weights").addEventListener("input", show);
  at("reset").addEventListener("click", begin);

  const options = (names) => names.map((name) => make("option", name));
  at("model").replaceChildren(...options([...new Set(items.map((one) => one.model))]));
  const scenarios = () => {
    const names = items.filter((one) => one.model === at("model").value).map((one) => one.scenario);
    at("scenario").replaceChildren(...options(names));
  };
  at("model").addEventListener("change", () => { scenarios(); begin(); });
  at("scenario").addEventListener("change", begin);
  scenarios();
  begin();
  section.hidden = false;
  for (const link of document.querySelectorAll(".scripted")) link.hidden = false;
})();
