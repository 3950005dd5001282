// Shared by all pages: data, theme, copying, and arrow keys in tables. Recorded text is inserted as
// text only, never as markup.
"use strict";
const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  function node(name, className, ...children) {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  // The system's theme applies until the reader chooses one.
  const theme = one(".theme");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const remembered = (() => {
    try { return localStorage.getItem("gpt-oss-verify-theme"); } catch { return null; }
  })();
  function isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : dark.matches;
  }
  function showTheme() { theme.textContent = isDark() ? "Light" : "Dark"; }
  if (remembered === "dark" || remembered === "light") document.documentElement.dataset.theme = remembered;
  theme.addEventListener("click", () => {
    const chosen = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = chosen;
    try { localStorage.setItem("gpt-oss-verify-theme", chosen); } catch { /* private window */ }
    showTheme();
  });
  dark.addEventListener("change", showTheme);
  showTheme();
  theme.hidden = false;

  // The copy buttons of commands.
  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = one("code", button.parentElement);
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        window.getSelection().selectAllChildren(code);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  function counted(form, shown, total, what) {
    one("output", form).textContent = shown === total ? "" : `${shown} of ${total} ${what}`;
  }

  function definition(pairs) {
    return node("dl", "evidence", ...pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => node("div", "", node("dt", "", name), node("dd", "", String(value)))));
  }

  // A table of cells is one tab stop; arrow keys move inside.
  const cellsOf = (root, cell) => all(`tbody tr:not([hidden]) ${cell}`, root);
  function moveTo(goal) {
    for (const other of all("[data-roam][tabindex='0']", goal.closest("table"))) other.tabIndex = -1;
    goal.tabIndex = 0;
    goal.focus();
  }
  function roam(block, selector) {
    for (const cell of all(selector, block)) {
      cell.tabIndex = -1;
      cell.dataset.roam = "";
    }
    const first = cellsOf(block, selector)[0];
    if (first) first.tabIndex = 0;
    block.addEventListener("keydown", (event) => {
      const cell = event.target.closest(selector);
      if (!cell) return;
      const list = cellsOf(block, selector);
      const row = all(selector, cell.closest("tr"));
      const column = row.indexOf(cell);
      const inColumn = (next) => next && (all(selector, next)[column] || one(selector, next));
      const rows = all("tbody tr:not([hidden])", block).filter((each) => one(selector, each));
      const at = rows.indexOf(cell.closest("tr"));
      const goal = {
        ArrowRight: list[list.indexOf(cell) + 1],
        ArrowLeft: list[list.indexOf(cell) - 1],
        ArrowDown: inColumn(rows[at + 1]),
        ArrowUp: inColumn(rows[at - 1]),
        Home: row[0],
        End: row[row.length - 1],
      }[event.key];
      if (goal) {
        event.preventDefault();
        moveTo(goal);
      }
    });
  }

  return { data, all, one, node, counted, definition, cellsOf, moveTo, roam };
})();
