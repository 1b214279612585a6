// What every page has: times in the reader's own zone, theme, menu on small screens, keys, copying.
"use strict";
(() => {
  const root = document.body.dataset.root;
  const pad = (n) => String(n).padStart(2, "0");

  function local(time) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) return;
    const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
    const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
    const today = new Date().toDateString() === at.toDateString();
    time.title = at.toISOString();
    time.textContent = "full" in time.dataset || !today ? `${"full" in time.dataset ? day : day.slice(5)} ${clock}` : clock;
  }
  document.querySelectorAll("time[datetime]").forEach(local);

  // On a narrow screen a wide table becomes cards; each value then needs the name of its column.
  document.querySelectorAll("main table.list:not(#calls, .gantt, .sums)").forEach((table) => {
    const names = [...(table.tHead?.rows[0]?.cells ?? [])].map((cell) => cell.textContent.trim());
    if (names.length < 3 || table.closest("details")) return;
    table.classList.add("stacks");
    [...table.tBodies, ...(table.tFoot ? [table.tFoot] : [])].forEach((part) => [...part.rows].forEach((row) => {
      [...row.cells].forEach((cell, at) => { if (names[at]) cell.dataset.label = names[at]; });
    }));
  });

  const theme = document.getElementById("theme");
  if (theme) {
    const dark = () => document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const say = () => { theme.textContent = dark() ? "Light" : "Dark"; };
    theme.hidden = false;
    say();
    theme.addEventListener("click", () => {
      const chosen = dark() ? "light" : "dark";
      document.documentElement.dataset.theme = chosen;
      try { localStorage.setItem("headgate-theme", chosen); } catch { /* holds for this page */ }
      say();
      document.dispatchEvent(new Event("themechange"));
    });
  }

  const burger = document.getElementById("burger");
  if (burger) {
    const side = burger.closest(".side");
    burger.hidden = false;
    side.classList.add("shut");
    burger.addEventListener("click", () => {
      const shut = side.classList.toggle("shut");
      burger.setAttribute("aria-expanded", String(!shut));
    });
  }

  document.querySelectorAll("[data-copy]").forEach((button) => {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  });

  document.querySelectorAll("form[data-confirm]").forEach((form) => {
    form.addEventListener("submit", (event) => { if (!confirm(form.dataset.confirm)) event.preventDefault(); });
  });
  document.querySelectorAll("select[data-submit]").forEach((select) => {
    select.addEventListener("change", () => select.form.requestSubmit());
  });

  const places = { o: "/", c: "/calls", t: "/traces", m: "/models", s: "/spend", a: "/alerts", p: "/playground", k: "/keys" };
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    if (going && Date.now() - going < 1200 && places[event.key]) {
      location.href = root + (places[event.key] === "/" ? "" : places[event.key]);
    } else if (event.key === "g") {
      going = Date.now();
      return;
    } else if (event.key === "?") {
      document.getElementById("help")?.showModal();
    } else if (event.key === "/") {
      const field = document.querySelector("main form input:not([type=hidden]), main form select, main textarea");
      if (field) { event.preventDefault(); field.focus(); }
    } else if (event.key === "t") {
      document.getElementById("tail")?.click();
    } else if (event.key === "j" || event.key === "k") {
      const links = [...document.querySelectorAll("main table.list tbody tr td:first-child a")];
      const at = links.indexOf(document.activeElement);
      const next = links[event.key === "j" ? Math.min(at + 1, links.length - 1) : Math.max(at - 1, 0)];
      next?.focus();
    }
    going = 0;
  });

  // For the other scripts of the console.
  window.headgate = {
    root,
    local,
    async get(path) {
      const answer = await fetch(root + path, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message || `status ${answer.status}`);
      return answer.json();
    },
    element(name, attributes = {}, ...children) {
      const made = document.createElement(name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      made.append(...children);
      return made;
    },
  };
})();
