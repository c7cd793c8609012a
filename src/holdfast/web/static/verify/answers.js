/* Why a check did not say yes (conventions.md §5): bad bytes, a check that failed, or evidence that is missing.

   Each carries its code of codes.md. Whatever else is thrown in this folder is a mistake of ours and is let through. */

export class Refusal extends Error {
  constructor(code, says = code) {
    super(says);
    this.code = code;
  }
}

/** The bytes are not of the form that the specification gives them. */
export class Malformed extends Refusal {}

/** Well-formed, and a check said no. */
export class Rejected extends Refusal {}

/** Nothing said no, and what a yes needs is not here. */
export class Undecided extends Refusal {}

/** What `read` returns, or the refusal that it ended in. */
export function attempt(read) {
  try {
    return { value: read(), refusal: null };
  } catch (error) {
    if (error instanceof Refusal) return { value: null, refusal: error };
    throw error;
  }
}
