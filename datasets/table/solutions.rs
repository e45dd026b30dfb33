//! `solutions`: the complete paths that a search found.

use super::column::table;
use crate::types::Solution;

table! {
    Solution, "solutions", version 3, "a complete path of steps with a final answer",
    {
        solution_id: "16 hex digits: hash of problem, round, algorithm, policy, seed and ordinal",
        problem_id: "the problem it answers",
        round: "round of the run",
        algorithm: "search algorithm",
        policy: "kind of the policy: rules, model or endpoint",
        policy_fingerprint: "fingerprint of the policy's rules, weights or endpoint settings",
        seed: "seed or index of the sample within the search",
        steps: "the steps in order",
        final_answer: "the final answer: the text after the last answer marker; empty if there is none",
        end: "how its sample ended: complete, truncated, thinking (cut off within a thought), filtered, \
            empty or failed",
        tokens: "tokens generated for this path, those of its thought included",
        thought: "what the model thought before its first step, which is neither graded nor a step; empty if \
            nothing",
        thought_tokens: "tokens of the thought",
        search_tokens: "this path's share of all tokens spent on its problem",
        search_expansions: "this path's share of all node expansions spent on its problem",
    }
}
