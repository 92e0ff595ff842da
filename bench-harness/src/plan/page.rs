//! A plan as text for people, which is a section of Markdown, and as JSON for programs.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{Assumptions, Basis, Check, Cost, Curve, Demand, Plan};

/// The version of the JSON; a change of a field's meaning is a new one.
const SCHEMA: u32 = 1;

/// Everything that was asked, used and found.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    schema: u32,
    command: &'static str,
    demand: &'a Demand,
    assumptions: &'a Assumptions,
    curve: &'a Curve,
    agent_cost: Cost,
    broker_cost: Option<Cost>,
    /// Each point predicted from the others.
    checks: &'a [Check],
    error_max: Option<f64>,
    #[serde(flatten)]
    plan: &'a Plan,
    /// The plan for twice the lines.
    next_doubling: &'a Plan,
}

fn error_max(checks: &[Check]) -> Option<f64> {
    checks.iter().map(|check| check.error().abs()).max_by(f64::total_cmp)
}

/// The answer for programs.
///
/// # Errors
/// When it cannot be written as JSON, which no plan should bring about.
pub fn json(
    demand: &Demand,
    assumptions: &Assumptions,
    curve: &Curve,
    plan: &Plan,
    next_doubling: &Plan,
) -> serde_json::Result<String> {
    let checks = curve.checks();
    let answer = Answer {
        schema: SCHEMA,
        command: "plan",
        demand,
        assumptions,
        curve,
        agent_cost: curve.agent_cost(),
        broker_cost: curve.broker_cost(),
        checks: &checks,
        error_max: error_max(&checks),
        plan,
        next_doubling,
    };
    serde_json::to_string_pretty(&answer)
}

/// The answer for people: a section of Markdown.
#[must_use]
pub fn markdown(demand: &Demand, curve: &Curve, plan: &Plan, next_doubling: &Plan) -> String {
    let mut page = format!(
        "## Plan: {} lines a day of {:.0} bytes from {} hosts, peak x {}, kept {:.0} days x {}\n\n",
        scientific(demand.lines_per_day),
        demand.line_bytes,
        demand.hosts,
        demand.peak_factor,
        demand.retention.as_secs_f64() / super::DAY_S,
        demand.replication
    );
    page.push_str(&figures(plan));
    let bottleneck = &plan.uses[0];
    let _ = write!(
        page,
        "\n\n**Bottleneck:** {}, {} in use at the peak ({}). In use at the peak:\n\n{}\n\n",
        bottleneck.resource,
        percent(bottleneck.share),
        word(bottleneck.basis),
        uses(plan)
    );
    let _ = write!(page, "**The next doubling** needs:\n\n{}\n\n", doubling(plan, next_doubling));
    page.push_str(&fit(curve));
    for note in &plan.notes {
        let _ = write!(page, "\n- {note}");
    }
    page.push('\n');
    page
}

fn figures(plan: &Plan) -> String {
    let mut table = table(["", "what", "value", "", "basis", "from"]);
    let mut part = "";
    for figure in &plan.figures {
        let shown = if figure.part == part { "" } else { figure.part };
        part = figure.part;
        table.add_row([
            shown,
            figure.name,
            &number(figure.value),
            figure.unit,
            word(figure.basis),
            &figure.from,
        ]);
    }
    align(&mut table, 2);
    table.to_string()
}

fn uses(plan: &Plan) -> String {
    let mut table = table(["of", "in use", "room for", "basis"]);
    for used in &plan.uses {
        let room = format!("x {}", number(1.0 / used.share.max(1e-9)));
        table.add_row([used.resource, &percent(used.share), &room, word(used.basis)]);
    }
    align(&mut table, 1);
    align(&mut table, 2);
    table.to_string()
}

/// What a doubling is asked about; the rest follows from it.
const ORDERED: [&str; 7] = [
    "agent cores at the peak",
    "network of a host at the peak",
    "into Kafka at the peak",
    "disk of all brokers",
    "brokers",
    "partitions",
    "consumers",
];

