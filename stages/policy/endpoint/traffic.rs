//! How many requests may be under way: half as many once the server says that there are too many, and one
//! more for each round of answers after that, up to the user's limit.
//!
//! Requests that were sent before a cut say nothing against what is sent since: each cut begins an era, and
//! only its own requests count in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;

/// The traffic to a server.
pub(super) struct Traffic {
    most: usize,
    free: Semaphore,
    state: Mutex<State>,
}

struct State {
    /// Requests that may be under way.
    limit: usize,
    /// Permits that are given back and not lent again, as the limit was cut meanwhile.
    owed: usize,
    era: u64,
    /// Answers of this era since the limit last grew.
    answered: usize,
    /// Nothing is sent before.
    quiet: Option<Instant>,
}

/// Leave to send one request at a time, until it is dropped.
pub(super) struct Permit(Arc<Traffic>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.owed > 0 {
            state.owed -= 1;
        } else {
            self.0.free.add_permits(1);
        }
    }
}

impl Traffic {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most = most.min(Semaphore::MAX_PERMITS);
        let state = State { limit: most, owed: 0, era: 0, answered: 0, quiet: None };
        Arc::new(Self { most, free: Semaphore::new(most), state: Mutex::new(state) })
    }

    /// Waits for its turn.
    pub(super) async fn permit(self: &Arc<Self>) -> Permit {
        // Nobody closes it.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        Permit(Arc::clone(self))
    }

    pub(super) fn era(&self) -> u64 {
        self.state().era
    }

    /// A request that was sent in an era is answered.
    pub(super) fn answered(&self, era: u64) {
        let mut state = self.state();
        if state.era != era || state.limit == self.most {
            return;
        }
        state.answered += 1;
        if state.answered >= state.limit {
            state.answered = 0;
            state.limit += 1;
            if state.owed > 0 {
                state.owed -= 1;
            } else {
                self.free.add_permits(1);
            }
        }
    }

    /// The server had too many requests when it got one that was sent in an era. False if that was the only
    /// one.
    pub(super) fn crowded(&self, era: u64) -> bool {
        let mut state = self.state();
        if state.era != era {
            return true;
        }
        if state.limit == 1 {
            return false;
        }
        let less = state.limit - state.limit / 2;
        let fewer = state.limit - less;
        state.owed += fewer - self.free.forget_permits(fewer);
        (state.limit, state.answered, state.era) = (less, 0, era + 1);
        true
    }

    /// Until when nothing is sent.
    pub(super) fn quiet(&self) -> Option<Instant> {
        self.state().quiet.filter(|until| *until > Instant::now())
    }

    /// Sends nothing before an instant.
    pub(super) fn hush(&self, until: Instant) {
        let mut state = self.state();
        state.quiet = state.quiet.max(Some(until));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Permits that are free, and the limit.
    fn seen(traffic: &Traffic) -> (usize, usize) {
        (traffic.free.available_permits(), traffic.state().limit)
    }

    #[test]
    fn the_longest_pause_counts() {
        let (traffic, now) = (Traffic::new(8), Instant::now());
        assert_eq!(traffic.quiet(), None);
        traffic.hush(now);
        assert_eq!(traffic.quiet(), None);
        let later = now + Duration::from_hours(1);
        traffic.hush(later);
        traffic.hush(now);
        assert_eq!(traffic.quiet(), Some(later));
    }

    #[tokio::test]
    async fn a_cut_is_made_once_for_all_that_was_under_way_and_made_good_slowly() {
        let traffic = Traffic::new(8);
        let mut lent = Vec::new();
        for _ in 0..8 {
            lent.push(traffic.permit().await);
        }
        // All of them are refused: that is one cut.
        assert!((0..8).all(|_| traffic.crowded(0)));
        assert_eq!((seen(&traffic), traffic.era()), ((0, 4), 1));
        // Four of the permits are not lent again.
        lent.truncate(4);
        assert_eq!(seen(&traffic), (0, 4));
        lent.pop();
        assert_eq!(seen(&traffic), (1, 4));
        // A round of answers later there is one more; answers from before the cut do not count.
        (0..9).for_each(|_| traffic.answered(0));
        (0..3).for_each(|_| traffic.answered(1));
        assert_eq!(seen(&traffic), (1, 4));
        traffic.answered(1);
        assert_eq!(seen(&traffic), (2, 5));
        lent.clear();
        assert_eq!(seen(&traffic), (5, 5));
        // Down to one, which alone is refused for reasons of its own; then up to what the user permits.
        assert!(traffic.crowded(1) && traffic.crowded(2) && traffic.crowded(3) && !traffic.crowded(4));
        assert_eq!(seen(&traffic), (1, 1));
        (0..99).for_each(|_| traffic.answered(4));
        assert_eq!(seen(&traffic), (8, 8));
    }
}
