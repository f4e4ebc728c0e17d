//! Takes calls from the bus, one after the other, until there are none.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::signal::unix::Signal;
use zbus::message::{Flags, Type};
use zbus::{Connection, Message, MessageStream, connection};

use super::call::{BadCall, Call, INTROSPECTION};
use super::starts::Starts;
use crate::launcher::launcher1::{NAME, error_of};
use crate::sd::notify::Notifier;

/// How many calls may wait. The bus holds back what is more.
const QUEUE: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// The service on the bus.
///
/// One call is performed at a time: their order is kept, the limits of units cannot be overrun by
/// two starts at once, and no copy is removed while it is being made.
pub(super) struct Service {
    connection: Connection,
    /// All that comes in. Calls are taken from it directly rather than by zbus's object server,
    /// so that at the end it is known that none is left.
    messages: MessageStream,
    starts: Starts,
    /// How long nobody must have called before the service ends.
    idle: Duration,
}

impl Service {
    /// Connects, and takes the name.
    pub(super) async fn open(starts: Starts, idle: Duration) -> zbus::Result<Self> {
        let connection = connection::Builder::system().build().await?;
        let mut messages = MessageStream::from(&connection);
        messages.set_max_queued(QUEUE);
        connection.request_name(NAME).await?;
        Ok(Self { connection, messages, starts, idle })
    }

    /// Serves until nobody has called for a while or `terminate` comes; and then, without the
    /// name, what was delivered before.
    pub(super) async fn run(mut self, mut terminate: Signal) -> zbus::Result<()> {
        let why = loop {
            tokio::select! {
                message = self.messages.next() => match message {
                    Some(message) => self.take(&message?).await?,
                    None => return Err(zbus::Error::Failure("the bus hung up".to_owned())),
                },
                _ = terminate.recv() => break "told to stop",
                () = tokio::time::sleep(self.idle) => break "nobody calls",
            }
        };
        tracing::debug!("ending: {why}");
        // In this order: whoever calls from here on has systemd start another one after this.
        Notifier.stopping(why);
        Notifier.barrier().await;
        for message in self.give_up_name().await? {
            self.take(&message).await?;
        }
        self.starts.clean().await;
        Ok(())
    }

    /// Gives up the name, and returns what was delivered until then. The bus keeps the order:
    /// nothing comes after its answer.
    async fn give_up_name(&mut self) -> zbus::Result<VecDeque<Message>> {
        let mut delivered = VecDeque::new();
        let release = self.connection.release_name(NAME);
        tokio::pin!(release);
        loop {
            tokio::select! {
                // An answer behind many calls is read only when there is room for those.
                biased;
                Some(message) = self.messages.next() => delivered.push_back(message?),
                released = &mut release => {
                    released?;
                    break;
                }
            }
        }
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            delivered.push_back(message?);
        }
        Ok(delivered)
    }

    /// Performs and answers a call; leaves everything else alone.
    async fn take(&self, message: &Message) -> zbus::Result<()> {
        if message.message_type() != Type::MethodCall {
            return Ok(());
        }
        let call = Call::parse(message);
        let starts = matches!(call, Ok(Call::Start(_)));
        let answer = match call {
            Ok(call) => self.perform(call).await,
            Err(bad) => Err(bad),
        };
        if !message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
            let header = message.header();
            match answer {
                Ok(None) => self.connection.reply(&header, &()).await?,
                Ok(Some(text)) => self.connection.reply(&header, &text).await?,
                Err(BadCall { name, text }) => {
                    self.connection.reply_error(&header, name, &text).await?;
                }
            }
        }
        // Whoever called need not wait for this.
        if starts {
            self.starts.clean().await;
        }
        Ok(())
    }

    /// What the call answers with: nothing, or a text.
    async fn perform(&self, call: Call) -> Result<Option<&'static str>, BadCall> {
        let done = match call {
            Call::Introspect => return Ok(Some(INTROSPECTION)),
            Call::Start(request) => {
                let (worker, port) = (&request.worker, request.port);
                let started = self.starts.start(&request).await;
                match &started {
                    Ok(()) => tracing::info!(%worker, "{} on port {port}", request.generation),
                    Err(error) => tracing::warn!(%worker, "not started on port {port}: {error}"),
                }
                started
            }
            Call::Stop(unit) => self.starts.stop(&unit).await.inspect_err(|error| {
                tracing::warn!(worker = %unit.worker, "not stopped on port {}: {error}", unit.port);
            }),
        };
        done.map(|()| None).map_err(|error| {
            let (name, text) = error_of(&error);
            BadCall { name, text: text.to_owned() }
        })
    }
}
