//! What can go wrong between qstill and a server. Each message says what to do about it.

use std::io;
use std::path::PathBuf;

/// A request that brought no completion, or an endpoint that cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A setting that cannot work, found before anything is sent.
    #[error("endpoint: {0}")]
    Config(String),

    #[error(
        "cannot connect to {url} ({cause}; tries: {tries}): is the server running? Start it, or set the \
         endpoint's `url` to where it listens"
    )]
    Unreachable { url: String, cause: String, tries: u32 },

    #[error(
        "{url} did not answer within {seconds} s (tries: {tries}): raise `timeout_s` or lower `concurrency`"
    )]
    TimedOut { url: String, seconds: f64, tries: u32 },

    /// 408, 425, 429 or 5xx until the tries were used up.
    #[error(
        "{url} answered with status {status} (tries: {tries}; it says: {message}): it is overloaded or \
         broken, try again later or lower `concurrency`"
    )]
    Busy { url: String, status: u16, message: String, tries: u32 },

    /// The connection broke off, or what came was incomplete JSON.
    #[error("{url} sent a broken answer ({cause}; tries: {tries}): look at the server's log, then try again")]
    Broken { url: String, cause: String, tries: u32 },

    #[error("{url} refused access (status {status}; it says: {message}): {advice}")]
    Denied { url: String, status: u16, message: String, advice: String },

    #[error(
        "{url} was not found (status 404; it says: {message}): the endpoint's `url` should be a base such as \
         http://127.0.0.1:8080/v1, and `model` a name that the server knows"
    )]
    NotFound { url: String, message: String },

    #[error(
        "{url} redirects to {location} (status {status}), which is not followed: set the endpoint's `url` to \
         the final address"
    )]
    Redirected { url: String, location: String, status: u16 },

    /// The prompt and `max_tokens` do not fit into the server's context.
    #[error(
        "{url} says that the request is too long ({message}): lower `max_tokens`, shorten the prompt, or \
         start the server with a larger context"
    )]
    TooLong { url: String, message: String },

    #[error("{url} rejected the request (status {status}): {message}")]
    Rejected { url: String, status: u16, message: String },

    #[error(
        "{url} answered with a web page instead of JSON: the endpoint's `url` should be the base of an \
         OpenAI-compatible server, such as http://127.0.0.1:8080/v1"
    )]
    WebPage { url: String },

    #[error(
        "{url} answered without `choices` ({excerpt}): this is not a chat completion; check the endpoint's \
         `url`"
    )]
    NoChoices { url: String, excerpt: String },

    #[error("{url} sent more than {limit} MiB for one request: refused")]
    TooLarge { url: String, limit: usize },

    /// The answer came, but could not be stored; it is not used then.
    #[error("cannot store an answer in {}: {source}", path.display())]
    Store {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl EndpointError {
    /// True where the same request may succeed later (exit code 75), false where something has to be
    /// changed first (65; for [`EndpointError::Store`] see the I/O error in its chain).
    ///
    /// Temporary errors are also the ones that a request was repeated for, `retries` times.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Busy { .. } | Self::Broken { .. }
        )
    }

    /// The fault without advice, for the note that says that the request is repeated.
    pub(super) fn fault(&self) -> String {
        match self {
            Self::Unreachable { cause, .. } => format!("cannot connect ({cause})"),
            Self::TimedOut { seconds, .. } => format!("no answer within {seconds} s"),
            Self::Busy { status, .. } => format!("status {status}"),
            Self::Broken { cause, .. } => format!("broken answer ({cause})"),
            other => other.to_string(),
        }
    }
}

/// Why a job ended without proposals.
#[derive(Debug)]
pub(super) enum Halt {
    /// The user asked to stop, or another job failed.
    Stopped,
    Failed(EndpointError),
}

impl From<EndpointError> for Halt {
    fn from(error: EndpointError) -> Self {
        Halt::Failed(error)
    }
}
