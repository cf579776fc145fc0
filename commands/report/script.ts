/**
 * What a report does where scripts run: tips at marks, the theme's switch, layers and heads of masks.
 * Without it the page is whole, as its charts are drawn already.
 *
 * @module
 */

/** The text of the page's `script` element. */
export const SCRIPT = `
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("has-script");
  const store = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: (name) => { try { localStorage.setItem("theme", name); } catch { /* A file may have none. */ } } };
  const isDark = () => root.dataset.theme === "dark" ||
    (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = document.getElementById("theme");
  const show = () => { theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", isDark() ? "Switch to the light theme" : "Switch to the dark theme"); };
  const kept = store.get();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  show();
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    store.set(root.dataset.theme);
    show();
  });

  const tip = document.getElementById("tip");
  const place = (x, y) => {
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - width - 6)) + "px";
    tip.style.top = (y + height + 22 > innerHeight ? y - height - 12 : y + 16) + "px";
  };
  document.addEventListener("pointermove", (event) => {
    const mark = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    if (mark === null) { tip.hidden = true; return; }
    tip.textContent = mark.getAttribute("data-tip");
    place(event.clientX, event.clientY);
  });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  const ns = "http://www.w3.org/2000/svg";
  const path = (bits, tiles) => {
    const bytes = Uint8Array.from(atob(bits), (char) => char.charCodeAt(0));
    const on = (bit) => (bytes[bit >> 3] >> (bit & 7)) & 1;
    let text = "", count = 0;
    for (let row = 0; row < tiles; row++) {
      for (let column = 0; column < tiles; column++) {
        if (!on(row * tiles + column)) continue;
        let end = column;
        while (end < tiles && on(row * tiles + end)) end++;
        text += "M" + column + " " + row + "h" + (end - column) + "v1h" + (column - end) + "z";
        count += end - column;
        column = end;
      }
    }
    return { text, share: count / (tiles * (tiles + 1) / 2) };
  };
  for (const section of document.querySelectorAll(".mask-set")) {
    const data = JSON.parse(section.querySelector("script").textContent);
    const layers = section.querySelector("select");
    const buttons = [...section.querySelectorAll(".heads button")];
    const large = section.querySelector(".large .tiles");
    const caption = section.querySelector(".large-name");
    let head = 0;
    const draw = () => {
      const layer = Number(layers.value);
      buttons.forEach((button, index) => {
        const { text, share } = path(data.masks[layer][index], data.tiles);
        const percent = (100 * share).toFixed(0) + "\\u00a0%";
        button.querySelector(".tiles").setAttribute("d", text);
        button.querySelector("span").textContent = "head " + index + ": " + percent;
        button.setAttribute("aria-pressed", String(index === head));
        if (index !== head) return;
        large.setAttribute("d", text);
        caption.textContent = "Layer " + layer + ", head " + index + ": " + percent + " of the causal tiles";
      });
    };
    layers.addEventListener("change", draw);
    buttons.forEach((button, index) => button.addEventListener("click", () => { head = index; draw(); }));
    draw();
  }
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
  });
})();
`;
