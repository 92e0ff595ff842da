//! Vector: `file` sources and `kafka` sinks, which name each other.

mod sink;
mod source;

use super::draft::Draft;
use super::report::Fate;
use super::transfer::Transfer;
use super::tree::Node;

const GENERAL: &[(&str, &str)] = &[
    ("data_dir", "not needed: positions are kept in state.dir, and those of Vector are not taken over"),
    ("api", "see http.listen, which serves metrics and status"),
    ("acknowledgements", "not needed: nothing but an acknowledgement of Kafka moves a position"),
    ("healthchecks", "not needed: /readyz says whether Kafka can be reached"),
    ("log_schema", "documents are those of the Elastic Common Schema"),
    ("schema", "documents are those of the Elastic Common Schema"),
    ("timezone", "times are not read from lines"),
    ("enrichment_tables", "Logdrive does not change events"),
    ("secret", "secrets stand in files of their own; see kafka.sasl.password_file"),
    ("tests", "there is nothing to test: events are not changed"),
    ("provider", "the configuration is a file"),
    ("expire_metrics_secs", "not needed"),
];

/// Carries a whole configuration over.
pub(super) fn draft(tree: &Node, transfer: &mut Transfer) -> Draft {
    let mut draft = Draft::new();
    let list = |path| tree.look(path).map(Node::entries).unwrap_or_default();
    let transforms = list("transforms");
    let sinks = sink::sinks(list("sinks"), transfer, &mut draft.kafka);
    for source in list("sources") {
        let takes = |sink: &&sink::Sink| reaches(&source.name, &sink.inputs, transforms, transforms.len());
        let mut takers = sinks.iter().filter(takes);
        let taker = takers.next();
        draft.items.extend(source::item(source, taker, transfer));
        if let (Some(_), Some(second)) = (taker, takers.next()) {
            let what = format!("also goes to the sink {}: a file goes to one topic", second.name);
            transfer.note(source, Fate::Left, &what);
        }
    }
    for transform in transforms {
        transform.take_all();
        let kind = transform.look("type").and_then(Node::text).unwrap_or("?");
        let what = match kind {
            "filter" => "a filter: see item.include_lines and item.exclude_lines".to_owned(),
            _ => format!(
                "a transform of type {kind}: Logdrive does not change events; do it where they are consumed"
            ),
        };
        transfer.note(transform, Fate::Left, &what);
    }
    transfer.leave(tree, GENERAL);
    draft
}

/// Whether what a source reads gets to one of the inputs, through no more than so many transforms.
fn reaches(source: &str, inputs: &[String], transforms: &[Node], steps: usize) -> bool {
    if inputs.iter().any(|input| is_meant(input, source)) {
        return true;
    }
    let Some(steps) = steps.checked_sub(1) else { return false };
    let before =
        transforms.iter().filter(|transform| inputs.iter().any(|input| is_meant(input, &transform.name)));
    before.filter_map(|transform| transform.look("inputs")).any(|inputs| {
        let inputs: Vec<String> =
            inputs.elements().iter().filter_map(Node::text).map(str::to_owned).collect();
        reaches(source, &inputs, transforms, steps)
    })
}

/// Whether an input names a component: itself, one of its outputs (`route.web`), or with a `*`.
fn is_meant(input: &str, name: &str) -> bool {
    let is_output = || input.split_once('.').is_some_and(|(component, _)| component == name);
    match input.split_once('*') {
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
        None => input == name || is_output(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_found_through_transforms() {
        let tree = "a: {inputs: [in]}\nb: {inputs: a}\nc: {inputs: [c]}\nd: {inputs: ['b.x']}\n";
        let tree = super::super::yaml::read(tree).unwrap();
        let reaches = |inputs: &[&str]| {
            let inputs: Vec<String> = inputs.iter().map(|&input| input.to_owned()).collect();
            reaches("in", &inputs, tree.entries(), tree.entries().len())
        };
        for inputs in [["in"], ["a"], ["b"], ["d"], ["i*"], ["*"], ["in.x"]] {
            assert!(reaches(&inputs), "{inputs:?}");
        }
        for inputs in [&["c"][..], &["x"], &[], &["int"], &["i*x"]] {
            assert!(!reaches(inputs), "{inputs:?}");
        }
    }
}
