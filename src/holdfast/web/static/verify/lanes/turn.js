/* The lanes `bytes` and `route` (lanes.md §3(1), §3(2)): what the gateway signed of the turn. */

export const doesNotSay = {
  bytes: "This does not say that the bytes are true.",
  route: "This does not say that another route would agree; it is the gateway's account of its own routing.",
};

const lane = ([state, basis, says], statements) => ({ state, basis, says, evidence: statements.map(({ digest }) => digest) });

/* What speaks against the bytes. Who signed a statement that the closing one does not rest on says nothing of them. */
function altered({ transcript, closure }) {
  const rests = new Set([...closure].map(({ digest }) => digest));
  const elsewhere = ({ spec, about }) => spec === "statement.md §7(2) to §7(5)" && !rests.has(about);
  return transcript.checks.find((check) => check.answer === "no" && check.lanes.includes("bytes") && !elsewhere(check));
}

function bytes(appraisal) {
  const { trust, closing, closure, ranOut } = appraisal;
  const refused = altered(appraisal);
  if (refused) return ["refuted", null, refused.says];
  if (!trust && closure.size) return ["unknown", null, "Without trust nobody here can say whose signatures these are"];
  if (!closing) return ["pending", null, "No statement closes the run yet"];
  if (!appraisal.whole || !appraisal.route) return ["unknown", null, "A statement that the run rests on is not shown"];
  if ([...closure].some((statement) => ranOut.has(statement))) return ["expired", null, "A key has run out, and no quorum dated what it signed"];
  const { documents, parts } = appraisal.disclosed;
  const shown = documents.length + parts.length ? `${documents.length} documents and ${parts.length} single parts that are shown are those` : "nothing of it is shown here";
  return ["proven", "signature", `Route and closing statement bind request and answer; ${shown}`];
}

export const judgeBytes = (appraisal) => lane(bytes(appraisal), [...appraisal.closure]);

/* What speaks against the route: the statement itself, or that the statements of the turn contradict each other. */
function contradicted({ transcript, route }) {
  const speaks = ({ about, code, lanes }) => (about === route.digest && lanes.includes("route")) || (code?.startsWith("trace.") && lanes.includes("bytes"));
  return transcript.checks.find((check) => check.answer === "no" && speaks(check));
}

function told({ upstream, rewrites, fallbackFrom, cached, endpoint, policy }) {
  const how = [cached ? "from a cache" : "", fallbackFrom.length ? `after ${fallbackFrom.join(", ")} failed` : "", rewrites.length ? `rewritten (${rewrites.join(", ")})` : "not rewritten"].filter(Boolean);
  const under = policy ? "; a route policy was in force, which is not compared here" : "";
  return `The gateway says: ${endpoint} by ${upstream}, ${how.join(", ")}${under}`;
}

function routed(appraisal) {
  const { trust, route, ranOut } = appraisal;
  if (!route) return ["pending", null, "No route is told yet"];
  if (!trust) return ["unknown", null, "Without trust nobody here can say who tells this route"];
  const refused = contradicted(appraisal);
  if (refused) return ["refuted", null, refused.says];
  if (ranOut.has(route)) return ["expired", null, "The key has run out, and no quorum dated what it signed"];
  return ["proven", "signature", told(route)];
}

export const judgeRoute = (appraisal) => lane(routed(appraisal), appraisal.route ? [appraisal.route] : []);
