//! Standing still while another process takes over, and for good once it has.

use tokio::sync::{mpsc, oneshot};

use super::super::report::Report;
use super::{Actor, Command, Done, Suspended};
use crate::launcher::Launcher;

impl<L: Launcher> Actor<L> {
    /// Stands still if somebody wants that and nothing is under way: a rollout that was left in
    /// the middle would fail here should the handover fail. Returns whether it is for good.
    pub(super) async fn stand_still_when_asked(&mut self) -> bool {
        // A canary may last for days; who takes over begins it anew.
        let is_rolling_out =
            self.controller.rolling_out().is_some() && self.controller.canary().is_none();
        let busy = self.loader.is_none() || self.saving || is_rolling_out;
        if busy {
            return false;
        }
        let Some(granted) = self.suspending.take() else { return false };
        let (handed_over, outcome) = oneshot::channel();
        let ended = match granted.send(Suspended { handed_over }) {
            Ok(()) => outcome.await,
            // Not wanted any more.
            Err(_) => return false,
        };
        if ended.is_ok() {
            return true;
        }
        // Who was to take over may have started units, and news of others may have come.
        self.launches.list();
        self.load_when_asked();
        false
    }

    /// Decides nothing any more; tells whoever asks that another process does.
    pub(super) async fn dismissed(mut self, mut inbox: mpsc::Receiver<Command>) {
        let report = Report::handed_over();
        self.asked.waiters.take().answer(&report);
        if let Some(wish) = self.going_back.take() {
            wish.refuse(&report);
        }
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(
                        Command::Reload(waiter)
                        | Command::Restart(_, waiter)
                        | Command::Decide(_, waiter)
                        | Command::GoBack(_, waiter),
                    ) => {
                        let _ = waiter.send(report.clone());
                    }
                    Some(Command::TakeOut(_, reply)) => {
                        let _ = reply.send(Err("another tqserver has taken over: try again".to_owned()));
                    }
                    Some(Command::Shutdown(done)) => {
                        let _ = done.send(());
                        return;
                    }
                    Some(
                        Command::ManifestChanged
                        | Command::Heavy(..)
                        | Command::Suspend(_)
                        | Command::PredecessorGone,
                    ) => {}
                    None => return,
                },
                Some(done) = self.beside.join_next() => {
                    // Verdicts of before, which waited for the journal.
                    if let Ok(Done::Reported(waiters, report)) = done {
                        waiters.answer(&report);
                    }
                }
            }
        }
    }
}
