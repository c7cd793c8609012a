/* Moving through a queue with the keyboard. */

const shown = document.getElementById("fresh");
document.getElementById("keys").hidden = false;

const links = () => [...shown.querySelectorAll(".case-link")];

function move(step) {
  const all = links();
  if (!all.length) return;
  const here = all.indexOf(document.activeElement?.closest(".case")?.querySelector(".case-link"));
  const next = all[Math.min(all.length - 1, Math.max(0, here + step))];
  next.focus();
  next.closest(".case").scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/") shown.querySelector(".filters a")?.focus();
  else return;
  event.preventDefault();
});
