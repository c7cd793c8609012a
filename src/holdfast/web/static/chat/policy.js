/* The route policy of a conversation (spec/routes.md): which models, no fallback, an enclave alone, a maximum price. It
   goes along with every question as the conversation's policy, is kept with the conversation, and only ever takes away:
   what the gateway cannot keep, it refuses. */

const at = (id) => document.getElementById(`policy-${id}`);
const PRICE = /^(?:0|[1-9]\d{0,8})(?:\.\d{0,8}[1-9])?$/;
/* Models that the policy on show allows and that are not offered any more: no change of it may forget them. */
let gone = [];
const boxes = () => [...document.querySelectorAll("#policy-models input")];

/** What the controls say, as a policy; null where they restrict nothing. */
export function chosen() {
  const policy = {};
  const models = boxes().filter((box) => box.checked);
  const allowed = [...models.map((box) => box.value), ...gone];
  if (allowed.length && models.length < boxes().length) policy.models = { allow: allowed };
  if (at("fallback").checked) policy.fallback = "none";
  if (at("enclave").checked) policy.plaintext = "enclave";
  const price = at("price").value.trim();
  if (price) policy.max_usd = price;
  return Object.keys(policy).length ? policy : null;
}

function says(policy) {
  if (!policy) return "wherever the gateway sends it";
  const parts = [];
  if (policy.models) parts.push(policy.models.allow.length === 1 ? policy.models.allow[0] : `${policy.models.allow.length} models`);
  if (policy.fallback === "none") parts.push("no fallback");
  if (policy.plaintext === "enclave") parts.push("enclave alone");
  if (policy.max_usd) parts.push(`at most ${policy.max_usd} USD`);
  return parts.join(", ");
}

export class PolicyControl {
  /* Whose policy is on show: who has chosen before the page was through keeps the choice. */
  #of;

  /** `changed(policy)` hears of every change that makes a policy. */
  constructor(changed) {
    at("box").addEventListener("change", () => {
      const wrong = at("price").value.trim() !== "" && !PRICE.test(at("price").value.trim());
      at("price").setAttribute("aria-invalid", String(wrong));
      at("trouble").hidden = !wrong;
      if (wrong) return;
      at("says").textContent = says(chosen());
      changed(chosen());
    });
  }

  /** The policy in the controls, while they hold one; a price that is none holds a question back. */
  get wrong() {
    return at("price").getAttribute("aria-invalid") === "true";
  }

  /** Show the policy of a conversation, or that of one that has not begun. */
  show(conversation) {
    if (conversation?.id === this.#of) return;
    this.#of = conversation?.id;
    const policy = conversation?.route ?? null;
    const allowed = policy?.models?.allow;
    gone = (allowed ?? []).filter((name) => !boxes().some((box) => box.value === name));
    for (const box of boxes()) box.checked = allowed ? allowed.includes(box.value) : false;
    at("fallback").checked = policy?.fallback === "none";
    at("enclave").checked = policy?.plaintext === "enclave";
    at("price").value = policy?.max_usd ?? "";
    at("price").setAttribute("aria-invalid", "false");
    at("trouble").hidden = true;
    at("says").textContent = says(policy);
  }
}
