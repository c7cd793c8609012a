"""Pure appraisal: (bundle, trust, policy, time, known) to a vector of lanes with a transcript."""
