//! Which container a log belongs to, as its path says.
//!
//! Kubernetes' node agent and Docker put it there; nobody is asked. A path of another shape says nothing.

use std::ffi::CStr;

/// One thing that a path says of a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Label {
    /// The field of a document.
    pub(super) field: &'static str,
    /// The header of a record.
    pub(super) header: &'static CStr,
    pub(super) value: String,
}

const NAMESPACE: (&str, &CStr) = ("kubernetes.namespace", c"namespace");
const POD: (&str, &CStr) = ("kubernetes.pod.name", c"pod");
const POD_UID: (&str, &CStr) = ("kubernetes.pod.uid", c"pod_uid");
const CONTAINER: (&str, &CStr) = ("kubernetes.container.name", c"container");
const CONTAINER_ID: (&str, &CStr) = ("container.id", c"container_id");

/// The names of fields that labels have.
pub(super) const FIELDS: [&str; 5] = [NAMESPACE.0, POD.0, POD_UID.0, CONTAINER.0, CONTAINER_ID.0];

/// What the path of a log says.
pub(super) fn labels(path: &str) -> Vec<Label> {
    let found = in_containers(path).or_else(|| in_pods(path)).or_else(|| of_docker(path)).unwrap_or_default();
    let label = |((field, header), value): ((&'static str, &'static CStr), &str)| {
        let value = value.to_owned();
        Label { field, header, value }
    };
    found.into_iter().map(label).collect()
}

type Found<'a> = Vec<((&'static str, &'static CStr), &'a str)>;

/// `.../containers/<pod>_<namespace>_<container>-<64 hexadecimal digits>.log`
fn in_containers(path: &str) -> Option<Found<'_>> {
    let (directory, name) = path.rsplit_once('/')?;
    let (rest, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    let mut parts = rest.split('_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    let names_all = directory.ends_with("/containers") && is_id(id) && parts.next().is_none();
    names_all.then(|| vec![(NAMESPACE, namespace), (POD, pod), (CONTAINER, container), (CONTAINER_ID, id)])
}

/// `.../pods/<namespace>_<pod>_<uid>/<container>/<number>.log`, and what that is rotated to.
fn in_pods(path: &str) -> Option<Found<'_>> {
    let (_, rest) = path.rsplit_once("/pods/")?;
    let (directory, rest) = rest.split_once('/')?;
    let (container, name) = rest.split_once('/')?;
    let mut parts = directory.split('_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let names_all = parts.next().is_none() && !name.contains('/') && name.contains(".log");
    names_all.then(|| vec![(NAMESPACE, namespace), (POD, pod), (POD_UID, uid), (CONTAINER, container)])
}

/// `.../containers/<id>/<id>-json.log`, and what that is rotated to.
fn of_docker(path: &str) -> Option<Found<'_>> {
    let (directory, name) = path.rsplit_once('/')?;
    let (_, id) = directory.rsplit_once("/containers/")?;
    (is_id(id) && name.strip_prefix(id)?.starts_with("-json.log")).then(|| vec![(CONTAINER_ID, id)])
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> Vec<String> {
        labels(path).into_iter().map(|label| format!("{}={}", label.field, label.value)).collect()
    }

    #[test]
    fn paths_of_kubernetes_and_docker_name_their_container() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(
            shown(&format!("/var/log/containers/web-7d4b9_shop_nginx-proxy-{id}.log")),
            [
                "kubernetes.namespace=shop",
                "kubernetes.pod.name=web-7d4b9",
                "kubernetes.container.name=nginx-proxy",
                &format!("container.id={id}")
            ]
        );
        for name in ["0.log", "0.log.20260102-030405"] {
            assert_eq!(
                shown(&format!("/var/log/pods/shop_web-7d4b9_1b2c-3d/nginx/{name}")),
                [
                    "kubernetes.namespace=shop",
                    "kubernetes.pod.name=web-7d4b9",
                    "kubernetes.pod.uid=1b2c-3d",
                    "kubernetes.container.name=nginx"
                ]
            );
        }
        for name in ["json.log", "json.log.1"] {
            let path = format!("/var/lib/docker/containers/{id}/{id}-{name}");
            assert_eq!(shown(&path), [format!("container.id={id}")]);
        }
    }

    #[test]
    fn other_paths_say_nothing() {
        for path in [
            "/var/log/app.log",
            "/var/log/containers/a_b_c-123.log",
            "/var/log/pods/a_b/c/0.log",
            "app.log",
            "/",
        ] {
            assert_eq!(shown(path), Vec::<String>::new(), "{path}");
        }
    }
}
