//! Where a reload is asked for, whoever asks: the rollout looks at what is wanted, unless there is
//! another program on disk by now, to which this process then hands over.

use std::sync::Arc;

use futures_util::future::Either;
use tokio::sync::{mpsc, oneshot};

use super::handover::{Asker, Program};
use crate::rollout::actor::RolloutHandle;
use crate::rollout::report::Report;

/// A way to ask.
#[derive(Debug, Clone)]
pub(super) struct Reloads {
    rollout: RolloutHandle,
    program: Arc<Program>,
    /// `None` where nobody could follow to another process: in the foreground.
    handover: Option<mpsc::Sender<Asker>>,
}

impl Reloads {
    /// Reloads by `rollout`, or by `handover` once `program` was replaced.
    pub(super) fn new(
        rollout: RolloutHandle,
        program: Arc<Program>,
        handover: Option<mpsc::Sender<Asker>>,
    ) -> Self {
        Self { rollout, program, handover }
    }

    /// Asks, here and now; the future is the verdict. Dropping it gives up the verdict, not the
    /// reload.
    pub(super) fn reload(&self) -> impl Future<Output = Report> + Send + use<> {
        if self.program.is_replaced() {
            let path = self.program.path().display();
            match &self.handover {
                Some(handover) => return Either::Left(hand_over(handover)),
                None => tracing::warn!("{path} is another program now; start it anew to use it"),
            }
        }
        Either::Right(self.rollout.reload())
    }
}

fn hand_over(handover: &mpsc::Sender<Asker>) -> impl Future<Output = Report> + Send + use<> {
    let (reply, report) = oneshot::channel();
    let asked = handover.try_send(reply);
    async move {
        match asked {
            Ok(()) => report.await.unwrap_or_else(|_| Report::refused("tqserver has ended")),
            Err(_) => Report::refused("too many reloads are asked for at once; try again"),
        }
    }
}
