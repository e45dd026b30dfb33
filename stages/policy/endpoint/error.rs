//! What can go wrong between qstill and a server. Each message says what to do about it.

use std::io;
use std::path::PathBuf;

use datasets::types::End;

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

    /// Tokens were given to be read, and the answer says nothing of them.
    #[error(
        "{url} does not say how likely given tokens are ({what}): that takes a server with vLLM's \
         `prompt_logprobs`; or set train.teacher to \"model\" and model.teacher to the model's directory or \
         GGUF file"
    )]
    Silent { url: String, what: String },

    /// Given tokens were not read.
    #[error(
        "{url} did not read a row of {tokens} tokens ({why}): see the server's limits, and train.max_tokens"
    )]
    Unread { url: String, tokens: usize, why: String, temporary: bool },

    /// The server's model has another vocabulary than the student.
    #[error(
        "{url} cannot be the teacher: token {id} is {served:?} for its model, but {own:?} for the student: a \
         student learns a teacher's distribution over the same tokens; set endpoint.model to a model of the \
         student's family, or train.loss to \"ce\" to learn from its samples"
    )]
    OtherTokens { url: String, id: u32, served: String, own: String },

    /// `choices` is an empty list.
    #[error("{url} answered with no choice (tries: {tries}): look at the server's log, then try again")]
    Empty { url: String, tries: u32 },

    #[error("{url} does not answer this question (its filter says: {message})")]
    Filtered { url: String, message: String },

    #[error("{url} wants to be paid (status {status}; it says: {message}): fill the account, then resume")]
    Unpaid { url: String, status: u16, message: String },

    #[error(
        "{url} answered with a stream of server-sent events, which was not asked for: turn streaming off in \
         the server, or in the proxy before it"
    )]
    Stream { url: String },

    #[error(
        "{url} sent an answer in the encoding `{encoding}`, which was not asked for: turn compression off in \
         the server, or in the proxy before it"
    )]
    Encoding { url: String, encoding: String },

    /// The user's own limit.
    #[error("the endpoint's answers have cost {what}, which reaches {limit}: raise it and resume the run")]
    Spent { what: String, limit: String },

    /// Most samples have no answer.
    #[error(
        "{lost} of {total} samples have no answer ({counts}), which is more than endpoint.max_failed = \
         {limit} permits; the last one: {why}: change the model or the prompt, or raise endpoint.max_failed \
         to go on with the rest"
    )]
    TooManyLost { lost: u64, total: u64, counts: String, limit: f64, why: String, temporary: bool },

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
        match self {
            Self::TooManyLost { temporary, .. } | Self::Unread { temporary, .. } => *temporary,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::Broken { .. }
            | Self::Empty { .. }
            | Self::Spent { .. } => true,
            _ => false,
        }
    }

    /// Whether it speaks against the server, and another one may well answer.
    pub(super) fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Busy { .. } | Self::Broken { .. }
        )
    }

    /// What a request that ends with this error leaves of its sample, if it is that sample's alone; `None` if
    /// all others would end the same way.
    pub(super) fn end(&self) -> Option<End> {
        match self {
            Self::Filtered { .. } => Some(End::Filtered),
            Self::Empty { .. } => Some(End::Empty),
            Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::Broken { .. }
            | Self::TooLong { .. }
            | Self::TooLarge { .. }
            | Self::Rejected { .. } => Some(End::Failed),
            _ => None,
        }
    }

    /// The fault without advice, for the note that says that the request is repeated.
    pub(super) fn fault(&self) -> String {
        match self {
            Self::Unreachable { cause, .. } => format!("cannot connect ({cause})"),
            Self::TimedOut { seconds, .. } => format!("no answer within {seconds} s"),
            Self::Busy { status, .. } => format!("status {status}"),
            Self::Empty { .. } => "an answer without choices".to_owned(),
            Self::Broken { cause, .. } => format!("broken answer ({cause})"),
            Self::TooLong { message, .. } => format!("the request is too long ({message})"),
            Self::Filtered { message, .. } => format!("the server's filter ({message})"),
            Self::Rejected { status, message, .. } => format!("rejected with status {status} ({message})"),
            Self::TooLarge { limit, .. } => format!("an answer of more than {limit} MiB"),
            other => other.to_string(),
        }
    }
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Halt {
    /// The user asked to stop, or another job failed.
    Stopped,
    /// The run ends.
    Failed(EndpointError),
    /// Its sample ends.
    Lost(Lost),
    /// The server takes no `n`.
    OneByOne,
}

/// A sample without an answer.
#[derive(Debug)]
pub(super) struct Lost {
    pub end: End,
    /// In a few words, safe for a terminal.
    pub why: String,
    /// Whether it may have one later.
    pub temporary: bool,
    /// Whether prompt and answer did not fit into the context.
    pub full: bool,
}

impl From<EndpointError> for Halt {
    fn from(error: EndpointError) -> Self {
        Halt::Failed(error)
    }
}
