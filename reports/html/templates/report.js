// Filters and the transcript viewer of a run's page.
(() => {
  const { data, all, node, counted, cellsOf, moveTo, roam } = page;

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
  let current = null;
  let opened = null;

  function show(record) {
    current = record;
    const score = data.scores[record];
    const found = data.transcripts[record];
    title.textContent = score ? `${score.sample} · ${score.condition} · try ${score.attempt}` : record;
    const parts = transcript(score, found);
    if (!found) {
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
