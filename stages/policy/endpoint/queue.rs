//! Jobs in the order in which they are asked for, some of them ahead of their time: the server has work while
//! a shard waits for its last answers, and while its rows are written.

use std::collections::HashMap;
use std::sync::Arc;

use datasets::key;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::client::Client;
use super::draw::Job;
use super::errand::Errand;
use super::error::{EndpointError, Halt};
use super::talk::{Note, Talk};
use crate::policy::{Horizon, Proposal};

/// Most jobs at a time, however many requests there may be.
const MOST: usize = 1 << 20;

type Drawn = Result<Vec<Proposal>, Halt>;

/// The line of jobs in front of a server.
pub(super) struct Queue {
    jobs: mpsc::UnboundedSender<(Job, oneshot::Sender<Drawn>)>,
    /// What jobs have to say.
    pub heard: mpsc::UnboundedReceiver<Note>,
    /// Set to end all jobs: those under way finish, and no others are started.
    pub stop: watch::Sender<bool>,
    /// Jobs that nobody has asked for yet, by their keys.
    ahead: HashMap<String, oneshot::Receiver<Drawn>>,
}

impl Queue {
    pub(super) fn new(client: &Arc<Client>, runtime: &Handle) -> Self {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let (notes, heard) = mpsc::unbounded_channel();
        let (stop, _) = watch::channel(false);
        runtime.spawn(serve(Arc::clone(client), Talk { notes, stop: stop.clone() }, waiting));
        Self { jobs, heard, stop, ahead: HashMap::new() }
    }

    /// Starts a job that will be taken later.
    pub(super) fn begin(&mut self, job: Job) {
        let key = key_of(&job);
        if !self.ahead.contains_key(&key) {
            let drawn = self.push(job);
            self.ahead.insert(key, drawn);
        }
    }

    /// What a job draws; it is started unless it was begun.
    pub(super) fn take(&mut self, job: Job) -> oneshot::Receiver<Drawn> {
        self.ahead.remove(&key_of(&job)).unwrap_or_else(|| self.push(job))
    }

    fn push(&self, job: Job) -> oneshot::Receiver<Drawn> {
        let (tell, drawn) = oneshot::channel();
        // The other end lives as long as the runtime, which outlives this.
        let _ = self.jobs.send((job, tell));
        drawn
    }

    /// Waits for the jobs that were begun and are not wanted any more, without starting others; gives the
    /// error of one that failed for good.
    pub(super) async fn settle(&mut self) -> Option<EndpointError> {
        self.stop.send_replace(true);
        let mut failure = None;
        for (_, drawn) in self.ahead.drain() {
            if let Ok(Err(Halt::Failed(error))) = drawn.await {
                failure.get_or_insert(error);
            }
        }
        self.stop.send_replace(false);
        failure
    }
}

/// Starts jobs in their order, each once a request may be sent. There are at most twice as many as requests
/// at a time: some have their answers, which are not on the disk yet.
async fn serve(
    client: Arc<Client>,
    talk: Talk,
    mut waiting: mpsc::UnboundedReceiver<(Job, oneshot::Sender<Drawn>)>,
) {
    let places = Arc::new(Semaphore::new(client.config.at_a_time().saturating_mul(2).min(MOST)));
    while let Some((job, tell)) = waiting.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let permit = client.traffic.permit().await;
        let (client, talk) = (Arc::clone(&client), talk.clone());
        tokio::spawn(async move {
            let drawn = job.draw(&mut Errand::new(&client, &talk, &job.label, permit)).await;
            drop(place);
            // Nobody listens any more if the caller failed.
            let _ = tell.send(drawn);
        });
    }
}

/// A hash of all that a job asks for.
fn key_of(job: &Job) -> String {
    let sampling = format!("{:?}", job.sampling);
    let mut parts: Vec<key::Part<'_>> = vec![
        u64::from(job.horizon == Horizon::Path).into(),
        (&sampling).into(),
        (&job.given).into(),
        (job.messages.len() as u64).into(),
    ];
    // Instruction and examples are the same in all jobs.
    parts.extend(job.messages.last().map(|turn| key::Part::from(&turn.content)));
    parts.extend(job.seeds.iter().map(|seed| key::Part::from(*seed)));
    key::id(&parts)
}
