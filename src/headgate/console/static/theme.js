// Sets light or dark before anything is drawn; without a choice the system's holds.
"use strict";
try {
  const chosen = localStorage.getItem("headgate-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* storage is closed: the system's choice holds */ }