fn doubling(plan: &Plan, next: &Plan) -> String {
    let mut table = table(["what", "now", "doubled", ""]);
    for name in ORDERED {
        let of = |plan: &Plan| plan.figures.iter().find(|figure| figure.name == name).cloned();
        if let (Some(now), Some(then)) = (of(plan), of(next)) {
            table.add_row([name, &number(now.value), &number(then.value), now.unit]);
        }
    }
    let bottleneck = &next.uses[0];
    table.add_row(["bottleneck", plan.uses[0].resource, bottleneck.resource, &percent(bottleneck.share)]);
    align(&mut table, 1);
    align(&mut table, 2);
    table.to_string()
}

fn fit(curve: &Curve) -> String {
    let mut text = format!(
        "**Measured** with {} on {}, {} rate(s): the agent costs {}",
        curve.agent,
        curve.machine,
        curve.points.len(),
        curve.agent_cost()
    );
    if let Some(cost) = curve.broker_cost() {
        let _ = write!(text, ", the broker {cost}");
    }
    text.push_str(".\n");
    let checks = curve.checks();
    if let Some(worst) = error_max(&checks) {
        let mut table = table(["lines/s", "measured us/line", "predicted from the others", "error"]);
        for check in &checks {
            table.add_row([
                number(check.lines_per_second),
                number(check.measured_us_per_line),
                number(check.predicted_us_per_line),
                format!("{:+.0} %", check.error() * 100.0),
            ]);
        }
        for column in 0..4 {
            align(&mut table, column);
        }
        let _ = write!(
            text,
            "\nEach rate predicted from the others, which is how far to trust the fit; the worst is off by {}:\n\n{table}\n",
            percent(worst)
        );
    }
    text
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    table
}

fn align(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn word(basis: Basis) -> &'static str {
    match basis {
        Basis::Given => "given",
        Basis::Measured => "measured",
        Basis::Assumed => "assumed",
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// Three digits, thousands apart.
fn number(value: f64) -> String {
    if value >= 1000.0 {
        let digits = format!("{value:.0}");
        let groups: Vec<&str> = digits
            .as_bytes()
            .rchunks(3)
            .rev()
            .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
            .collect();
        return groups.join(",");
    }
    let digits = match value {
        value if value == value.trunc() => 0,
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn scientific(value: f64) -> String {
    let power = value.max(1.0).log10().floor() as i32 / 3 * 3;
    let name = match power {
        9 => "billion ",
        6 => "million ",
        _ => return number(value) + " ",
    };
    format!("{} {}", number(value / 10f64.powi(power)), name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;
    use crate::plan::tests::{ASSUMPTIONS, DEMAND, curve};

    fn twice() -> Plan {
        plan(&Demand { lines_per_day: 2.0 * DEMAND.lines_per_day, ..DEMAND }, &ASSUMPTIONS, &curve())
    }

    #[test]
    fn the_page_says_of_every_number_what_it_rests_on() {
        let curve = curve();
        let plan = plan(&DEMAND, &ASSUMPTIONS, &curve);
        let page = markdown(&DEMAND, &curve, &plan, &twice());
        assert!(page.starts_with("## Plan: 8.64 billion lines a day of 200 bytes from 10 hosts"), "{page}");
        let row = |name: &str| page.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        assert!(row("agent memory").contains("measured"), "{page}");
        assert!(row("lines/s on average").contains("given"), "{page}");
        assert!(row("brokers for the disk").contains("assumed"), "{page}");
        for part in [
            "**Bottleneck:** disk of a broker",
            "The next doubling",
            "20.0 ms/s + 0.500 us/line",
            "off by 0.0 %",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn the_json_holds_the_same_and_its_version() {
        let curve = curve();
        let plan = plan(&DEMAND, &ASSUMPTIONS, &curve);
        let text = json(&DEMAND, &ASSUMPTIONS, &curve, &plan, &twice()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["schema"], &value["command"]), (&1.into(), &"plan".into()));
        assert_eq!(value["figures"].as_array().unwrap().len(), plan.figures.len());
        assert_eq!(value["demand"]["retention"], 604_800.0);
        assert_eq!(value["checks"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn numbers_are_readable() {
        let shown = [0.0, 0.0301, 2.0, 3.3333, 57.87, 173_611.1, 1_000.0].map(number);
        assert_eq!(shown, ["0", "0.030", "2", "3.33", "57.9", "173,611", "1,000"]);
        assert_eq!(
            [5e9, 250e6, 1000.0].map(|value| scientific(value).trim().to_owned()),
            ["5 billion", "250 million", "1,000"]
        );
    }
}
