// The matrix of a comparison: the filter, and the details of a cell.
(() => {
  const { data, all, one, node, counted, definition, roam } = page;
  const viewer = document.getElementById("viewer");
  const title = document.getElementById("viewer-title");
  const body = document.getElementById("viewer-body");

  function filterMatrix(form) {
    const text = form.elements.text.value.trim().toLowerCase();
    const notable = form.elements.notable.checked;
    const rows = all(".matrix tbody tr:not(.head)");
    let shown = 0;
    for (const row of rows) {
      row.hidden = (notable && row.dataset.notable !== "1") || !row.dataset.text.includes(text);
      shown += row.hidden ? 0 : 1;
    }
    for (const block of all(".matrix tbody")) block.hidden = !one("tr:not(.head):not([hidden])", block);
    one(".nothing-left").hidden = shown > 0;
    counted(form, shown, rows.length, "measures");
    const reachable = all(".matrix tbody:not([hidden]) tr:not([hidden]) button.entry");
    const stop = reachable.find((cell) => cell.tabIndex === 0) || reachable[0];
    for (const cell of all(".matrix button.entry")) cell.tabIndex = cell === stop ? 0 : -1;
  }

  roam(one(".matrix-frame"), "button.entry");
  for (const form of all("form[data-filters=matrix]")) {
    form.hidden = false;
    const filter = () => filterMatrix(form);
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  function link(href, text) {
    const made = node("a", "", text);
    made.href = href;
    return made;
  }

  function showExample(example) {
    const where = example.href ? link(example.href, example.where) : example.where;
    const list = definition([["expected", example.expected], ["got", example.got]]);
    list.append(node("div", "", node("dt", "", "where"), node("dd", "", where)));
    return node("div", "", node("p", "message", example.message), list);
  }

  function show(key) {
    const cell = data.cells[key];
    title.textContent = cell.title;
    body.replaceChildren(
      node("p", "", cell.about),
      definition(cell.facts),
      ...cell.examples.map(showExample),
      ...(cell.cases.length ? [node("h3", "", "Changed cases"),
        node("ul", "plain", ...cell.cases.map((text) => node("li", "", text)))] : []),
      ...(cell.href ? [node("p", "", link(cell.href, "Open the report of this run"))] : []),
    );
    viewer.showModal();
    viewer.scrollTop = 0;
    title.focus();
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-c]");
    if (opener) show(opener.dataset.c);
  });
  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === viewer || (button && "close" in button.dataset)) viewer.close();
  });
})();
