/* Runs before the first paint: the chosen theme, or the system's when none was chosen. A classic script on purpose. */
(() => {
  const root = document.documentElement;
  const read = () => {
    try {
      return localStorage.getItem("holdfast-theme");
    } catch {
      return null;
    }
  };
  const chosen = read();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const label = button.querySelector(".visually-hidden");
    const show = () => (label.textContent = dark() ? "Use the light theme" : "Use the dark theme");
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try {
        localStorage.setItem("holdfast-theme", root.dataset.theme);
      } catch {
        /* Without storage the choice lasts as long as the page. */
      }
      show();
    });
  });
})();
