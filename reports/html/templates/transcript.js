// An attempt: its score, and every exchange with the findings beside its bytes.
const transcript = (() => {
  const { node, definition } = page;
  const names = {
    system: "System", developer: "Developer", user: "User", cot: "Chain of thought",
    call: "Tool call", result: "Tool result", final: "Final answer", problem: "Problem",
  };

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

  // A browser takes seconds to break the lines of a million characters.
  const SHOWN = 50_000;

  function long(tag, name, text) {
    const made = node(tag, name, text.slice(0, SHOWN));
    if (text.length > SHOWN) {
      const left = (text.length - SHOWN).toLocaleString("en");
      const more = node("button", "", `Show ${left} more characters`);
      more.addEventListener("click", () => made.replaceChildren(text));
      made.append(more);
    }
    return made;
  }

  function showItem(item) {
    const who = node("div", "who", names[item.who]);
    if (item.about) who.append(" ", node("code", "", item.about));
    return node("div", `item ${item.who}`, who, long("div", "text", item.text));
  }

  const remarks = (findings) => findings.map((each) => node("b", "remark", `${each.id}: ${each.message}`));

  function showEvents(events, findings) {
    return node("ol", "events", ...events.map(([number, at, raw, marked]) => number === null
      ? node("li", "gap", raw)
      : node("li", marked ? "marked" : "", node("span", "number", String(number)),
        node("span", "", `${at.toFixed(3)} s`), node("span", "", raw),
        ...remarks(findings.filter((each) => each.event === number)))));
  }

  function showBody(text, findings, lines = []) {
    if (!lines.some(Boolean)) return long("pre", "", text);
    return node("pre", "", ...text.split("\n").flatMap((line, number) => {
      const here = findings.filter((_, at) => lines[at] === number);
      return here.length ? [node("mark", "", line), ...remarks(here), "\n"] : [`${line}\n`];
    }));
  }

  function part(name, message, findings) {
    if (!message) return [];
    const made = [node("h4", "", `${name}: ${message.line}`)];
    if (message.headers) made.push(node("pre", "", message.headers));
    if (message.body) made.push(showBody(message.body, findings, message.lines));
    if (message.events) made.push(showEvents(message.events, findings));
    return made;
  }

  function showRaw(exchange, findings) {
    const raw = node("details", "raw", node("summary", "", "Raw exchange"));
    raw.addEventListener("toggle", () => {
      if (raw.childElementCount === 1) {
        raw.append(...exchange.retries.map((text) => node("p", "", `Retried: ${text}`)),
          ...part("Request", exchange.request, findings), ...part("Response", exchange.response, findings));
      }
    });
    return raw;
  }

  function showExchange(exchange, index, exchanges, findings) {
    const facts = exchange.facts.join(" · ");
    const tools = exchange.tools.join(", ");
    const before = index > 0 ? exchanges[index - 1].tools.join(", ") : "";
    const offered = tools === before ? null : node("small", "", `Tools: ${tools || "none"}`);
    const here = findings.map((each) => each.exchange === index ? each : {});
    return [
      node("h3", "request", `Request ${index + 1}`, node("small", "", facts), offered),
      ...exchange.items.map(showItem), showRaw(exchange, here),
    ];
  }

  // The nodes of an attempt; either part may be missing.
  return (score, found) => {
    const parts = score ? [showScore(score)] : [];
    if (found) {
      parts.push(...found.exchanges.flatMap((each, index, all) => showExchange(each, index, all, score ? score.findings : [])));
      if (!found.exchanges.length) parts.push(node("p", "note", "No request was made."));
    }
    return parts;
  };
})();
