/* Which lanes a statement is about (lanes.md §2). */

const OF_THE_TURN = { route: ["bytes", "route"], execution: ["bytes", "route"], admission: ["bytes", "inputs"], recall: ["bytes", "memory"] };
/* Of these, whatever else a check is about, it is about this lane alone. */
const OF_ONE_LANE = { payment: ["payment"], decision: ["judgement"], artifact: ["artifact"] };

/** Whether a `computed` run was looked at again: the statement is about `computation` alone. */
export const isFollowUp = ({ kind, event }) => kind === "execution" && (event === "proved" || event === "recomputed");

/** The lane that everything about a statement goes to, as a list of one; null of the turn's own. */
export const ownLane = (statement) => (isFollowUp(statement) ? ["computation"] : (OF_ONE_LANE[statement.kind] ?? null));

/** The lanes that a check of the statement itself is about; none of a kind that feeds no lane. */
export const lanesOf = (statement) => ownLane(statement) ?? OF_THE_TURN[statement.kind] ?? [];

/** The lanes that a check of where it stands in a log is about. */
export const settlingLanes = (statement) => ownLane(statement) ?? (statement.kind in OF_THE_TURN ? ["settlement"] : []);
