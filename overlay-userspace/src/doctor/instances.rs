//! Whether the instance that is meant is up, and can be looked at.

use super::{finding::Finding, scene::Scene};

pub(super) fn check(scene: &Scene) -> Finding {
    let name = &scene.name;
    match (&scene.up, &scene.broken) {
        (_, Some(error)) => {
            Finding::problem("instance", name, error.clone()).why("nothing else can be told about it")
        }
        (Some(_), None) => Finding::fine("instance", name, format!("instance {name} is up")),
        (None, None) => Finding::fine(
            "instance",
            name,
            format!("instance {name} is not up; `overlay up --uplink DEV` brings it up"),
        ),
    }
}
