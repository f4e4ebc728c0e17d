//! Templates: the worker's own, then those all workers share.

use minijinja::{Environment, Error, State, UndefinedBehavior, Value, context, path_loader};

use crate::{Mode, Prefix, Settings};

/// Minijinja over `private/views`, `private/templates` and the shared templates, in this order.
/// What ends in `.html` is escaped; a name cannot leave its folder.
pub(crate) struct Templates {
    environment: Environment<'static>,
    cached: bool,
}

impl Templates {
    pub(crate) fn new(settings: &Settings) -> Self {
        let private = settings.base.join("private");
        let shared = settings.shared.as_ref().map(|shared| shared.join("private/templates"));
        let loaders: Vec<_> = [private.join("views"), private.join("templates")]
            .into_iter()
            .chain(shared)
            .map(path_loader)
            .collect();

        let mut environment = Environment::new();
        environment.set_loader(move |name| {
            loaders.iter().find_map(|load| load(name).transpose()).transpose()
        });
        environment.set_auto_reload(false);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_debug(settings.mode == Mode::Dev);
        environment.add_global("worker", describe(settings));
        environment.add_function("url", url);
        let assets = format!("/static/{}/", settings.name);
        environment.add_function("asset", move |path: &str| {
            format!("{assets}{}", path.trim_start_matches('/'))
        });
        Self { environment, cached: settings.cache_templates }
    }

    /// Renders the template called `name`, with `url()` starting at `prefix`.
    pub(crate) fn render(
        &self,
        name: &str,
        prefix: &Prefix,
        context: Value,
    ) -> Result<String, Error> {
        let context = context! { prefix => prefix.as_str(), ..context };
        if self.cached {
            return self.environment.get_template(name)?.render(context);
        }
        // A copy that has loaded nothing yet reads every file anew.
        self.environment.clone().get_template(name)?.render(context)
    }
}

/// What templates know as `worker`.
fn describe(settings: &Settings) -> Value {
    context! {
        name => &settings.name,
        route => &settings.route,
        mode => settings.mode.to_string(),
        commit => &settings.commit,
        generation => settings.generation,
    }
}

/// `url('/hello')`: a link to a path of this worker, wherever it is mounted.
fn url(state: &State<'_, '_>, path: &str) -> String {
    let prefix = state.lookup("prefix").unwrap_or_default();
    format!("{}/{}", prefix.as_str().unwrap_or_default(), path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;

    /// A worker's folder and the shared one, with the given files.
    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            write(folder.path(), path, text);
        }
        folder
    }

    fn write(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn templates(folder: &TempDir, cache_templates: bool) -> Templates {
        Templates::new(&Settings {
            route: "/api/users".into(),
            shared: Some(folder.path().join("shared")),
            generation: 3,
            cache_templates,
            ..Settings::by_hand("api_users", folder.path().join("own"))
        })
    }

    fn render(templates: &Templates, name: &str, context: Value) -> Result<String, Error> {
        templates.render(name, &Prefix::new("/api/users"), context)
    }

    const PAGE: &str = "own/private/views/page.html";

    #[rstest]
    #[case::asset("{{ asset('css/x.css') }}", "/static/api_users/css/x.css")]
    #[case::link("{{ url('/new') }}", "/api/users/new")]
    #[case::escaped("{{ text }}", "&lt;b&gt;")]
    #[case::itself("{{ worker.name }} {{ worker.generation }}", "api_users 3")]
    fn a_page_knows(#[case] template: &str, #[case] expected: &str) {
        let folder = folder(&[(PAGE, template)]);
        let page = render(&templates(&folder, true), "page.html", context! { text => "<b>" });
        assert_eq!(page.unwrap().replace("&#x2f;", "/"), expected);
    }

    #[test]
    fn the_workers_own_templates_win_over_the_shared_ones() {
        let folder = folder(&[
            (
                PAGE,
                "{% extends 'base.html' %}{% block body %}{% include 'error.html' %}{% endblock %}",
            ),
            ("shared/private/templates/base.html", "<{% block body %}{% endblock %}>"),
            ("shared/private/templates/error.html", "shared"),
            ("own/private/templates/error.html", "own"),
        ]);
        assert_eq!(render(&templates(&folder, true), "page.html", context! {}).unwrap(), "<own>");
    }

    #[rstest]
    #[case::cached(true, "before")]
    #[case::read_anew(false, "after")]
    fn an_edit_shows_unless_templates_are_cached(#[case] cache: bool, #[case] expected: &str) {
        let folder = folder(&[(PAGE, "before")]);
        let templates = templates(&folder, cache);
        assert_eq!(render(&templates, "page.html", context! {}).unwrap(), "before");
        write(folder.path(), PAGE, "after");
        assert_eq!(render(&templates, "page.html", context! {}).unwrap(), expected);
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let folder = folder(&[(PAGE, ""), ("own/private/config/secret.html", "secret")]);
        let error = render(&templates(&folder, true), "../config/secret.html", context! {});
        assert_eq!(error.unwrap_err().kind(), minijinja::ErrorKind::TemplateNotFound);
    }
}
