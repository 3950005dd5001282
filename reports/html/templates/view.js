// A run that is followed: the table of its attempts, and the attempt that is open. The address has
// the filters and the attempt, so that it can be kept, and so that Back works.
(() => {
  const { data, all, one, node } = page;
  const form = document.getElementById("filters");
  const grid = one(".grid");
  const rows = one(".rows");
  const viewer = document.getElementById("viewer");
  const title = document.getElementById("viewer-title");
  const body = document.getElementById("viewer-body");
  const beside = matchMedia("(min-width: 64rem)");
  const PAGE = 100; // rows of an answer of the server
  const MARGIN = 8; // rows that are drawn above and below the visible ones

  let { progress } = data;
  let total = 0;
  let tall = 44; // the height of a row
  const pages = new Map(); // the rows that the server has sent, by the number of their page
  const asked = new Set(); // the pages that need not be asked for
  let generation = 0; // answers to earlier questions are dropped
  let other = false; // whether the pages are those of an earlier choice
  let drawn = new Map(); // the elements of rows, by their number
  let current = 0; // the number of the row that the keys move
  let record = null; // the attempt that is open
  let commands = [];

  // --- The address

  function choice() {
    const chosen = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value.trim()) chosen.set(name, value.trim());
    return chosen;
  }

  function address(opened) {
    const query = choice();
    if (opened) query.set("try", opened);
    return `${location.pathname}${query.size ? `?${query}` : ""}`;
  }

  function readAddress() {
    const query = new URLSearchParams(location.search);
    for (const field of form.elements) {
      if (!field.name) continue;
      const value = query.get(field.name) || "";
      if (field.tagName === "SELECT" && !all("option", field).some((each) => each.value === value)) {
        field.append(new Option(value, value));
      }
      field.value = value;
    }
    return query.get("try");
  }

  // --- Rows: only those in sight are elements, and their contents come in pages

  async function ask(path, query) {
    const answer = await fetch(`${path}?${query}`);
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.problem || answer.statusText);
    return value;
  }

  async function load(number) {
    if (asked.has(number)) return;
    asked.add(number);
    const mine = generation;
    const query = choice();
    query.set("first", number * PAGE);
    try {
      const answer = await ask("rows", query);
      if (mine !== generation) return;
      take(number, answer);
    } catch (error) {
      if (mine === generation) tell(error.message);
      asked.delete(number);
    }
  }

  function take(number, answer) {
    if (other) pages.clear();
    other = false;
    total = answer.total;
    pages.set(number, answer.rows);
    draw();
  }

  function visible() {
    const first = Math.max(0, Math.floor(rows.scrollTop / tall) - MARGIN);
    const last = Math.min(total, Math.ceil((rows.scrollTop + rows.clientHeight) / tall) + MARGIN);
    return [first, last];
  }

  function loadVisible() {
    const [first, last] = visible();
    const from = Math.max(0, Math.floor((first - PAGE / 2) / PAGE));
    const to = Math.max(1, Math.min(total, last + PAGE / 2));
    for (let number = from; number * PAGE < to; number += 1) load(number);
  }

  const rowAt = (number) => (pages.get(Math.floor(number / PAGE)) || [])[number % PAGE];
  const cell = (className, ...children) => {
    const made = node("span", className, ...children);
    made.setAttribute("role", "gridcell");
    return made;
  };

  function cells(row) {
    const rules = [...new Map(row.findings).keys()];
    const severe = row.findings.some(([, severity]) => severity === "error");
    const where = [row.api, row.mode].filter(Boolean).join(" · ");
    return [
      cell("sample", node("bdi", "", row.sample), node("small", "", `${row.task} · try ${row.attempt}`, node("span", "", ` · ${where}`))),
      cell("condition", row.api, node("small", "", row.mode || "")),
      cell("asked", node("bdi", "", row.request)),
      cell("reply", node("bdi", "", row.reply)),
      cell("end", row.outcome ? node("span", `tone ${row.tone}`, row.outcome) : ""),
      cell(severe ? "rules bad" : "rules", node("bdi", "", rules.join(", "))),
      cell("tokens", row.tokens === null ? "" : row.tokens.toLocaleString("en")),
      cell("time", row.seconds === null ? "" : `${row.seconds.toFixed(row.seconds < 10 ? 2 : 1)} s`),
    ];
  }

  function element(number) {
    const made = node("div", "row");
    made.setAttribute("role", "row");
    made.id = `row-${number}`;
    made.style.transform = `translateY(${number * tall}px)`;
    made.dataset.number = number;
    made.ariaRowIndex = number + 2;
    rows.append(made);
    return made;
  }

  function draw() {
    const [first, last] = visible();
    for (const [number, made] of drawn) {
      if (number < first || number >= last) {
        made.remove();
        drawn.delete(number);
      }
    }
    for (let number = first; number < last; number += 1) {
      if (!drawn.has(number)) drawn.set(number, element(number));
      const made = drawn.get(number);
      const row = rowAt(number);
      if (row && made.row !== row) {
        made.row = row;
        made.replaceChildren(...cells(row));
      }
      made.classList.toggle("current", number === current);
      made.classList.toggle("open", Boolean(row) && row.record === record);
      made.ariaSelected = String(number === current);
    }
    one(".space", rows).style.height = `${total * tall}px`;
    grid.setAttribute("aria-rowcount", total + 1);
    if (drawn.has(current)) grid.setAttribute("aria-activedescendant", `row-${current}`);
    const made = Math.max(total, progress.attempts); // the rows may be newer than the progress
    one("output", form).textContent = total === made ? "" : `${total.toLocaleString("en")} of ${made.toLocaleString("en")} attempts`;
    one("button[type=reset]", form).hidden = !choice().size;
    loadVisible();
  }

  // Ask again for the rows in sight; the old ones stay until the new ones come.
  function reload() {
    generation += 1;
    asked.clear();
    loadVisible();
  }

  function filter() {
    current = 0;
    rows.scrollTop = 0;
    history.replaceState(null, "", address(record));
    other = true;
    reload();
  }

  function move(to) {
    current = Math.max(0, Math.min(total - 1, to));
    const above = current * tall;
    if (above < rows.scrollTop) rows.scrollTop = above;
    if (above + tall > rows.scrollTop + rows.clientHeight) rows.scrollTop = above + tall - rows.clientHeight;
    draw();
  }

  async function arrive(number) {
    move(number);
    await load(Math.floor(current / PAGE));
    for (let waited = 0; !rowAt(current) && waited < 50; waited += 1) await new Promise((done) => setTimeout(done, 20));
    return rowAt(current);
  }

  async function step(by) {
    const row = await arrive(current + by);
    if (row && viewer.open) open(row.record, "replaceState");
  }

  async function nextFinding() {
    for (let number = current + 1; number < total; number += 1) {
      if (!rowAt(number)) await arrive(number);
      const row = rowAt(number);
      if (row && row.findings.length) {
        move(number);
        if (viewer.open) open(row.record, "replaceState");
        return;
      }
    }
  }

  // --- One attempt

  function copyButton(command) {
    const button = node("button", "", "Copy as curl");
    button.type = "button";
    button.addEventListener("click", () => copy(command, button));
    return button;
  }

  function showButton(finding) {
    const button = node("button", "", "Show");
    button.type = "button";
    button.addEventListener("click", () => {
      const beside = all(".remark", body).find((each) => each.textContent.startsWith(`${finding.id}: `));
      (beside || all("h3.request", body)[finding.exchange]).scrollIntoView({ block: beside ? "center" : "start" });
    });
    return button;
  }

  async function copy(command, button) {
    await navigator.clipboard.writeText(command);
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  function show(found) {
    commands = found.commands;
    const mode = found.mode ? ` · ${found.mode}` : "";
    title.textContent = `${found.sample} · ${found.api}${mode} · try ${found.attempt}`;
    body.replaceChildren(...transcript(found.score, found.transcript));
    all("h3.request", body).forEach((head, at) => head.append(copyButton(commands[at])));
    const findings = found.score ? found.score.findings : [];
    all("details.raw", body).forEach((raw, at) => { raw.open = findings.some((each) => each.exchange === at); });
    all("p.message > code", body).forEach((code, at) => code.after(" ", showButton(findings[at])));
  }

  async function open(wanted, change) {
    record = wanted;
    if (change) history[change](null, "", address(record));
    draw();
    const query = choice();
    query.set("record", wanted);
    let found;
    try {
      found = await ask("attempt", query);
    } catch (error) {
      title.textContent = wanted;
      body.replaceChildren(node("p", "note", error.message));
    }
    if (record !== wanted) return;
    if (found) {
      show(found);
      if (found.at !== null && found.at !== current) move(found.at);
    }
    if (!viewer.open) {
      if (beside.matches) viewer.show();
      else viewer.showModal();
      document.body.classList.add("opened");
    }
    viewer.scrollTop = 0;
    if (!beside.matches) title.focus();
    draw();
  }

  function close(change) {
    if (record === null) return;
    record = null;
    viewer.close();
    document.body.classList.remove("opened");
    if (change) history.pushState(null, "", address(null));
    grid.focus();
    draw();
  }

  // --- Progress

  function tell(text) {
    document.getElementById("state").textContent = text;
  }

  function options(select, choices) {
    const chosen = select.value;
    const made = choices.map(([value, label, count]) => new Option(`${label} (${count.toLocaleString("en")})`, value));
    if (chosen && !choices.some(([value]) => value === chosen)) made.push(new Option(chosen, chosen));
    select.replaceChildren(select.options[0], ...made);
    select.value = chosen;
  }

  function showProgress() {
    const { attempts, planned, ended, verdict, problem, read } = progress;
    const stamp = document.getElementById("verdict");
    stamp.hidden = !verdict;
    stamp.textContent = verdict;
    stamp.className = `decision ${progress.decision}`;
    const made = attempts === planned ? `${attempts.toLocaleString("en")} attempts` : `${attempts.toLocaleString("en")} of ${planned.toLocaleString("en")} attempts`;
    const reading = read < attempts ? ` · texts of ${read.toLocaleString("en")} read` : "";
    tell(`${ended ? "" : "running · "}${made}${reading}${problem ? ` · ${problem}` : ""}`);
    const bar = document.getElementById("done");
    bar.hidden = ended;
    bar.max = planned;
    bar.value = attempts;
    for (const [name, choices] of Object.entries(progress.choices)) options(form.elements[name], choices);
  }

  function follow() {
    const changes = new EventSource("changes");
    changes.addEventListener("message", (event) => {
      const next = JSON.parse(event.data);
      const old = progress.version;
      progress = next;
      showProgress();
      if (next.version !== old) reload();
    });
    changes.addEventListener("error", () => tell("The view has ended; start it again with: gpt-oss-verify view"));
  }

  // --- What the reader does

  rows.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(() => {
    tall = parseFloat(getComputedStyle(grid).getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
    grid.style.setProperty("--bar", `${rows.offsetWidth - rows.clientWidth}px`);
    for (const made of drawn.values()) made.remove();
    drawn = new Map();
    draw();
  }).observe(rows);
  rows.addEventListener("click", (event) => {
    const made = event.target.closest(".row");
    if (!made || !made.row) return;
    current = Number(made.dataset.number);
    open(made.row.record, record === null ? "pushState" : "replaceState");
  });

  let typing;
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filter, 150);
  });
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.sample.addEventListener("focus", async () => {
    const names = await ask("samples", "");
    document.getElementById("samples").replaceChildren(...names.map((name) => new Option(name, name)));
  });

  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === viewer || (button && "close" in button.dataset)) close(true);
    else if (button && button.dataset.step) step(Number(button.dataset.step));
  });
  viewer.addEventListener("cancel", (event) => {
    event.preventDefault();
    close(true);
  });

  const keys = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    Home: () => arrive(0), End: () => arrive(total - 1),
    PageDown: () => arrive(current + 15), PageUp: () => arrive(current - 15),
    Enter: () => { if (rowAt(current)) open(rowAt(current).record, "pushState"); },
    Escape: () => close(true),
    "/": () => form.elements.text.select(),
    n: nextFinding,
    c: () => { if (commands[0]) copy(commands[0], one("h3.request button", body)); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select")) {
      if (event.key === "Escape") grid.focus();
      return;
    }
    const reading = event.target.closest("#viewer");
    if (reading && (event.key.startsWith("Arrow") || event.key.startsWith("Page") || ["Enter", "Home", "End"].includes(event.key))) return;
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  window.addEventListener("popstate", () => {
    const wanted = readAddress();
    other = true;
    reload();
    if (wanted) open(wanted);
    else close();
  });
  const wanted = readAddress();
  showProgress();
  if (choice().size) loadVisible();
  else take(0, data.first);
  follow();
  if (wanted) open(wanted);
  else grid.focus();
})();
