/* The page /verify: takes a bundle and a trust file, and checks them here. After it has loaded it asks nobody for anything. */

import { announce, digest, keepTimes, troubleBox } from "../parts.js";
import { Refusal } from "./answers.js";
import { appraiseSlowly } from "./appraise.js";
import { LARGEST, readBundleSlowly } from "./bundle.js";
import { time, timeText } from "./bytes.js";
import { panelTrust } from "./panel.js";
import { inSlices } from "./pauses.js";
import { USUAL } from "./policy.js";
import { report } from "./report.js";
import { readTrust } from "./trust.js";

const find = (id) => document.getElementById(id);
const form = find("ask");
const drop = find("drop");
const bundleInput = find("bundle");
const ready = find("ready");

let file = null;
let ofPanel = { trust: null, refusal: null };

function choose(chosen) {
  file = chosen ?? null;
  find("bundle-name").textContent = file ? file.name : "Drop a file here, or choose one";
  find("check").disabled = !file;
}

const chosenTrust = () => form.elements.trust.value;

/* The trust that the reader chose; null where there is none. */
async function trusted() {
  if (chosenTrust() === "panel") return ofPanel.trust;
  if (chosenTrust() === "none") return null;
  const own = find("trust-file").files[0];
  if (!own) throw new Refusal("page.trust", "Choose a trust file, or none");
  return readTrust(await bytesOf(own), { pin: find("pin").value || null });
}

async function bytesOf(blob) {
  if (blob.size > LARGEST) throw new Refusal("bundle.size", `The file has more than ${LARGEST} bytes`);
  return new Uint8Array(await blob.arrayBuffer());
}

const PINNED = { "first-use": "taken on first use", digest: "its first version is the one you named" };

function facts(bundle, trust, at) {
  const told = [["Run", bundle.run], ["Bundle", digest(bundle.digest)], ["Evidence", `${bundle.journal.length} items`], ["Judged for", timeText(at)]];
  if (!trust) return [...told, ["Trust", "none"]];
  const where = chosenTrust() === "panel" ? "this panel's" : "yours";
  const kind = trust.development ? ", development" : "";
  return [...told, ["Trust", digest(trust.digest)], ["Trust is", `${where}, version ${trust.number}${kind}; ${PINNED[trust.pin]}`]];
}

function refuse(error) {
  find("result").hidden = true;
  find("trouble").replaceChildren(troubleBox({ message: error.message, hint: `Nothing was judged. Code ${error.code}` }));
  find("trouble").hidden = false;
}

async function check() {
  find("trouble").hidden = true;
  const moved = (what) => () => (ready.textContent = what);
  const trust = await trusted();
  const bundle = await inSlices(readBundleSlowly(await bytesOf(file)), moved("Reading…"));
  const at = find("at").value ? time(find("at").value) : bundle.exportedAt;
  const result = await inSlices(appraiseSlowly(bundle, trust, USUAL, at), moved("Checking…"));
  find("result").hidden = false;
  await inSlices(report(result, facts(bundle, trust, at)), moved("Writing it down…"));
  ready.textContent = "";
  announce("Checked in this page");
  find("lanes-title").focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  find("check").disabled = true;
  try {
    await check();
  } catch (error) {
    ready.textContent = "";
    if (!(error instanceof Refusal)) throw error;
    refuse(error);
  } finally {
    find("check").disabled = !file;
  }
});

bundleInput.addEventListener("change", () => choose(bundleInput.files[0]));
form.addEventListener("change", () => (find("own").hidden = chosenTrust() !== "own"));
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.dataset.over = "";
  });
}
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => delete drop.dataset.over);
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  choose(event.dataTransfer.files[0]);
});

async function begin() {
  ofPanel = await panelTrust();
  const { trust, refusal } = ofPanel;
  const says = find("trust-panel-says");
  if (refusal) says.textContent = `Refused in this browser: ${refusal.message}.`;
  else if (!trust) says.textContent = "It has none that can be read.";
  else says.replaceChildren("Version ", String(trust.number), ", ", digest(trust.digest), `; ${PINNED[trust.pin]}${trust.development ? ", development" : ""}.`);
  if (trust) {
    find("trust-panel").disabled = false;
    find("trust-panel").checked = true;
  }
  form.hidden = false;
  ready.textContent = "Everything is loaded: from here on no network is needed.";
  document.documentElement.dataset.ready = "";
}

keepTimes();
begin();
