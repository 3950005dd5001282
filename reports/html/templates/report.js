// Filters and the transcript viewer of a run's page.
(() => {
  const { data, all, one, node, counted, definition, cellsOf, moveTo, roam } = page;

  // The searchable text of each transcript, built on first use.
  const searched = new Map();
  function transcriptText(record) {
    if (!searched.has(record)) {
      const found = data.transcripts[record];
      const texts = found ? found.exchanges.flatMap((each) => each.items.map((item) => item.text)) : [];
      const score = data.scores[record];
      if (score) texts.push(score.detail, ...score.findings.map((finding) => finding.id));
      searched.set(record, texts.join("\n").toLowerCase());
    }
    return searched.get(record);
  }

  function filterChecks(form) {
    const text = form.elements.text.value.trim().toLowerCase();
    const rules = all(".rule");
    for (const rule of rules) rule.hidden = !rule.dataset.text.includes(text);
    for (const family of all("details.family")) {
      const found = all(".rule", family).some((rule) => !rule.hidden);
      family.hidden = !found;
      family.open = Boolean(text) && found;
    }
    counted(form, rules.filter((rule) => !rule.hidden).length, rules.length, "checks");
  }

  function filterMap(form) {
    const text = form.elements.text.value.trim().toLowerCase();
    const outcome = form.elements.outcome.value;
    const rows = all(".map tbody tr", form.parentElement);
    let shown = 0;
    for (const row of rows) {
      const cells = all("button.cell", row);
      const named = row.dataset.text.includes(text);
      const matching = cells.filter((cell) =>
        (!outcome || cell.dataset.outcome === outcome) && (named || transcriptText(cell.dataset.r).includes(text)));
      const failing = !form.elements.failed.checked || row.dataset.failed !== "0";
      row.hidden = !failing || (matching.length === 0 && Boolean(text || outcome));
      shown += row.hidden ? 0 : 1;
      const kept = new Set(matching);
      for (const cell of cells) cell.classList.toggle("dim", Boolean(text || outcome) && !kept.has(cell));
    }
    counted(form, shown, rows.length, "rows");
  }

  const filters = { checks: filterChecks, map: filterMap };
  for (const form of all("form[data-filters]")) {
    form.hidden = false;
    const filter = () => filters[form.dataset.filters](form);
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  const cells = (root = document) => cellsOf(root, "button.cell");
  for (const block of all(".map-block")) roam(block, "button.cell");

  // The viewer.
  const viewer = document.getElementById("viewer");
  const title = document.getElementById("viewer-title");
  const body = document.getElementById("viewer-body");
  const names = {
    system: "System", developer: "Developer", user: "User", cot: "Chain of thought",
    call: "Tool call", result: "Tool result", final: "Final answer", problem: "Problem",
  };
  let current = null;
  let opened = null;

  function showScore(score) {
    const parts = [score.detail ? node("p", "message", score.detail) : null];
    const pairs = [["expected", score.expected], ["got", score.got], ...score.notes];
    if (pairs.some(([, value]) => value)) parts.push(definition(pairs));
    for (const finding of score.findings) {
      const where = [`request ${finding.exchange + 1}`];
      if (finding.event !== null) where.push(`event ${finding.event}`);
      if (finding.path) where.push(finding.path);
      parts.push(
        node("p", "message", node("code", "", finding.id), ` ${finding.severity}: ${finding.message}`),
        definition([["expected", finding.expected], ["got", finding.got], ["where", where.join(", ")]]),
      );
    }
    return node("div", "", node("p", `outcome ${score.good ? "good" : "bad"}`, score.outcome), ...parts);
  }

  function showItem(item) {
    const who = node("div", "who", names[item.who]);
    if (item.about) who.append(" ", node("code", "", item.about));
    return node("div", `item ${item.who}`, who, node("div", "text", item.text));
  }

  function showEvents(events) {
    return node("ol", "events", ...events.map(([number, at, raw, marked]) => number === null
      ? node("li", "gap", raw)
      : node("li", marked ? "marked" : "", node("span", "number", String(number)),
        node("span", "", `${at.toFixed(3)} s`), node("span", "", raw))));
  }

  function part(name, message) {
    if (!message) return [];
    const made = [node("h4", "", `${name}: ${message.line}`)];
    if (message.headers) made.push(node("pre", "", message.headers));
    if (message.body) made.push(node("pre", "", message.body));
    if (message.events) made.push(showEvents(message.events));
    return made;
  }

  function showExchange(exchange, index, exchanges) {
    const raw = node("details", "raw", node("summary", "", "Raw exchange"));
    raw.addEventListener("toggle", () => {
      if (raw.childElementCount === 1) {
        raw.append(...exchange.retries.map((text) => node("p", "", `Retried: ${text}`)),
          ...part("Request", exchange.request), ...part("Response", exchange.response));
      }
    });
    const facts = exchange.facts.join(" · ");
    const tools = exchange.tools.join(", ");
    const before = index > 0 ? exchanges[index - 1].tools.join(", ") : "";
    const offered = tools === before ? null : node("small", "", `Tools: ${tools || "none"}`);
    return [
      node("h3", "request", `Request ${index + 1}`, node("small", "", facts), offered),
      ...exchange.items.map(showItem), raw,
    ];
  }

  function show(record) {
    current = record;
    const score = data.scores[record];
    const found = data.transcripts[record];
    title.textContent = score ? `${score.sample} · ${score.condition} · try ${score.attempt}` : record;
    const parts = score ? [showScore(score)] : [];
    if (found) {
      parts.push(...found.exchanges.flatMap(showExchange));
      if (!found.exchanges.length) parts.push(node("p", "note", "No request was made."));
    } else {
      const cell = all("button.cell").find((each) => each.dataset.r === record);
      if (!score && cell) parts.push(node("p", "outcome", cell.getAttribute("aria-label")));
      parts.push(node("p", "note", `This page has no transcript of this attempt: ${data.without}. Its record is ${record} in rollouts.jsonl.`));
    }
    body.replaceChildren(...parts);
    if (!viewer.open) {
      opened = record;
      viewer.showModal();
    }
    viewer.scrollTop = 0;
    title.focus();
    history.replaceState(null, "", `#try=${encodeURIComponent(record)}`);
  }

  function step(by) {
    const list = cells().filter((cell) => !cell.classList.contains("dim"));
    const at = list.findIndex((cell) => cell.dataset.r === current);
    const next = list[at + by];
    if (at >= 0 && next) show(next.dataset.r);
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-r]");
    if (!opener) return;
    event.preventDefault();
    show(opener.dataset.r);
  });
  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === viewer || (button && "close" in button.dataset)) viewer.close();
    else if (button && button.dataset.step) step(Number(button.dataset.step));
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });
  viewer.addEventListener("close", () => {
    history.replaceState(null, "", location.pathname + location.search);
    const cell = current === opened ? null : cells().find((each) => each.dataset.r === current);
    if (cell) moveTo(cell);
  });

  function followHash() {
    if (location.hash.startsWith("#try=")) show(decodeURIComponent(location.hash.slice(5)));
  }
  window.addEventListener("hashchange", followHash);
  followHash();
})();
