//! What the settings of `[endpoint]`, and of a judge behind it, may be.

use stages::judge::VerifyConfig;
use stages::policy::endpoint::{EndpointConfig, OMITTABLE};

use super::{AtLeast, Between, Checked, NotNegative, Share, names, numbers, refuse};

/// # Errors
/// The first setting that is not permitted.
pub(super) fn check(endpoint: &EndpointConfig) -> Checked {
    let e = endpoint;
    numbers(
        "endpoint",
        &[
            ("max_failed", e.max_failed, Share),
            ("price_prompt", e.price_prompt, NotNegative),
            ("price_completion", e.price_completion, NotNegative),
            ("max_cost", e.max_cost, NotNegative),
        ],
    )?;
    if e.max_cost > 0.0 && !e.has_prices() {
        let hint = "set endpoint.price_prompt and endpoint.price_completion, or endpoint.max_tokens_total";
        return Err(refuse("endpoint.max_cost needs prices", hint));
    }
    names("endpoint.omit", &endpoint.omit, &OMITTABLE)?;
    endpoint.check().map_err(|error| refuse(error.to_string(), ""))
}

/// `[verify]`: limits of a command, and a judge that votes and may say something.
pub(super) fn judge(verify: &VerifyConfig) -> Checked {
    numbers(
        "verify",
        &[
            ("workers", verify.workers as f64, Between(0.0, 1024.0)),
            ("timeout_s", verify.timeout_s, Between(0.01, 86400.0)),
            ("memory_mb", verify.memory_mb as f64, Between(0.0, 1e9)),
            ("judge_votes", verify.judge_votes as f64, AtLeast(1.0)),
            ("judge_tokens", verify.judge_tokens as f64, AtLeast(1.0)),
        ],
    )?;
    if verify.compare.is_exact() || verify.command.is_empty() {
        return Ok(());
    }
    let name = verify.compare.name();
    let what = format!("verify.compare is \"{name}\", but verify.command gives the verdicts");
    Err(refuse(what, "leave one of them out"))
}
