// The live tail of calls: asks twice a second while it is on and the page is seen; rows are built as text only.
"use strict";
(() => {
  const { root, get, element, local } = window.headgate;
  document.querySelectorAll("#tail").forEach((button) => {
    const most = Number(button.dataset.most || 200);
    const state = document.getElementById("tail-state");
    const body = document.querySelector("#calls tbody");
    // Calls from a little before come again; they are new only if they were never seen, here or before the first look.
    const seen = new Set([...body.rows].map((row) => row.dataset.id));
    const remembered = 5000;
    let top = null;
    let timer = 0;
    let asking = false;

    function cell(...children) { return element("td", {}, ...children); }
    function number(text) { return element("td", { class: "num" }, text); }
    function withSub(text, sub) {
      const parts = [element("span", { class: "name" }, text || "–")];
      if (sub) parts.push(element("span", { class: "sub" }, sub));
      return cell(...parts);
    }
    function row(call) {
      const time = element("time", { datetime: call.time }, call.time);
      local(time);
      const link = element("a", { href: `${root}/calls/${encodeURIComponent(call.id)}` }, time);
      const outcome = element("span", { class: `badge ${call.outcome}` }, call.error ? `${call.outcome} · ${call.error}` : call.outcome);
      const attempts = call.attempts > 1 ? ` · ${call.attempts} attempts` : "";
      const where = call.deployment && call.deployment !== call.model ? call.deployment + attempts : "";
      return element("tr", { class: "fresh", "data-id": call.id }, cell(link), cell(outcome), withSub(call.model, where),
        withSub(call.who, call.feature), number(call.tokens), number(call.first), number(call.duration), number(call.cost));
    }
    async function look() {
      if (asking || document.hidden) return;
      asking = true;
      try {
        const query = button.dataset.query ? `${button.dataset.query}&` : "";
        const got = await get(`/calls/tail?${query}${top === null ? "" : `from=${top}`}`);
        top = got.top;
        for (const id of got.known || []) seen.add(id);
        for (const call of got.rows.reverse()) {
          if (seen.has(call.id)) continue;
          seen.add(call.id);
          body.prepend(row(call));
          document.getElementById("empty")?.remove();
        }
        while (body.rows.length > most) body.lastElementChild.remove();
        for (const id of seen) { if (seen.size <= remembered) break; seen.delete(id); }
        state.textContent = "";
      } catch (error) {
        state.textContent = `The tail does not come through: ${error.message}`;
      }
      asking = false;
    }
    function set(on) {
      button.setAttribute("aria-pressed", String(on));
      clearInterval(timer);
      if (on) { look(); timer = setInterval(look, 700); }
      state.textContent = "";
    }
    button.hidden = false;
    button.addEventListener("click", () => set(button.getAttribute("aria-pressed") !== "true"));
    if (location.hash === "#live" || "on" in button.dataset) set(true);
  });
})();
