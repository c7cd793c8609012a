/* The numbered transcript of an appraisal (lanes.md §2): three-valued checks, each with the section that asks for it. */

import { Refusal, Undecided } from "./answers.js";

export class Transcript {
  checks = [];

  add(spec, answer, says, lanes, code = null, about = null) {
    this.checks.push({ number: this.checks.length + 1, spec, answer, says, code, lanes, about });
    return answer === "yes";
  }

  yes = (spec, says, lanes, about = null) => this.add(spec, "yes", says, lanes, null, about);
  no = (spec, says, lanes, code, about = null) => this.add(spec, "no", says, lanes, code, about);
  cannotTell = (spec, says, lanes, code = null, about = null) => this.add(spec, "cannot_tell", says, lanes, code, about);

  /** Do a check that raises where it says no; what it returned, or null. */
  attempt(spec, says, lanes, check, about = null) {
    try {
      const value = check();
      this.yes(spec, says, lanes, about);
      return value ?? true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error instanceof Undecided) this.cannotTell(spec, error.message, lanes, error.code, about);
      else this.no(spec, error.message, lanes, error.code, about);
      return null;
    }
  }

  /** The first check about a lane that said no, or undefined. */
  refused(lane) {
    return this.checks.find((check) => check.answer === "no" && check.lanes.includes(lane));
  }
}
