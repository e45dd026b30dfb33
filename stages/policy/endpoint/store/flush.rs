//! One thread makes answers durable: all that were written since its last flush, with one flush for each log.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};

use tokio::sync::oneshot;

/// A log that is written to.
pub(super) struct Flushed {
    pub file: File,
    /// Whether its name is durable.
    named: AtomicBool,
    /// Whether a flush has failed, after which nobody knows what the disk holds of it.
    pub failed: AtomicBool,
}

impl Flushed {
    pub(super) fn new(file: File) -> Self {
        Self { file, named: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    fn flush(&self, folder: &Path) -> io::Result<()> {
        if self.failed.load(SeqCst) {
            return Err(io::Error::other("an earlier flush of the same file has failed"));
        }
        let flushed = self.file.sync_data().and_then(|()| {
            if self.named.load(SeqCst) {
                return Ok(());
            }
            super::sync_folder(folder)?;
            self.named.store(true, SeqCst);
            Ok(())
        });
        if flushed.is_err() {
            self.failed.store(true, SeqCst);
        }
        flushed
    }
}

/// An answer that is written and waits to be durable.
pub(super) struct Waiting {
    pub log: Arc<Flushed>,
    pub tell: oneshot::Sender<io::Result<()>>,
}

/// Starts the thread; it ends with the sender.
pub(super) fn start(folder: PathBuf) -> io::Result<Sender<Waiting>> {
    let (sender, waiting) = mpsc::channel();
    std::thread::Builder::new().name("answers".to_owned()).spawn(move || serve(&folder, &waiting))?;
    Ok(sender)
}

fn serve(folder: &Path, waiting: &Receiver<Waiting>) {
    while let Ok(first) = waiting.recv() {
        let mut open: Vec<Waiting> = std::iter::once(first).chain(waiting.try_iter()).collect();
        while let Some(log) = open.first().map(|one| Arc::clone(&one.log)) {
            let flushed = log.flush(folder);
            for one in open.extract_if(.., |one| Arc::ptr_eq(&one.log, &log)) {
                // Nobody waits any more for what came too late.
                let _ = one.tell.send(flushed.as_ref().copied().map_err(again));
            }
        }
    }
}

/// The same error once more: its number says whether the disk is full.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
