//! What tqctl and the session it has on a host say to each other: a JSON document a line, and an
//! answer for each. Both sides are the same program; [`PROTOCOL`] tells when they are not.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::canary::CanaryPlan;
use crate::ids::{CommitId, WorkerName};
use crate::store::manifest::DeployedBy;

/// The version of these documents.
pub(in crate::ctl) const PROTOCOL: u32 = 3;
/// The longest line, in bytes: a deployment's record, quoted once more.
pub(in crate::ctl) const MAX_LINE: u64 = 16 << 20;
/// The largest piece of an archive, in bytes.
pub(in crate::ctl) const MAX_CHUNK: usize = 256 << 10;

/// What a host is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(in crate::ctl) enum Request {
    /// First of all: who is there? Answered by [`Reply::Hello`].
    Hello {
        /// [`PROTOCOL`]
        protocol: u32,
        /// The folder of deployments, absolute.
        deploy: PathBuf,
        /// The control socket, where it is not the usual one.
        socket: Option<PathBuf>,
        /// Who asks, by its own word.
        client: Option<String>,
        /// `deploy`, `rollback` or another verb of tqctl.
        verb: String,
    },
    /// Which files of a deployment are in none that is there? [`Reply::Missing`]; writes nothing.
    Missing {
        /// `deployment.json`.
        record: String,
    },
    /// To be the only one to change anything, until the session ends. [`Reply::Locked`],
    /// [`Reply::Held`], or [`Reply::Waiting`] first.
    Lock {
        /// Whether to wait for whoever is the only one now.
        wait: bool,
    },
    /// To receive a deployment. [`Reply::Present`] or [`Reply::Staged`].
    Stage {
        /// `deployment.json`.
        record: String,
        /// How many bytes each of its files has, in the record's order: there must be room for those that
        /// are missing.
        sizes: Vec<u64>,
        /// `deployment.json.asc`, if it was signed. It comes to be there also where the deployment
        /// is already.
        signature: Option<String>,
    },
    /// Missing files follow as a compressed archive, in [`Chunk`]s. [`Reply::Received`].
    Archive,
    /// Everything is there: to verify it and give it its name. [`Reply::Published`].
    Publish,
    /// To point the manifest at a deployment and have tqserver switch to it; if that comes to
    /// nothing, to put the manifest back. [`Reply::Activated`], [`Reply::Canary`] for each of its steps,
    /// [`Reply::Serving`] and at last [`Reply::RolledOut`]; the end of the connection does not stop it.
    RollOut {
        /// Which.
        commit: CommitId,
        /// How long to watch it, in milliseconds.
        soak_ms: u64,
        /// How it is to come to serve by degrees; absent: at once.
        #[serde(default)]
        canary: Option<CanaryPlan>,
    },
    /// Which deployments are there, and what became of them? [`Reply::Deployments`].
    List {
        /// Whether to read all their files.
        verify: bool,
    },
}

/// What a host answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(in crate::ctl) enum Reply {
    /// See [`Request::Hello`].
    Hello(Hello),
    /// Paths below the deployment's folder.
    Missing {
        /// The files.
        files: Vec<String>,
    },
    /// Somebody else has the lock; an answer follows.
    Waiting {
        /// Who.
        holder: String,
    },
    /// Nobody else changes anything until the session ends.
    Locked,
    /// Somebody else has the lock.
    Held {
        /// Who, in a sentence.
        message: String,
    },
    /// It is there already, and is what its record says.
    Present,
    /// What is missing is to be brought.
    Staged {
        /// The folder to bring it to.
        folder: String,
        /// The files, by their path below it.
        missing: Vec<String>,
        /// Deployments whose files of the same paths may resemble them.
        resembling: Vec<CommitId>,
    },
    /// The archive was read whole.
    Received,
    /// It is a deployment now.
    Published,
    /// The manifest points at it.
    Activated,
    /// It serves a share of the requests.
    Canary {
        /// The share, in percent.
        share_percent: u8,
    },
    /// tqserver says that it serves; it is watched from now on, if that was wished.
    Serving {
        /// Workers that got a new generation.
        started: Vec<WorkerName>,
        /// Workers that run on.
        kept: Vec<WorkerName>,
        /// What else is worth knowing.
        notes: Vec<String>,
    },
    /// What came of a rollout.
    RolledOut(RolledOut),
    /// See [`Request::List`].
    Deployments(Deployments),
    /// It cannot be done. Nothing was changed, unless the words say so.
    Failed {
        /// Why, in a sentence.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// The exit code it calls for.
        exit: u8,
    },
}

