//! Processors: who may run on which, and how long they ran.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;

/// Lets a thread, by its number, or the calling one (0), run on these processors only.
pub fn pin(thread: u32, cores: &[usize]) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core).unwrap();
    }
    let thread = Pid::from_raw(thread.cast_signed());
    sched_setaffinity(thread, &set).unwrap_or_else(|error| panic!("processors {cores:?}: {error}"));
}

/// How long all threads of these processes, and of those that they started, have run so far.
pub fn of_trees(roots: &[u32]) -> Duration {
    roots.iter().flat_map(|root| tree(*root)).map(|(pid, thread)| of_thread(pid, thread)).sum()
}

/// How long the calling thread has run so far.
pub fn of_this_thread() -> Duration {
    read("/proc/thread-self/schedstat")
}

/// How long the processes have run that were started here and awaited since they ended.
pub fn of_ended_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros as u64)
}

/// How long the kernel's threads have run that receive what comes over the network, as far as nobody
/// else is charged with it.
pub fn of_softirq_threads(threads: &[u32]) -> Duration {
    threads.iter().map(|pid| of_thread(*pid, *pid)).sum()
}

/// The threads of [`of_softirq_threads`].
pub fn softirq_threads() -> Vec<u32> {
    let is_one = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it.starts_with("ksoftirqd/"))
    };
    processes().filter(is_one).collect()
}

/// Every process that /proc shows.
pub fn processes() -> impl Iterator<Item = u32> {
    numbers("/proc")
}

/// A process and those that it started, in whatever depth.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        for thread in numbers(&format!("/proc/{pid}/task")).collect::<Vec<_>>() {
            let path = format!("/proc/{}/task/{thread}/children", all[at]);
            let children = fs::read_to_string(path).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    all
}

/// All threads of a process tree, with their processes.
pub fn tree(root: u32) -> Vec<(u32, u32)> {
    let threads = |pid: u32| numbers(&format!("/proc/{pid}/task")).map(move |it| (pid, it));
    descendants(root).into_iter().flat_map(threads).collect()
}

fn numbers(folder: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn of_thread(pid: u32, thread: u32) -> Duration {
    read(&format!("/proc/{pid}/task/{thread}/schedstat"))
}

/// The first number of a schedstat file: nanoseconds on a processor. Of a thread that has ended: none.
fn read(path: &str) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}
