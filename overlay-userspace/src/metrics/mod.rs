//! Metrics in Prometheus's text format, by HTTP.
//!
//! They are read from the maps when somebody asks, as commands read them but without the instance's lock: nobody waits
//! for who asks, and the agent does not either, for all of it is done by threads of its own.

mod agent;
mod inventory;
mod page;
mod server;
mod traffic;

pub use server::{Bound, Serving, bind};

use self::page::Page;
use crate::{
    agent::Tally,
    error::{Context as _, Error, Result},
    instance::Instance,
    maps::{drops, notices},
};

/// All metrics of an instance.
///
/// # Errors
///
/// Fails if it is not up, or is another version's.
fn text(name: &str, tally: &Tally) -> Result<String> {
    let instance =
        Instance::glance(name).ok_or_else(|| Error::Failed(format!("instance {name} is not up")))?;
    instance.check_version(&instance.config()?)?;
    let page = Page::default();
    let what = || "cannot gather metrics";
    page.gauge(
        "overlay_build_info",
        "The version of overlay; always 1.",
        ["version"],
        [([env!("CARGO_PKG_VERSION").to_owned()], 1)],
    )
    .context(what)?;
    let drops = drops::read(&instance)?.into_iter();
    page.counter(
        "overlay_drops_total",
        "Packets dropped, by reason.",
        ["reason"],
        drops.map(|(reason, packets)| ([reason.name().to_owned()], packets)),
    )
    .context(what)?;
    let notices = notices::read(&instance)?.into_iter();
    page.counter(
        "overlay_notices_total",
        "What the programs did besides forwarding and dropping.",
        ["notice"],
        notices.map(|(notice, count)| ([notice.name().to_owned()], count)),
    )
    .context(what)?;
    traffic::add(&page, &traffic::read(&instance)?).context(what)?;
    inventory::add(&page, &inventory::read(&instance, tally)?).context(what)?;
    agent::add(&page, tally).context(what)?;
    page.text().context(what)
}
