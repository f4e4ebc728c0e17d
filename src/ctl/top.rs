//! `tqctl top`: what runs, again and again, on the whole terminal.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::status::{self, StatusArgs};
use view::View;

mod order;
mod view;

/// `tqctl top`
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Ask every so many seconds
    #[arg(
        short = 'd', long = "delay", value_name = "SECONDS", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    delay: u64,
}

/// Shows how everything stands until a key ends it; what is told is not judged by the exit code. Without
/// a terminal, shows it once.
pub async fn run(args: &TopArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if out.wants_json() || !on_terminal {
        return status::run(&StatusArgs {}, client, out).await;
    }
    let status = client.status().await.map_err(|error| error.into_failure())?;
    let view = View::new(status, out.painter());
    let mut terminated = signal(SignalKind::terminate())?;
    let mut terminal = ratatui::try_init()?;
    let ended = tokio::select! {
        ended = watch(args, client, &mut terminal, view) => ended,
        _ = terminated.recv() => Ok(Exit::Interrupted),
    };
    ratatui::restore();
    ended
}

async fn watch(
    args: &TopArgs,
    client: &Client,
    terminal: &mut DefaultTerminal,
    mut view: View,
) -> Result<Exit, Failure> {
    let mut events = terminal_events();
    let mut ticks = interval(Duration::from_secs(args.delay));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let mut asking = pin!(async {
            ticks.tick().await;
            client.status().await
        });
        let answer = loop {
            terminal.draw(|frame| view.draw(frame, Timestamp::now()))?;
            tokio::select! {
                answer = &mut asking => break answer,
                event = events.recv() => match event {
                    Some(Ok(Event::Key(key))) => {
                        if let ControlFlow::Break(()) = view.press(key) {
                            return Ok(Exit::Ok);
                        }
                    }
                    // Another size: it is drawn anew.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(Exit::Ok),
                },
            }
        };
        view.take(answer.map_err(|error| error.into_failure().to_string()));
    }
}

/// What the terminal tells, by a thread of its own, as it can only be waited for by blocking.
fn terminal_events() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, events) = mpsc::channel(16);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.blocking_send(event).is_err() || is_last {
                return;
            }
        }
    });
    events
}
