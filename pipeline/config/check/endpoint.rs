//! What the settings of `[endpoint]` may be.

use stages::policy::endpoint::{EndpointConfig, OMITTABLE};

use super::{Checked, Share, names, numbers, refuse};

/// # Errors
/// The first setting that is not permitted.
pub(super) fn check(endpoint: &EndpointConfig) -> Checked {
    numbers("endpoint", &[("max_failed", endpoint.max_failed, Share)])?;
    names("endpoint.omit", &endpoint.omit, &OMITTABLE)?;
    endpoint.check().map_err(|error| refuse(error.to_string(), ""))
}
