/* How a turn got to who serves it, by the gateway's account that comes with the first words of the answer. Told before
   any lane is: whoever reads the answer has read this first. */

/** What an answer's frame says of its route, or nothing. */
export const routeOf = (frame) => (typeof frame.holdfast?.route?.upstream === "string" ? frame.holdfast.route : null);

const failed = (route) => (route.attempts ?? []).filter((attempt) => attempt.end !== null && attempt.end !== "served");

/** For the strip: who serves, and instead of whom. */
export function went(route) {
  if (!route) return "";
  if (route.cached === true) return `${route.upstream}, from the gateway's cache`;
  const instead = [...new Set(failed(route).map((attempt) => attempt.upstream))].filter((code) => code !== route.upstream);
  return instead.length ? `${route.upstream}, not ${instead.join(", ")}` : "";
}

/** One sentence for every attempt that did not serve, with whether it may have read the question. */
export function detours(route) {
  if (!route) return [];
  if (route.cached === true) return [{ lane: "route", says: `Nobody was asked: it is the answer that run ${route.cached_run} was given.` }];
  return failed(route).map(({ upstream, why, end, sent }) => {
    const did = why === "retry" ? "was asked again and failed" : "failed";
    const read = sent ? "what you asked may have reached it" : "nothing was sent to it";
    return { lane: "route", says: `${upstream} ${did} (${end}); ${read}.` };
  });
}

/** A policy as a header: JSON in ASCII alone. */
export const asHeader = (policy) =>
  JSON.stringify(policy).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
