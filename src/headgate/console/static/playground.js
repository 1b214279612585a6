// The playground: asks one or two models at once and shows the pieces of their answers as they come, as text.
"use strict";
(() => {
  const { root, element } = window.headgate;
  const form = document.getElementById("ask");
  const stop = document.getElementById("stop");
  const button = form.querySelector("button[type=submit]");
  const panes = [...document.querySelectorAll("#answers section")];
  let running = null;

  async function lines(answer, take) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      parts.filter(Boolean).forEach((part) => take(JSON.parse(part)));
    }
  }

  async function run(model, pane, signal) {
    const [thoughts, said] = pane.querySelectorAll(".said");
    const problem = pane.querySelector(".notice");
    const figures = pane.querySelector(".figures");
    pane.hidden = false;
    pane.querySelector("h2").textContent = model;
    [thoughts, said, figures].forEach((one) => one.replaceChildren());
    pane.querySelector(".thoughts").hidden = problem.hidden = true;
    const fields = new URLSearchParams(new FormData(form));
    fields.set("model", model);
    fields.set("proof", document.body.dataset.proof);
    const complain = (text) => { problem.textContent = text; problem.hidden = false; };
    try {
      const answer = await fetch(`${root}/playground/ask`, { method: "POST", body: fields, signal, headers: { accept: "application/json" } });
      if (!answer.ok) return complain((await answer.json()).error.message);
      await lines(answer, (line) => {
        if (line.text) said.append(line.text);
        if (line.thought) { thoughts.append(line.thought); pane.querySelector(".thoughts").hidden = false; }
        if (line.error) complain(`${line.error.code}: ${line.error.message}`);
        if (line.end) {
          const { id, deployment, first, took, tokens, cost, finish } = line.end;
          const words = [deployment, `first content ${first}`, `took ${took}`, tokens, cost, finish].filter(Boolean).join(" · ");
          figures.replaceChildren(`${words} · `, element("a", { href: `${root}/calls/${encodeURIComponent(id)}` }, "its story"));
        }
      });
    } catch (error) {
      complain(error.name === "AbortError" ? "Stopped." : `The answer was cut: ${error.message}`);
    }
    return undefined;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return;
    running = new AbortController();
    button.disabled = true;
    stop.hidden = false;
    const other = form.elements.other.value.trim();
    panes[1].hidden = !other;
    await Promise.all([run(form.elements.model.value.trim(), panes[0], running.signal), ...(other ? [run(other, panes[1], running.signal)] : [])]);
    running = null;
    button.disabled = false;
    stop.hidden = true;
  });
  stop.addEventListener("click", () => running?.abort());
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
  });
})();