/// How a host stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::ctl) struct Hello {
    /// [`PROTOCOL`]
    pub(in crate::ctl) protocol: u32,
    /// The version of tqctl there.
    pub(in crate::ctl) version: String,
    /// Whether rsync is installed.
    pub(in crate::ctl) rsync: bool,
    /// `deployment.json` of what serves there or, where tqserver does not say, what is wanted.
    pub(in crate::ctl) current: Option<String>,
    /// The last deployment that served whole, where tqserver says.
    pub(in crate::ctl) last_good: Option<CommitId>,
    /// What will not be possible, a sentence each.
    pub(in crate::ctl) warnings: Vec<String>,
}

/// What came of a rollout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::ctl) struct RolledOut {
    /// In a word.
    pub(in crate::ctl) outcome: Outcome,
    /// What the manifest pointed at before.
    pub(in crate::ctl) before: Option<CommitId>,
    /// Workers that got a new generation.
    pub(in crate::ctl) started: Vec<WorkerName>,
    /// Workers that run on.
    pub(in crate::ctl) kept: Vec<WorkerName>,
    /// Why not, or why not any more.
    pub(in crate::ctl) reason: Option<String>,
    /// The last lines of the worker that failed.
    pub(in crate::ctl) details: Vec<String>,
    /// What else is worth knowing.
    pub(in crate::ctl) notes: Vec<String>,
}

/// What came of a rollout, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(in crate::ctl) enum Outcome {
    /// It serves.
    Switched,
    /// It serves a share of the requests until somebody promotes or aborts it.
    Canary,
    /// It did already.
    Unchanged,
    /// It never served. What served before serves, and the manifest is as it was.
    NotSwitched,
    /// It served, and not well enough. What served before serves again.
    RolledBack,
    /// It does not serve well, and what served before could not be brought back either.
    RollbackFailed,
}

/// The deployments of a host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::ctl) struct Deployments {
    /// Those the manifest tells of, newest first, and those it does not.
    pub(in crate::ctl) deployments: Vec<Listed>,
    /// What became of rollouts, newest first, as tqserver remembers; empty where it does not say.
    pub(in crate::ctl) rollouts: Vec<crate::admin::api::PastRollout>,
    /// What it refused before anything was started, likewise.
    #[serde(default)]
    pub(in crate::ctl) refused: Vec<crate::admin::api::RefusedWish>,
    /// What could not be found out, a sentence each.
    pub(in crate::ctl) warnings: Vec<String>,
}

/// A deployment of a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Listed {
    /// Its commit.
    pub(in crate::ctl) commit: CommitId,
    /// Its tag.
    pub(in crate::ctl) tag: Option<String>,
    /// When it was last made current; absent for what was never, or too long ago.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub(in crate::ctl) deployed_at: Option<Timestamp>,
    /// Who did that.
    pub(in crate::ctl) deployed_by: Option<DeployedBy>,
    /// How it stands.
    pub(in crate::ctl) state: ListedState,
    /// What is wrong with its files; absent where all are well, or were not looked at.
    pub(in crate::ctl) damage: Option<String>,
}

/// How a deployment of a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(in crate::ctl) enum ListedState {
    /// It serves, or is wanted where tqserver does not say what serves.
    Current,
    /// It is wanted and does not serve.
    Wanted,
    /// It served whole once.
    Good,
    /// It failed when it was tried last.
    Failed,
    /// Nothing is known of how it served.
    Unknown,
    /// Its folder is gone.
    Removed,
}

/// A piece of an archive: this line, and then so many bytes. Nothing more follows one of 0 bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::ctl) struct Chunk {
    /// At most [`MAX_CHUNK`].
    pub(in crate::ctl) chunk: usize,
}
