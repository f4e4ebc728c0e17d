//! Programs under the names they had in the old flat layout, for an old server that still serves:
//! `bin/tqworker_index`, `bin/tqworker_api_users`.

use std::path::{Path, PathBuf};

use super::error::BuildError;
use super::install::install;
use super::production::Production;
use crate::ids::RoutePath;

/// A program that was built, and the route of its worker, after which the old layout names it.
pub type Routed = (RoutePath, PathBuf);

/// The programs of a deployment. Those that `run:` starts have no name in the old layout.
pub fn programs(built: &Production) -> Vec<Routed> {
    let workers = built.deployment.workers.iter();
    workers
        .filter(|(name, part)| part.binary == format!("bin/{name}"))
        .map(|(_, part)| (part.route.clone(), built.folder.join(&part.path).join(&part.binary)))
        .collect()
}

/// Puts each program at its old place, by rename, unless the same bytes are there. Returns the places,
/// below the project's folder.
///
/// # Errors
/// When a program cannot be copied.
pub fn write(root: &Path, programs: &[Routed]) -> Result<Vec<PathBuf>, BuildError> {
    let put = |(route, program): &Routed| {
        let name = file_name(route);
        install(program, &root.join("bin"), &name)?;
        Ok(Path::new("bin").join(name))
    };
    programs.iter().map(put).collect()
}

fn file_name(route: &RoutePath) -> String {
    let path = route.as_str().trim_matches('/');
    format!(
        "tqworker_{}",
        if path.is_empty() { "index".to_owned() } else { path.replace('/', "_") }
    )
}
