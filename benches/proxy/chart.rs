//! The rows as a picture: what a request costs, nginx being 1.

use std::fmt::Write as _;

use crate::contest::Result;
use crate::rows::{Figure, Row};

/// What everybody is measured by.
const MEASURE: &str = "nginx";

/// Bars end here; what is longer says so.
const LONGEST: f64 = 3.0;

const LEFT: f64 = 270.0;
/// The length of 1.
const UNIT: f64 = 150.0;
const BAR: f64 = 9.0;
const GAP: f64 = 14.0;
const TOP: f64 = 66.0;

/// Draws those rows in which nginx has taken part.
pub fn draw(rows: &[(Row, Vec<Result>)]) -> String {
    let mut bars = String::new();
    let mut y = TOP;
    let mut names: Vec<&str> = Vec::new();
    for (row, results) in rows {
        let Some(measure) = results.iter().find(|it| it.name == MEASURE) else { continue };
        let height = BAR * results.len() as f64;
        let middle = y + height / 2.0 + 4.0;
        writeln!(bars, r#"<text x="{}" y="{middle:.0}">{}</text>"#, LEFT - 12.0, row.what).unwrap();
        for result in results {
            let ratio = result.ratio(measure, |it| it.figure(Figure::Cpu, row));
            let shown = ratio.min(LONGEST);
            let (width, class) = (shown * UNIT, result.name);
            let mark = if ratio > LONGEST { " →" } else { "" };
            writeln!(
                bars,
                r#"<rect class="{class}" x="{LEFT}" y="{y:.0}" width="{width:.0}" height="{}"/><text class="small" x="{:.0}" y="{:.0}">{ratio:.2}{mark}</text>"#,
                BAR - 1.0,
                LEFT + width + 5.0,
                y + BAR - 1.0,
            )
            .unwrap();
            y += BAR;
            if !names.contains(&class) {
                names.push(class);
            }
        }
        y += GAP;
    }
    let (width, height) = (LEFT + LONGEST * UNIT + 70.0, y + 6.0);
    let mut legend = String::new();
    for (number, name) in names.iter().enumerate() {
        let x = LEFT + 110.0 * number as f64;
        writeln!(
            legend,
            r#"<rect class="{name}" x="{x:.0}" y="36" width="10" height="10"/><text class="name" x="{:.0}" y="45">{name}</text>"#,
            x + 15.0
        )
        .unwrap();
    }
    let line = LEFT + UNIT;
    let bottom = y - GAP + 4.0;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-labelledby="title desc">
<title id="title">CPU for a request, nginx being 1</title>
<desc id="desc">Bars for tqserver and other proxies, a group for each kind of request; shorter is better. The tables beside it have the figures.</desc>
<style>
  svg {{ color-scheme: light dark; --ink: #1f2933; --soft: #56616d; --line: #8a96a3; --ours: #1668a8; --nginx: #7d8894; --haproxy: #b3bcc5; --caddy: #d6dce1; --pingora: #c98f4f; font: 13px system-ui, sans-serif }}
  @media (prefers-color-scheme: dark) {{ svg {{ --ink: #e6eaee; --soft: #a8b3be; --line: #74808c; --ours: #6cb6ff; --nginx: #8a96a3; --haproxy: #626d78; --caddy: #444e58; --pingora: #a8733a }} }}
  text {{ fill: var(--ink); text-anchor: end }}
  .title {{ text-anchor: start; font-weight: 600 }}
  .name {{ text-anchor: start }}
  .small {{ text-anchor: start; font-size: 9px; fill: var(--soft) }}
  .tqserver {{ fill: var(--ours) }}
  .nginx {{ fill: var(--nginx) }}
  .haproxy {{ fill: var(--haproxy) }}
  .caddy {{ fill: var(--caddy) }}
  .pingora {{ fill: var(--pingora) }}
  path {{ stroke: var(--line); stroke-dasharray: 3 3 }}
</style>
<text class="title" x="{LEFT}" y="22">CPU for a request, nginx being 1: shorter is better</text>
{legend}{bars}<path d="M{line} {top:.0}V{bottom:.0}"/>
</svg>
"#,
        top = TOP - 6.0
    )
}
