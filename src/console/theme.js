// Before the first paint: the theme that was chosen here, if one was. Not a module, so that it
// runs before the page is shown. Without a choice the system's holds (color-scheme in base.css).
(() => {
  "use strict";
  let chosen = "";
  try {
    chosen = localStorage.getItem("tidetable-theme") ?? "";
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
